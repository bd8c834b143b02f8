"""Bars of the TPOT plot: a projection of records through `metrics.step_timings`, extended as records grow.

Knows neither Qt nor pyqtgraph; x is the token number, y milliseconds per token.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatapp.domain.metrics import StepTiming, run_metrics, step_timings
from chatapp.domain.record import RunRecord, WindowChange
from chatapp.domain.tokens import TokenKind

REPLY_GAP_TOKENS = 2
HEADROOM = 1.1
ROUND_TOPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Tops of the scale, times a power of ten. The scale stands still until a bar asks for the next one."""
TOP_QUANTILE = 0.95
EMPTY_TOP_MS = 9.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One verify step: `tokens` wide from `left`, `tpot_ms` high; `kinds` are its tokens' classes from left to right."""

    timing: StepTiming
    left: int
    kinds: tuple[TokenKind, ...]

    @property
    def right(self) -> int:
        return self.left + self.timing.tokens

    @property
    def tpot_ms(self) -> float:
        return self.timing.tpot_s * 1e3


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the x axis where k or the toggle changed."""

    x: int
    change: WindowChange


@dataclass(frozen=True, slots=True)
class Shade:
    """A span of tokens that were made with speculation off."""

    left: int
    right: int


@dataclass(slots=True)
class Reply:
    """What the plot shows of one record, which begins at token `offset` of the x axis."""

    record: RunRecord
    offset: int
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    shades: list[Shade] = field(default_factory=list)
    steps_read: int = 0
    tpot_ms: float | None = None

    @property
    def end(self) -> int:
        return self.offset + self.record.token_count

    def shows(self, record: RunRecord) -> bool:
        """All of `record` is read: the next reply may begin before the last steps of this one were drawn."""
        return self.record is record and self.steps_read == len(record.steps)

    def bars_between(self, left: float, right: float) -> Sequence[Bar]:
        """The bars of which a part lies between tokens number `left` and `right` of the x axis."""
        if self.end <= left or self.offset >= right:
            return ()
        first = bisect_right(self.bars, left, key=lambda bar: bar.right)
        return self.bars[first : bisect_left(self.bars, right, key=lambda bar: bar.left)]

    def grow(self) -> bool:
        """Read the steps that came since the last call. False: there were none."""
        record = self.record
        if len(record.steps) == self.steps_read:
            return False
        since, self.steps_read = self.steps_read, len(record.steps)
        for timing in step_timings(record, since):
            kinds = tuple(token.kind for token in record.steps[timing.index].tokens)
            bar = Bar(timing, self.offset + timing.first_token, kinds)
            self.bars.append(bar)
            if not timing.speculation:
                self._shade(bar)
        self.marks += [Mark(self._x_of_step(change.step), change) for change in record.window_changes(since)]
        tpot_s = run_metrics(record).tpot_s
        self.tpot_ms = None if tpot_s is None else tpot_s * 1e3
        return True

    def _shade(self, bar: Bar) -> None:
        if self.shades and self.shades[-1].right == bar.left:
            self.shades[-1] = Shade(self.shades[-1].left, bar.right)
        else:
            self.shades.append(Shade(bar.left, bar.right))

    def _x_of_step(self, step: int) -> int:
        for bar in reversed(self.bars):
            if bar.timing.index == step:
                return bar.left
            if bar.timing.index < step:
                return bar.right
        return self.offset


class PlotSeries:
    """Replies side by side on one x axis, a small gap between them."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    def set_records(self, records: Sequence[RunRecord]) -> int:
        """Show these records. Returns how many replies, from the first on, are the ones shown before."""
        kept = 0
        while kept < min(len(records), len(self.replies)) and self.replies[kept].shows(records[kept]):
            kept += 1
        # The first reply whose offset depends on a record that has grown must move.
        del self.replies[kept:]
        for record in records[kept:]:
            offset = self.replies[-1].end + REPLY_GAP_TOKENS if self.replies else 0
            self.replies.append(Reply(record, offset))
            self.replies[-1].grow()
        return kept

    def grow(self) -> bool:
        """Read what the last record gained; the others are finished."""
        return bool(self.replies) and self.replies[-1].grow()

    @property
    def end(self) -> int:
        return self.replies[-1].end if self.replies else 0

    @property
    def empty(self) -> bool:
        return not any(reply.bars for reply in self.replies)

    def bars(self) -> list[Bar]:
        return [bar for reply in self.replies for bar in reply.bars]

    def bar_at(self, x: float) -> Bar | None:
        """The bar that covers token number `x`."""
        for reply in self.replies:
            if reply.offset <= x < reply.end:
                index = bisect_right(reply.bars, x, key=lambda bar: bar.left) - 1
                if index >= 0 and x < reply.bars[index].right:
                    return reply.bars[index]
        return None

    def top_ms(self, left: float, right: float) -> float:
        """A y range for the bars between `left` and `right` in which a few slow steps do not flatten the rest.

        Each reply has a say of its own: the steps of a slow one are no outliers, however fast the reply beside it was.
        """
        shown = ([bar.tpot_ms for bar in reply.bars_between(left, right)] for reply in self.replies)
        top = max((_usual_top(heights) for heights in shown if heights), default=EMPTY_TOP_MS)
        return _rounded_up(top * HEADROOM)


def _rounded_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(top * power for top in ROUND_TOPS if top * power >= value or top == ROUND_TOPS[-1])


def _usual_top(heights: list[float]) -> float:
    """The height that all but the slowest few stay below."""
    ordered = sorted(heights)
    quantile = ordered[min(int(len(ordered) * TOP_QUANTILE), len(ordered) - 1)]
    # With few bars the quantile is the slowest one; four medians is as far as it may stretch the scale.
    return min(quantile, 4.0 * ordered[len(ordered) // 2])
