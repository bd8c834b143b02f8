"""From a drafter's confidence to the chance that its token is kept, learnt from tests. Must not know costs.

A drafter's confidence is a guess of its own, on its own scale; what counts is how often tokens of such a confidence were
kept, under this acceptance rule. Confidences fall into bins; a bin's figure starts at a mild prior, forgets slowly, and is
pooled with its neighbours where they contradict that more confidence means more kept.

Functions of records and numbers alone: `compiled` may compile them.
"""

from __future__ import annotations

from chatapp.engine.windows.records import BINS, EDGES, Calibration

MEMORY = 0.99
"""What is left of a bin's experience at each new test in it: some 100 count."""
YOUNG, REDRAW = 20.0, 8
"""Tests below which a bin knows little, and steps after which the others are read."""
DOUBTED = 0.3
"""What is left of the weight of all bins when the text has changed."""
LEAST_WEIGHT = 0.1


def bin_of(confidence: float) -> int:
    place = 0
    while place < BINS - 1 and EDGES[place] <= confidence:
        place += 1
    return place


def rate_of(calibration: Calibration, confidence: float) -> float:
    """The chance that a token of this confidence is kept when it is tested."""
    return calibration.rates[bin_of(confidence)]


def take_in(calibration: Calibration, confidence: float, kept: float) -> float:
    """A test, `kept` 1 or 0; returns what `rate_of` said of it."""
    place = bin_of(confidence)
    tested = calibration.tested[place]
    if tested < YOUNG:
        calibration.young = True
    calibration.kept[place] = calibration.kept[place] * MEMORY + kept
    calibration.tested[place] = tested * MEMORY + 1.0
    return calibration.rates[place]


def doubt(calibration: Calibration) -> None:
    """Keep the figures and give them up sooner. Some weight stays, however often the text changes."""
    for place in range(BINS):
        left = max(DOUBTED, min(1.0, LEAST_WEIGHT / calibration.tested[place]))
        calibration.kept[place] *= left
        calibration.tested[place] *= left
    calibration.doubts += 1


def read(calibration: Calibration) -> None:
    """Take what was learnt into `rate_of`: at once where a bin that was touched knows little, else every few steps, since it
    moves by a hundredth."""
    calibration.unread += 1
    if calibration.young or calibration.unread >= REDRAW:
        calibration.young, calibration.unread = False, 0
        draw_rates(calibration)


def draw_rates(calibration: Calibration) -> None:
    """Take what was learnt into `rate_of`."""
    kept_of, tested_of, widths = calibration.pooled_kept, calibration.pooled_tested, calibration.widths
    blocks = 0
    for place in range(BINS):
        kept, tested, width = calibration.kept[place], calibration.tested[place], 1
        while blocks > 0 and kept_of[blocks - 1] * tested >= kept * tested_of[blocks - 1]:
            blocks -= 1
            kept, tested, width = kept + kept_of[blocks], tested + tested_of[blocks], width + widths[blocks]
        kept_of[blocks], tested_of[blocks], widths[blocks] = kept, tested, width
        blocks += 1
    place = 0
    for block in range(blocks):
        rate = kept_of[block] / tested_of[block]
        for _ in range(widths[block]):
            calibration.rates[place] = rate
            place += 1


ARITHMETIC = (bin_of, rate_of, take_in, doubt, draw_rates, read)
