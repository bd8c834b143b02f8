"""The plot against the numbers it claims to show."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from chatapp.domain.metrics import run_metrics, step_timings
from chatapp.domain.palette import KIND_STYLES, Theme
from chatapp.domain.record import RunRecord
from chatapp.ui.theme import Tokens
from chatapp.ui.tpot_bars import REPLY_GAP_TOKENS, PlotSeries
from chatapp.ui.tpot_chart import BAR_OPACITY, CHUNK_BARS, BarChunk, TpotChart, describe_bar, segments
from chatapp.ui.tpot_plot import TpotPlot
from tests.helpers.records import RunScript, demo_conversation, scripted_run, words

TEXT = words("It rained on the tin roof all night and nobody slept. " * 30)


@pytest.fixture
def plot(qtbot: QtBot) -> TpotPlot:
    made = TpotPlot()
    qtbot.addWidget(made)
    made.resize(480, 240)
    with qtbot.waitExposed(made):
        made.show()
    return made


def chart_of(plot: TpotPlot) -> TpotChart:
    assert plot.chart is not None
    return plot.chart


def grow(plot: TpotPlot, script: RunScript, qtbot: QtBot) -> RunRecord:
    record = RunRecord()
    plot.set_records([record])
    for number, event in enumerate(script.events):
        record.apply(event)
        plot.record_changed()
        if number % 7 == 0:
            qtbot.waitUntil(lambda: not plot._frame.isActive())
    qtbot.waitUntil(lambda: not plot._frame.isActive())
    return record


def test_bars_are_the_records_step_timings(plot: TpotPlot, qtbot: QtBot) -> None:
    record = grow(plot, scripted_run(TEXT, seed=5), qtbot)
    bars = plot.bars()
    assert [bar.timing for bar in bars] == step_timings(record)
    assert [bar.left for bar in bars] == [timing.first_token for timing in step_timings(record)]
    tokens = record.tokens()
    assert all(bar.kinds == tuple(token.kind for token in tokens[bar.left : bar.right]) for bar in bars)


def test_the_drawn_rectangles_have_the_bars_widths_and_heights(plot: TpotPlot) -> None:
    record = scripted_run(TEXT, seed=6).record()
    plot.set_records([record])
    for bar in plot.bars():
        boxes = sorted(
            (box for group in segments([bar]).values() for box in group), key=lambda box: box.left()
        )
        assert boxes[0].left() == bar.left
        assert bar.right - boxes[-1].right() < 0.2
        assert {box.height() for box in boxes} == {bar.timing.tpot_s * 1e3}
        assert all(abs(one.right() - two.left()) < 1e-9 for one, two in itertools.pairwise(boxes))


def test_growing_and_opening_draw_the_same(plot: TpotPlot, qtbot: QtBot) -> None:
    script = scripted_run(TEXT, seed=7)
    grow(plot, script, qtbot)
    grown = plot.bars()
    plot.set_records([])
    assert plot.bars() == []
    plot.set_records([script.record()])
    assert plot.bars() == grown


def test_only_the_last_chunk_is_drawn_anew(
    plot: TpotPlot, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = scripted_run(words("one two three four five six seven eight " * 260), seed=1, ended=False)
    record = RunRecord()
    for event in script.events[: CHUNK_BARS + 40]:
        record.apply(event)
    plot.set_records([record])
    chunks = list(chart_of(plot)._chunks[0])
    drawn: list[BarChunk] = []
    record_chunk = BarChunk.record

    def note(chunk: BarChunk, tokens: Tokens) -> None:
        drawn.append(chunk)
        record_chunk(chunk, tokens)

    monkeypatch.setattr(BarChunk, "record", note)
    for event in script.events[CHUNK_BARS + 40 : CHUNK_BARS + 60]:
        record.apply(event)
    plot.record_changed()
    qtbot.waitUntil(lambda: len(plot.bars()) == len(step_timings(record)))
    assert drawn == [chunks[1]]
    assert chart_of(plot)._chunks[0] == chunks


def test_spans_without_speculation_are_shaded_and_changes_marked() -> None:
    record = demo_conversation().turns[0].record
    series = PlotSeries()
    series.set_records([record])
    reply = series.replies[0]
    off = [
        token.index for token in record.tokens() if token.step and not record.steps[token.step].speculation
    ]
    assert [index for shade in reply.shades for index in range(shade.left, shade.right)] == off
    assert [mark.change for mark in reply.marks] == list(record.window_changes())
    starts = {token.step: token.index for token in reversed(record.tokens())}
    assert [mark.x for mark in reply.marks] == [starts[mark.change.step] for mark in reply.marks]


def test_the_line_stands_at_the_replys_tpot() -> None:
    series = PlotSeries()
    record = scripted_run(TEXT, seed=2).record()
    series.set_records([record])
    tpot_s = run_metrics(record).tpot_s
    assert tpot_s is not None
    assert series.replies[0].tpot_ms == tpot_s * 1e3


def test_replies_stand_side_by_side_and_old_ones_stay(plot: TpotPlot) -> None:
    one, two = scripted_run(TEXT[:80], seed=1).record(), scripted_run(TEXT[:60], seed=2).record()
    plot.set_records([one])
    chunks = chart_of(plot)._chunks[0]
    plot.set_records([one, two])
    assert chart_of(plot)._chunks[0] is chunks
    count = len(step_timings(one))
    assert plot.bars()[count].left == one.token_count + REPLY_GAP_TOKENS + step_timings(two)[0].first_token
    plot.set_records([two])
    assert [bar.timing for bar in plot.bars()] == step_timings(two)


@given(st.lists(st.floats(0.004, 0.02), min_size=20, max_size=60), st.floats(0.5, 5.0))
@settings(max_examples=30)
def test_one_slow_step_does_not_flatten_the_rest(durations: list[float], slow: float) -> None:
    script = RunScript(window=2).first("a")
    for number, seconds in enumerate(durations):
        script.verify([" b"], " c", seconds=slow if number == 9 else seconds)
    series = PlotSeries()
    series.set_records([script.end().record()])
    usual = sorted(bar.tpot_ms for bar in series.bars())[len(durations) // 2]
    assert usual <= series.top_ms(0, series.end) <= 6 * usual


def test_a_slow_reply_behind_a_fast_one_is_shown_whole() -> None:
    fast, slow = RunScript(window=2).first("a"), RunScript(window=2).first("a")
    for _ in range(60):
        fast.verify([" b"], " c", seconds=0.004)
    for _ in range(20):
        slow.verify([" b"], " c", seconds=0.080)
    series = PlotSeries()
    series.set_records([fast.end().record(), slow.end().record()])
    assert series.top_ms(0, series.end) > max(bar.tpot_ms for bar in series.bars())
    assert series.top_ms(0, series.replies[0].end) < 10


def test_hovering_tells_step_k_tokens_and_ms(plot: TpotPlot) -> None:
    record = scripted_run(TEXT[:60], seed=3).record()
    plot.set_records([record])
    chart = chart_of(plot)
    chart.grab()
    bar = plot.bars()[4]
    told: list[object] = []
    plot.step_hovered.connect(told.append)
    x = (chart._x(bar.left) + chart._x(bar.right)) / 2
    QTest.mouseMove(chart.viewport(), QPoint(round(x), round(chart._area().center().y())))
    assert told == [bar]
    said = " ".join(describe_bar(bar))
    assert f"step {bar.timing.index}" in said
    assert f"{bar.timing.tokens} token" in said
    assert f"{bar.tpot_ms:.2f} ms each" in said


@pytest.mark.parametrize("theme", list(Theme))
def test_bars_are_painted_in_class_colours_on_the_themes_ground(plot: TpotPlot, theme: Theme) -> None:
    plot.set_theme(theme)
    record = scripted_run(TEXT[:40], seed=3, changes=False).record()
    plot.set_records([record])
    image = plot.grab().toImage()
    chart = chart_of(plot)
    bar = max(plot.bars(), key=lambda one: one.timing.tokens)
    x, y = chart._x(bar.left + 0.5), chart._y(bar.tpot_ms * 0.4)
    painted = image.pixelColor(chart.mapTo(plot, QPoint(round(x), round(y))))
    ground = image.pixelColor(2, 2)
    wanted = QColor(KIND_STYLES[bar.kinds[0]].colour(theme))
    for mixed, full, behind in (
        (painted.red(), wanted.red(), ground.red()),
        (painted.green(), wanted.green(), ground.green()),
        (painted.blue(), wanted.blue(), ground.blue()),
    ):
        assert abs(mixed - (full * BAR_OPACITY + behind * (1 - BAR_OPACITY))) <= 12


def test_importing_the_plot_does_not_import_pyqtgraph() -> None:
    code = "import sys, chatapp.ui.tpot_plot; sys.exit('pyqtgraph' in sys.modules or 'numpy' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
