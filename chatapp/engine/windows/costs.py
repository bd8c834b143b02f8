"""What passes and drafts cost, learnt from what they took. Must not know what was accepted.

Everything is kept relative to one scale, the cost of a plain pass now: when the machine slows down or the context grows,
the scale follows within a few steps, and what was learnt about sizes that were not used lately stays true. Logarithms, so
that an error of a factor counts the same both ways; each observation is clipped, so that one late step moves little. What
grows with the number of drafts or of tokens is a line: what it takes to begin is no reason against one more.

Functions of records and numbers alone: `compiled` may compile them.
"""

from __future__ import annotations

import math

from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.windows.records import (
    COSTS,
    COUNTS,
    EACH,
    PRODUCTS,
    SQUARES,
    START,
    WEIGHT,
    Costs,
    DraftCost,
)

PRIOR_SLOPE = 0.02
"""A row more is expected to cost so much of a plain pass at least, until it was seen."""
CLIP = 0.5
"""The most by which one observation may differ, as a logarithm: a factor of 1.6."""
TRUSTED = 3
"""A size counts when it was timed so often, and until then by its quickest time: a late first pass must not scare off."""
STALE, EVERY = 80, 32
"""After so many passes a size that had none is worth one more try, since it may have been timed while the machine was busy;
one size every so many passes."""
FAMILIAR, REDRAW = 24, 8
"""A size that was timed less often is taken into the curve at once, others every so many passes."""
MOST_WEIGHT = 30
SCALE_RATE, SHAPE_RATE = 0.12, 0.03
"""What share of an error goes into the scale and into the size's own figure, once seen often."""
YOUNG_CLIP = 1.4
"""The same for a line that was timed less often than TRUSTED: a factor of 4, since its counts may differ by more than it knows.
What stood before a quicker one than that was late, and is forgotten."""
LINE_MEMORY = 0.97
"""What is left of a line's experience at each new one: some 33 count."""
CATCH_UP_RATE = 0.3
"""The same of a try's draft: tries are rare."""
FREE_START = 1.0
"""Weight of the belief that to begin costs nothing."""


def observe_pass(costs: Costs, window: int, took_ns: float) -> None:
    """The target's pass over `window` rows took so long."""
    took = math.log(max(took_ns, 1.0))
    if not costs.known:
        costs.scale, costs.known = took, True
    seen = costs.seen[window]
    if seen == 0 and costs.passes[window] > 0.0:
        costs.relative[window] = math.log(costs.passes[window])
    error = took - costs.scale - costs.relative[window]
    if seen < TRUSTED:
        if seen == 0 or error < 0.0:
            if window == 1 and costs.count == seen:
                # Plain passes alone so far are the scale: a late first one must not make drafts seem dear.
                costs.scale += error
            else:
                costs.relative[window] += error
    else:
        clipped = max(-CLIP, min(CLIP, error))
        # The quickest of a new size's first times is quicker than it is: what follows is that size's affair, and would
        # drive the scale up, size by size.
        scale_rate = SCALE_RATE if seen >= FAMILIAR else 0.0
        costs.scale += scale_rate * clipped
        costs.relative[window] += max(SHAPE_RATE, 1.0 / (1 + seen - TRUSTED)) * (1.0 - scale_rate) * clipped
    costs.seen[window] = seen + 1
    costs.count += 1
    costs.latest[window] = costs.count
    if costs.count % EVERY == 0:
        _distrust_old(costs, window)
    # A size that was timed often moves by a hundredth: the curve is drawn again every few passes, which is as good.
    if seen < FAMILIAR or costs.count % REDRAW == 0:
        _draw_curve(costs)


def observe_host(costs: Costs, tokens: int, took_ns: float) -> None:
    """Sampling and host work of a step that gave so many tokens."""
    cost = max(took_ns, 1.0) / math.exp(costs.scale)
    costs.timed = _take_in(costs.host, costs.timed, tokens, cost)


def cost_of(draft: DraftCost, count: int) -> float:
    """So many drafts of this source, in plain passes."""
    return draft.line[START] + draft.line[EACH] * count if count > 0 else 0.0


def observe_draft(costs: Costs, draft: DraftCost, count: int, others: float, took_ns: float) -> None:
    """`count` drafts took so long, together with those of other sources that were to cost `others` plain passes. What was
    not foreseen goes to each source by its share."""
    expected, took = cost_of(draft, count), max(took_ns, 1.0) / math.exp(costs.scale)
    draft.timed = _take_in(draft.line, draft.timed, count, took * expected / (expected + others))


