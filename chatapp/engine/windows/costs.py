"""What passes and drafts cost, learnt from what they took. Must not know what was accepted.

Everything is kept relative to one scale, the cost of a plain step now: when the machine slows down or the context grows,
the scale follows within a few steps, and what was learnt about sizes that were not used lately stays true. Logarithms, so
that an error of a factor counts the same both ways; each observation is clipped, so that one late step moves little.
"""

from __future__ import annotations

import math

from chatapp.domain.request import MAX_WINDOW

PRIOR_SLOPE = 0.02
"""A row more is expected to cost so much of a plain step, until it was seen."""
PRIOR_DRAFT = 0.1
"""A drafted token of a source that was never timed, in plain steps."""
CLIP = 0.5
"""The most by which one observation may differ, as a logarithm: a factor of 1.6."""
TRUSTED = 3
"""A size counts when it was timed so often, and until then by its quickest time: a late first pass must not scare off."""
STALE, EVERY = 80, 32
"""After so many passes a size that had none is worth one more try, since it may have been timed while the machine was busy;
one size every so many passes."""
FAMILIAR, REDRAW = 12, 8
"""A size that was timed less often is taken into the curve at once, others every so many passes."""
SCALE_RATE, SHAPE_RATE, DRAFT_RATE = 0.12, 0.03, 0.06
"""What share of an error goes into the scale, into the size's own figure and into the source's, once seen often."""


class Costs:
    """Estimates in nanoseconds."""

    def __init__(self) -> None:
        self._scale = 0.0
        self._seen = [0] * (MAX_WINDOW + 1)
        self._latest = [0] * (MAX_WINDOW + 1)
        self._count = 0
        self._shape = [0.0] * (MAX_WINDOW + 1)
        self._drafts: dict[str, tuple[float, int]] = {}
        self._draft_costs: dict[str, float] = {}
        self._passes = [0.0] * (MAX_WINDOW + 2)
        self._known = False

    @property
    def known(self) -> bool:
        """A pass has been seen."""
        return self._known

    @property
    def plain_passes(self) -> int:
        """How many passes of one row were timed."""
        return self._seen[1]

    def passes(self) -> list[float]:
        """`[k]`: a verify step of k rows without its drafts, relative to the scale; never falls with k. Entry 0 is unused."""
        return self._passes

    def timed(self, source: str) -> bool:
        """A draft of this source has been timed."""
        return source in self._drafts

    def draft(self, source: str) -> float:
        """One token of this source, relative to the scale."""
        return self._draft_costs.get(source, PRIOR_DRAFT)

    @property
    def unit_ns(self) -> float:
        """The scale: multiply relative costs with it."""
        return math.exp(self._scale)

    def observe_pass(self, window: int, duration_ns: int) -> None:
        """A verify step of `window` rows took so long, sampling and host work included, drafts left out."""
        took = math.log(max(duration_ns, 1))
        if not self._known:
            self._scale, self._known = took, True
        seen = self._seen[window]
        if not seen:
            self._shape[window] = math.log(self._passes[window] or 1.0)
        error = took - self._scale - self._shape[window]
        if seen < TRUSTED:
            if not seen or error < 0.0:
                if window == 1 and self._count == seen:
                    # Plain passes alone so far are the scale: a late first one must not make drafts seem dear.
                    self._scale += error
                else:
                    self._shape[window] += error
        else:
            clipped = max(-CLIP, min(CLIP, error))
            # The quickest of a new size's first times is quicker than it is: what follows is that size's affair, and would
            # drive the scale up, size by size.
            scale_rate = SCALE_RATE if seen >= FAMILIAR else 0.0
            self._scale += scale_rate * clipped
            self._shape[window] += max(SHAPE_RATE, 0.7 / (1 + seen)) * (1.0 - scale_rate) * clipped
        self._seen[window] = seen + 1
        self._count += 1
        self._latest[window] = self._count
        if self._count % EVERY == 0:
            self._distrust_old(window)
        # A size that was timed often moves by a hundredth: the curve is drawn again every few passes, which is as good.
        if seen < FAMILIAR or self._count % REDRAW == 0:
            self._fit()

    def observe_drafts(self, counts: dict[str, int], duration_ns: int) -> None:
        """So many tokens per source took so long together; the error goes to each source by its share of the cost."""
        expected = {source: count * self.draft(source) for source, count in counts.items()}
        total = sum(expected.values())
        error = math.log(max(duration_ns, 1)) - self._scale - math.log(total)
        for source, share in expected.items():
            log_cost, seen = self._drafts.get(source, (math.log(PRIOR_DRAFT), 0))
            clipped = max(-CLIP, min(CLIP, error)) if seen > 2 else error
            rate = max(DRAFT_RATE, 1.0 / (1 + seen)) * share / total
            self._drafts[source] = (log_cost + rate * clipped, seen + 1)
            self._draft_costs[source] = math.exp(self._drafts[source][0])

    def _distrust_old(self, window: int) -> None:
        """The next size above what is used now: smaller ones are no more than it costs."""
        for size in range(window + 1, MAX_WINDOW + 1):
            if self._seen[size] >= TRUSTED and self._count - self._latest[size] >= STALE:
                self._seen[size] = TRUSTED - 1
                break

    def _fit(self) -> None:
        """A curve that never falls: neighbours that contradict each other are pooled (isotonic regression by pooling
        adjacent violators). Sizes that were not timed often enough cost what the next smaller one does and the prior slope,
        never more than the next larger one: hope is what makes a size be tried, and then known."""
        counts = self._seen
        known = [size for size, seen in enumerate(counts) if seen >= TRUSTED]
        known = known or [size for size, seen in enumerate(counts) if seen]
        blocks: list[tuple[float, float, list[int]]] = []  # value, weight, sizes
        for size in known:
            value, weight, sizes = math.exp(self._shape[size]), float(min(counts[size], 30)), [size]
            while blocks and blocks[-1][0] >= value:
                before, more, others = blocks.pop()
                value = (value * weight + before * more) / (weight + more)
                weight, sizes = weight + more, others + sizes
            blocks.append((value, weight, sizes))
        values = {size: value for value, _, sizes in blocks for size in sizes}
        fitted = self._passes
        fitted[1] = values.get(1, blocks[0][0])
        for size in range(2, MAX_WINDOW + 1):
            fitted[size] = values.get(size, fitted[size - 1] + PRIOR_SLOPE)
        for size in range(MAX_WINDOW - 1, 0, -1):
            fitted[size] = min(fitted[size], fitted[size + 1])
