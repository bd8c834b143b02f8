"""What passes and drafts cost, learnt from what they took. Must not know what was accepted.

Everything is kept relative to one scale, the cost of a plain step now: when the machine slows down or the context grows,
the scale follows within a few steps, and what was learnt about sizes that were not used lately stays true. Logarithms, so
that an error of a factor counts the same both ways; each observation is clipped, so that one late step moves little.

Functions of records and numbers alone: `compiling` may compile them.
"""

from __future__ import annotations

import math

from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.windows.records import Costs, DraftCost

PRIOR_SLOPE = 0.02
"""A row more is expected to cost so much of a plain step, until it was seen."""
CLIP = 0.5
"""The most by which one observation may differ, as a logarithm: a factor of 1.6."""
TRUSTED = 3
"""A size counts when it was timed so often, and until then by its quickest time: a late first pass must not scare off."""
STALE, EVERY = 80, 32
"""After so many passes a size that had none is worth one more try, since it may have been timed while the machine was busy;
one size every so many passes."""
FAMILIAR, REDRAW = 12, 8
"""A size that was timed less often is taken into the curve at once, others every so many passes."""
MOST_WEIGHT = 30
SCALE_RATE, SHAPE_RATE, DRAFT_RATE = 0.12, 0.03, 0.06
"""What share of an error goes into the scale, into the size's own figure and into the source's, once seen often."""


def observe_pass(costs: Costs, window: int, took_ns: float) -> None:
    """A verify step of `window` rows took so long, sampling and host work included, drafts left out."""
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
        costs.relative[window] += max(SHAPE_RATE, 0.7 / (1 + seen)) * (1.0 - scale_rate) * clipped
    costs.seen[window] = seen + 1
    costs.count += 1
    costs.latest[window] = costs.count
    if costs.count % EVERY == 0:
        _distrust_old(costs, window)
    # A size that was timed often moves by a hundredth: the curve is drawn again every few passes, which is as good.
    if seen < FAMILIAR or costs.count % REDRAW == 0:
        _draw_curve(costs)


def cost_of(draft: DraftCost, count: int) -> float:
    """So many tokens of this source, in plain steps."""
    return draft.cost * count


def observe_draft(costs: Costs, draft: DraftCost, share: float, drafted: float, took_ns: float) -> None:
    """Drafts that were to cost `drafted` plain steps took so long together; `share` of that is this source's."""
    error = math.log(max(took_ns, 1.0)) - costs.scale - math.log(drafted)
    clipped = max(-CLIP, min(CLIP, error)) if draft.seen > 2 else error
    draft.log_cost += max(DRAFT_RATE, 1.0 / (1 + draft.seen)) * share * clipped
    draft.seen += 1
    draft.cost = math.exp(draft.log_cost)


def _distrust_old(costs: Costs, window: int) -> None:
    """The next size above what is used now: smaller ones are no more than it costs."""
    for size in range(window + 1, MAX_WINDOW + 1):
        if costs.seen[size] >= TRUSTED and costs.count - costs.latest[size] >= STALE:
            costs.seen[size] = TRUSTED - 1
            break


def _draw_curve(costs: Costs) -> None:
    """A curve that never falls: neighbours that contradict each other are pooled (isotonic regression by pooling adjacent
    violators). Sizes that were not timed often enough cost what the next smaller one does and the prior slope, never more
    than the next larger one: hope is what makes a size be tried, and then known."""
    least = 1
    for size in range(1, MAX_WINDOW + 1):
        if costs.seen[size] >= TRUSTED:
            least = TRUSTED
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
    passes, block = costs.passes, 0
    for size in range(1, MAX_WINDOW + 1):
        if costs.seen[size] >= least:
            while costs.lasts[block] < size:
                block += 1
            passes[size] = costs.values[block]
        elif size == 1:
            passes[size] = costs.values[0]
        else:
            passes[size] = passes[size - 1] + PRIOR_SLOPE
    for size in range(MAX_WINDOW - 1, 0, -1):
        passes[size] = min(passes[size], passes[size + 1])


ARITHMETIC = (_distrust_old, _draw_curve, cost_of, observe_pass, observe_draft)
