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
SCALE_RATE, SHAPE_RATE, DRAFT_RATE = 0.12, 0.03, 0.06
"""What share of an error goes into the scale, into the size's own figure and into the source's, once seen often."""


class Costs:
    """Estimates in nanoseconds."""

    def __init__(self) -> None:
        self._scale = 0.0
        self._seen = [0] * (MAX_WINDOW + 1)
        self._shape = [0.0] * (MAX_WINDOW + 1)
        self._drafts: dict[str, tuple[float, int]] = {}
        self._passes = [0.0] * (MAX_WINDOW + 2)
        self._known = False

    @property
    def known(self) -> bool:
        """A pass has been seen."""
        return self._known

    def seen(self, window: int) -> int:
        """How many passes of this size were timed."""
        return self._seen[window]

    def passes(self) -> list[float]:
        """`[k]`: a verify step of k rows without its drafts, relative to the scale; never falls with k. Entry 0 is unused."""
        return self._passes

    def draft(self, source: str) -> float:
        """One token of this source, relative to the scale."""
        known = self._drafts.get(source)
        return math.exp(known[0]) if known is not None else PRIOR_DRAFT

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
        # Of a size that is new, the clip stays away: its first figures say more than any expectation.
        clipped = max(-CLIP, min(CLIP, error)) if seen > 2 else error
        own = max(SHAPE_RATE, 0.7 / (1 + seen))
        shared = SCALE_RATE if seen > 2 else 0.0
        self._scale += shared * clipped
        self._shape[window] += own * (1.0 - shared) * clipped
        self._seen[window] = seen + 1
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

    def _fit(self) -> None:
        """A curve that never falls: neighbours that contradict each other are pooled (isotonic regression by pooling
        adjacent violators), gaps are interpolated, and beyond the largest size seen it goes on by the prior slope."""
        blocks: list[tuple[float, float, int]] = []  # value, weight, last size
        for size, seen in enumerate(self._seen):
            if not seen:
                continue
            value, weight = math.exp(self._shape[size]), float(min(seen, 30))
            while blocks and blocks[-1][0] >= value:
                before, more, _ = blocks.pop()
                value = (value * weight + before * more) / (weight + more)
                weight += more
            blocks.append((value, weight, size))
        fitted = self._passes
        low, low_value = 0, blocks[0][0]
        at = 0
        for size, seen in enumerate(self._seen):
            if not seen:
                continue
            while blocks[at][2] < size:
                at += 1
            value = blocks[at][0]
            for between in range(low + 1, size):
                part = (between - low) / (size - low) if low else 1.0
                fitted[between] = min(low_value + (value - low_value) * part, value)
            fitted[size] = value
            low, low_value = size, value
        for size in range(low + 1, MAX_WINDOW + 1):
            fitted[size] = low_value + PRIOR_SLOPE * (size - low)