def cost_behind_rest(draft: DraftCost) -> float:
    """The draft of a try, in plain passes."""
    return draft.behind_rest if draft.behind_rest > 0.0 else cost_of(draft, 2)


def observe_draft_behind_rest(costs: Costs, draft: DraftCost, took_ns: float) -> None:
    """The draft of a try took so long."""
    expected, took = cost_behind_rest(draft), took_ns / math.exp(costs.scale)
    draft.behind_rest = expected + CATCH_UP_RATE * (min(took, expected * math.exp(YOUNG_CLIP)) - expected)


def _take_in(line: list[float], timed: int, count: int, cost: float) -> int:
    """Least squares with forgetting. That beginning costs nothing is believed until counts differ enough to tell. Gives how
    often the line was timed, `timed` before."""
    memory, foreseen = LINE_MEMORY, line[START] + line[EACH] * count
    if timed >= TRUSTED:
        cost = max(foreseen * math.exp(-CLIP), min(foreseen * math.exp(CLIP), cost))
    elif timed > 0:
        if cost < foreseen * math.exp(-YOUNG_CLIP):
            timed, memory = 0, 0.0
        cost = min(foreseen * math.exp(YOUNG_CLIP), cost)
    for place in range(START):
        line[place] *= memory
    line[WEIGHT] += 1.0
    line[COUNTS] += count
    line[SQUARES] += count * count
    line[COSTS] += cost
    line[PRODUCTS] += count * cost
    weight = line[WEIGHT] + FREE_START
    determinant = weight * line[SQUARES] - line[COUNTS] * line[COUNTS]
    each = (weight * line[PRODUCTS] - line[COUNTS] * line[COSTS]) / determinant
    start = (line[SQUARES] * line[COSTS] - line[COUNTS] * line[PRODUCTS]) / determinant
    if start < 0.0 or each < 0.0:
        start, each = 0.0, line[PRODUCTS] / line[SQUARES]
    line[START], line[EACH] = start, each
    return timed + 1


def _distrust_old(costs: Costs, window: int) -> None:
    """The next size above what is used now: smaller ones are no more than it costs."""
    for size in range(window + 1, MAX_WINDOW + 1):
        if costs.seen[size] >= TRUSTED and costs.count - costs.latest[size] >= STALE:
            costs.seen[size] = TRUSTED - 1
            break


def _pool(costs: Costs, least: int) -> int:
    """Sizes timed `least` times, neighbours that contradict each other together (isotonic regression by pooling adjacent
    violators), into `values` and `lasts`; returns how many blocks that makes."""
    blocks = 0
    for size in range(1, MAX_WINDOW + 1):
        if costs.seen[size] < least:
            continue
        value, weight = math.exp(costs.relative[size]), float(min(costs.seen[size], MOST_WEIGHT))
        while blocks > 0 and costs.values[blocks - 1] >= value:
            blocks -= 1
            more = costs.weights[blocks]
            value = (value * weight + costs.values[blocks] * more) / (weight + more)
            weight += more
        costs.values[blocks], costs.weights[blocks], costs.lasts[blocks] = value, weight, size
        blocks += 1
    return blocks


def _draw_curve(costs: Costs) -> None:
    """A curve that never falls. Sizes that were not timed often enough cost what the next smaller one does and a row's usual
    part, or what they took if that was less, and never more than the next larger one: hope is what makes a size be tried,
    and then known."""
    least = 1
    for size in range(1, MAX_WINDOW + 1):
        if costs.seen[size] >= TRUSTED:
            least = TRUSTED
    last = _pool(costs, least) - 1
    slope = PRIOR_SLOPE
    if costs.lasts[last] > TRUSTED:
        # Sizes that were never tried cost as much more as those that were.
        slope = max(slope, (costs.values[last] - costs.values[0]) / (costs.lasts[last] - 1))
    passes, block, floor = costs.passes, 0, costs.values[0]
    passes[1] = floor
    for size in range(1, MAX_WINDOW + 1):
        if costs.seen[size] >= least:
            while costs.lasts[block] < size:
                block += 1
            passes[size] = floor = costs.values[block]
        elif size > 1:
            passes[size] = passes[size - 1] + slope
            if costs.seen[size] > 0:
                # One time that was quick is believed, one that was slow is not.
                passes[size] = min(passes[size], max(floor, math.exp(costs.relative[size])))
    for size in range(MAX_WINDOW - 1, 0, -1):
        passes[size] = min(passes[size], passes[size + 1])


ARITHMETIC = (
    _pool,
    _distrust_old,
    _draw_curve,
    _take_in,
    cost_of,
    cost_behind_rest,
    observe_pass,
    observe_host,
    observe_draft,
    observe_draft_behind_rest,
)
