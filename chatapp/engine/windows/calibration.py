"""From a drafter's confidence to the chance that its token is kept, learnt from tests. Must not know costs.

A drafter's confidence is a guess of its own, on its own scale; what counts is how often tokens of such a confidence were
kept, under this acceptance rule. Confidences fall into bins; a bin's figure starts at a mild prior, forgets slowly, and is
pooled with its neighbours where they contradict that more confidence means more kept.
"""

from __future__ import annotations

from bisect import bisect_right

EDGES = (0.03, 0.08, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.84, 0.91, 0.95, 0.975, 0.99, 0.998)
CENTRES = tuple((low + high) / 2 for low, high in zip((0.0, *EDGES), (*EDGES, 1.0), strict=True))
PRIOR_WEIGHT = 1.5
MEMORY = 0.99
"""What is left of a bin's experience at each new test in it: some 100 count."""
YOUNG, REDRAW = 20.0, 8
"""Tests below which a bin knows little, and steps after which the others are read."""
DOUBTED = 0.3
"""What is left of the weight of all bins when the text has changed."""
LEAST_WEIGHT = 0.1


def prior(confidence: float) -> float:
    """Kept with this chance, as long as nobody knows better."""
    return 0.2 + 0.78 * confidence


class Calibration:
    """One source of drafts under one acceptance rule."""

    def __init__(self) -> None:
        self._kept = [prior(centre) * PRIOR_WEIGHT for centre in CENTRES]
        self._tested = [PRIOR_WEIGHT] * len(CENTRES)
        self._rates = [prior(centre) for centre in CENTRES]
        self._young = False
        self._unread = 0

    def rate(self, confidence: float) -> float:
        """The chance that a token of this confidence is kept when it is tested."""
        return self._rates[bisect_right(EDGES, confidence)]

    def learn(self, confidence: float, *, kept: bool) -> float:
        """Take a test in; returns what `rate` said of it."""
        place = bisect_right(EDGES, confidence)
        tested = self._tested[place]
        self._young |= tested < YOUNG
        self._kept[place] = self._kept[place] * MEMORY + kept
        self._tested[place] = tested * MEMORY + 1.0
        return self._rates[place]

    def doubt(self) -> None:
        """Keep the figures and give them up sooner. Some weight stays, however often the text changes."""
        left = [max(DOUBTED, min(1.0, LEAST_WEIGHT / tested)) for tested in self._tested]
        self._kept = [kept * share for kept, share in zip(self._kept, left, strict=True)]
        self._tested = [tested * share for tested, share in zip(self._tested, left, strict=True)]

    def read(self) -> None:
        """Take what was learnt into `rate`: at once where a bin that was touched knows little, else every few steps, since it
        moves by a hundredth."""
        self._unread += 1
        if self._young or self._unread >= REDRAW:
            self._young, self._unread = False, 0
            self.fit()

    def fit(self) -> None:
        """Take what was learnt into `rate`."""
        pooled: list[tuple[float, float, int]] = []  # kept, tested, bins
        for kept, tested in zip(self._kept, self._tested, strict=True):
            width = 1
            while pooled and pooled[-1][0] * tested >= kept * pooled[-1][1]:
                before, more, bins = pooled.pop()
                kept, tested, width = kept + before, tested + more, width + bins
            pooled.append((kept, tested, width))
        rates: list[float] = []
        for kept, tested, width in pooled:
            rates += [kept / tested] * width
        self._rates = rates
