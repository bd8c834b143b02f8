"""The TPOT plot of one reply as inline SVG: one bar per verify step, as wide as its tokens; speculation off is shaded.

A projection of `metrics.step_timings`; colours come from classes. Geometry is in units of the view box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chatapp.domain.metrics import StepTiming, run_metrics, step_timings
from chatapp.domain.record import RunRecord
from chatapp.domain.rehearsal import REHEARSAL
from chatapp.export.html.markup import esc
from chatapp.export.numbers import count, milliseconds

WIDTH, HEIGHT = 720.0, 168.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 8.0, 20.0, 24.0
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
MAX_GAP = 1.5
OFF_KEY = '<span class="off-key">speculation off</span>'
LABEL_CHAR = 6.2
"""A character of a mark's label; a mark that the label before reaches stays without one: texts must not run together."""
LABEL_GAP = 8.0


def tpot_plot(record: RunRecord, title: str) -> str:
    """Empty where there is no verify step to show."""
    timings = step_timings(record)
    if not timings:
        return ""
    first = timings[0].first_token
    last = timings[-1].first_token + timings[-1].tokens
    top_ms = _ceiling(timings)
    scale = _Scale(first, last, top_ms)
    mean = run_metrics(record).tpot_s
    shades = _shades(timings, scale)
    parts = [_grid(scale), shades, _bars(timings, scale), _changes(record, timings, scale)]
    if mean is not None and mean * 1e3 <= top_ms:
        y = scale.y(mean * 1e3)
        parts.append(f'<line class="mean" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.2f}" y2="{y:.2f}"/>')
    summary = f"{title}: TPOT per verify step, mean {milliseconds(mean)} over {count(len(timings), 'step')}"
    said = f"{REHEARSAL}: " if record.simulated else ""
    return (
        f'<figure class="plot"><svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{said}{esc(summary)}">'
        f"{''.join(parts)}</svg><figcaption>{said}ms per token, one bar per verify step, as wide as its tokens"
        f' <span class="mean-key">mean {esc(milliseconds(mean))}</span>'
        f"{OFF_KEY if shades else ''}</figcaption></figure>"
    )


class _Scale:
    """Tokens and milliseconds → units of the view box."""

    def __init__(self, first: int, last: int, top_ms: float) -> None:
        self.first, self.last, self.top_ms = first, last, top_ms

    def x(self, token: float) -> float:
        return LEFT + PLOT_WIDTH * (token - self.first) / max(self.last - self.first, 1)

    def y(self, value_ms: float) -> float:
        return TOP + PLOT_HEIGHT * (1 - min(value_ms / self.top_ms, 1.0))


def _ceiling(timings: Sequence[StepTiming]) -> float:
    """A round number above the bars. One slow step must not flatten the rest: beyond 3 × the 90th percentile bars are
    cut and carry a notch."""
    values = sorted(timing.tpot_s * 1e3 for timing in timings)
    usual = values[min(int(len(values) * 0.9), len(values) - 1)]
    wanted = max(min(values[-1], usual * 3), 1e-3)
    unit = 10.0 ** math.floor(math.log10(wanted))
    return next(unit * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if unit * step >= wanted * 0.999)


def _grid(scale: _Scale) -> str:
    lines = []
    for part in (0.0, 0.5, 1.0):
        y = scale.y(scale.top_ms * part)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.2f}" y2="{y:.2f}"/>'
            f'<text class="axis" x="{LEFT - 7}" y="{y + 3.5:.2f}" text-anchor="end">{scale.top_ms * part:g}</text>'
        )
    for token, anchor in ((scale.first, "start"), (scale.last, "end")):
        label = "tokens" if anchor == "start" else f"{scale.last}"
        x = scale.x(token)
        lines.append(f'<text class="axis" x="{x:.2f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{label}</text>')
    return "".join(lines)


def _shades(timings: Sequence[StepTiming], scale: _Scale) -> str:
    spans: list[tuple[int, int]] = []
    for timing in timings:
        if timing.speculation:
            continue
        end = timing.first_token + timing.tokens
        if spans and spans[-1][1] == timing.first_token:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((timing.first_token, end))
    return "".join(
        f'<rect class="off" x="{scale.x(start):.2f}" y="{TOP}" width="{scale.x(end) - scale.x(start):.2f}" '
        f'height="{PLOT_HEIGHT}"><title>speculation off</title></rect>'
        for start, end in spans
    )


def _bars(timings: Sequence[StepTiming], scale: _Scale) -> str:
    bars = []
    unit = scale.x(scale.first + 1) - LEFT
    gap = min(MAX_GAP, unit * 0.25)
    for timing in timings:
        x, end = scale.x(timing.first_token), scale.x(timing.first_token + timing.tokens)
        value = timing.tpot_s * 1e3
        y = scale.y(value)
        words = f"step {timing.index}: {milliseconds(timing.tpot_s)} per token, {count(timing.tokens, 'token')}, k {timing.window}"
        bars.append(
            f'<rect class="step" x="{x:.2f}" y="{y:.2f}" width="{end - x - gap:.2f}" '
            f'height="{TOP + PLOT_HEIGHT - y:.2f}" rx="1"><title>{esc(words)}</title></rect>'
        )
        if value > scale.top_ms:
            middle = (x + end - gap) / 2
            bars.append(
                f'<path class="notch" d="M{middle - 3.5:.2f} {TOP + 3} l3.5 -5 l3.5 5z"><title>{esc(words)}</title></path>'
            )
    return "".join(bars)


def _changes(record: RunRecord, timings: Sequence[StepTiming], scale: _Scale) -> str:
    places = {timing.index: timing.first_token for timing in timings}
    marks = []
    label_end = -math.inf
    for change in record.window_changes():
        if change.step not in places:
            continue
        x = scale.x(places[change.step])
        marks.append(
            f'<line class="change-line" x1="{x:.2f}" x2="{x:.2f}" y1="{TOP - 4}" y2="{TOP + PLOT_HEIGHT}">'
            f"<title>{esc(change.label)}</title></line>"
        )
        wide = LABEL_CHAR * len(change.label)
        begin, anchor = (x - wide, "end") if WIDTH - RIGHT - x < wide else (x, "start")
        if begin >= label_end:
            marks.append(
                f'<text class="change-label" x="{x:.2f}" y="{TOP - 8}" text-anchor="{anchor}">{esc(change.label)}</text>'
            )
            label_end = begin + wide + LABEL_GAP
    return "".join(marks)
