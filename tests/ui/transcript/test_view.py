"""What the transcript shows: the same picture live and opened, states, themes, and where it scrolls."""

from __future__ import annotations

import itertools

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from chatapp.domain.events import EndReason
from chatapp.domain.palette import KIND_STYLES, Theme
from chatapp.domain.record import RunRecord
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript import TranscriptView
from chatapp.ui.transcript.flow import Role
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words
from tests.ui.transcript.hands import ShowTranscript, cells, picture, settle, stream, token_where

LONG = words("A fox went over the hill and under the bridge, then slept. " * 60)


# --- one picture ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", list(Theme))
def test_streaming_and_opening_paint_the_same_picture(
    show: ShowTranscript, qtbot: QtBot, theme: Theme
) -> None:
    shown = demo_conversation()
    opened, live = show(shown), show()
    opened.set_theme(theme)
    live.set_theme(theme)
    scripts = [demo.record for demo in shown.turns]
    for turn, record in zip(shown.turns, scripts, strict=True):
        events = [record.started, *record.prefills, *record.steps, *record.notices, record.ended]
        grown = RunRecord()
        live.begin_turn(turn.prompt, grown)
        for event in events:
            assert event is not None
            grown.apply(event)
            live.record_changed()
            settle(live, qtbot)
    assert cells(live) == cells(opened)
    assert picture(live) == picture(opened)


def test_a_long_paragraph_streams_to_the_lines_it_opens_with(show: ShowTranscript, qtbot: QtBot) -> None:
    script = scripted_run(LONG, seed=2)
    live, opened = show(), show(conversation(script.turn()))
    stream(live, script, qtbot, each=True)
    assert cells(live) == cells(opened)
    assert picture(live) == picture(opened)


def test_every_cell_is_painted_in_its_class_colour(show: ShowTranscript) -> None:
    view = show(demo_conversation())
    record = view.canvas.items[-1].record
    view.canvas.verticalScrollBar().setValue(0)
    for theme in Theme:
        view.set_theme(theme)
        image = picture(view)
        for kind in TokenKind:
            turn = 0 if kind is TokenKind.BONUS else -1
            record = view.canvas.items[turn].record
            box = view.canvas.token_box(turn % 2, token_where(record, kind)).intersected(image.rect())
            colours = {
                image.pixelColor(x, y).name()
                for x in range(box.left(), box.right())
                for y in range(box.top(), box.bottom())
            }
            assert KIND_STYLES[kind].colour(theme) in colours, (kind, theme)


def test_a_new_theme_repaints_the_ground(show: ShowTranscript) -> None:
    view = show(demo_conversation())
    corner = picture(view).pixelColor(2, 2)
    view.set_theme(Theme.DARK)
    assert picture(view).pixelColor(2, 2).lightness() < corner.lightness()
    view.set_theme(Theme.LIGHT)
    assert picture(view).pixelColor(2, 2) == corner


def test_markup_and_forged_marks_stay_literal(show: ShowTranscript, qtbot: QtBot) -> None:
    forged = "<span style='color:#2a5fc4'>bonus</span> [k 5 → 8](x) **bold** <script>alert(1)</script> &amp;"
    view = show()
    record = stream(view, scripted_run(words(forged), changes=False), qtbot)
    shown = {cell.run: text for _number, text, cell in cells(view)}
    assert "".join(shown.values()) == forged
    assert all(cell.run.role is Role.TEXT for _number, _text, cell in cells(view))
    assert {cell.run.kind for *_rest, cell in cells(view)} == {token.kind for token in record.tokens()}


# --- following the end ----------------------------------------------------------------------------------------------


def test_the_end_is_followed_until_the_reader_scrolls_away(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(height=260)
    bar = view.canvas.verticalScrollBar()
    script = scripted_run(LONG, seed=8, ended=False)
    record = RunRecord()
    view.begin_turn(script.prompt, record)
    for event in script.events[:60]:
        record.apply(event)
        view.record_changed()
        settle(view, qtbot)
        assert bar.value() == bar.maximum()
    assert bar.maximum() > 0
    bar.setValue(bar.maximum() // 2)
    away = bar.value()
    assert view.jump_button.isVisible()
    for event in script.events[60:]:
        record.apply(event)
        view.record_changed()
    settle(view, qtbot)
    assert bar.value() == away
    assert bar.maximum() > away
    QTest.mouseClick(view.jump_button, Qt.MouseButton.LeftButton)
    assert bar.value() == bar.maximum()
    assert not view.jump_button.isVisible()


def test_a_new_turn_goes_to_the_end_even_from_far_above(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(conversation(scripted_run(LONG).turn()), height=260)
    view.canvas.verticalScrollBar().setValue(0)
    stream(view, scripted_run(words("short"), prompt="again"), qtbot)
    assert view.canvas.at_end


def test_what_is_read_stays_in_place_while_turns_above_are_laid_out(
    show: ShowTranscript, qtbot: QtBot
) -> None:
    turns = [
        scripted_run(words(f"Turn {number} says this and that. " * 12), seed=number).turn()
        for number in range(40)
    ]
    view = show(conversation(*turns), height=300)
    canvas = view.canvas
    canvas.verticalScrollBar().setValue(canvas.verticalScrollBar().maximum() // 2)
    middle = canvas.turn_at(0)
    token = canvas.items[middle].record.tokens(5)[0]
    before = canvas.token_box(middle, token).top()
    qtbot.waitUntil(lambda: not canvas._idle.isActive())
    assert abs(canvas.token_box(middle, token).top() - before) <= 1
    assert all(item.is_laid_out(canvas.style_now, canvas.column_width) for item in canvas.items)


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "badge"),
    [
        (EndReason.CANCELLED, "stopped"),
        (EndReason.MAX_TOKENS, "max tokens reached"),
        (EndReason.CONTEXT_FULL, "context full"),
        (EndReason.END_OF_TEXT, ""),
    ],
)
def test_a_cut_reply_is_marked(show: ShowTranscript, qtbot: QtBot, reason: EndReason, badge: str) -> None:
    view = show()
    stream(view, scripted_run(words("one two"), reason=reason), qtbot)
    assert view.canvas.items[-1].footer_badge == badge


def test_a_failed_reply_says_why_and_a_notice_is_shown(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show()
    script = RunScript().first("a").notice("draft_failed", "The draft <b>failed</b>.").plain(" b")
    stream(view, script.end(EndReason.FAILED, error="out of memory"), qtbot)
    said = [(card.text.paragraphs[0].block.shown, card.failed) for card in view.canvas.items[-1].cards]
    assert said == [("The draft <b>failed</b>.", False), ("Failed: out of memory", True)]


def test_waiting_is_shown_until_the_first_token(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show()
    record = RunRecord()
    view.begin_turn("hello", record)
    assert view.canvas._pulse_timer.isActive()
    waiting = picture(view)
    script = RunScript("hello").progress(10, 40).first("x")
    for event in script.events:
        record.apply(event)
        view.record_changed()
        settle(view, qtbot)
    assert not view.canvas._pulse_timer.isActive()
    assert picture(view) != waiting


def test_a_huge_prompt_is_folded_and_can_be_opened(show: ShowTranscript, qtbot: QtBot) -> None:
    prompt = "paste " * 5000
    view = show(conversation(scripted_run(words("ok"), prompt=prompt).turn()))
    item = view.canvas.items[0]
    folded = item.height
    assert item.prompt_shown < 2000
    assert "30,000" in item.more_label
    view.canvas.verticalScrollBar().setValue(0)
    at = (view.canvas.origin_of(0) + item.more_box.center()).toPoint()
    view.canvas.reveal(item.more_box.toRect())
    at = (view.canvas.origin_of(0) + QPointF(item.more_box.left() + 4, item.more_box.center().y())).toPoint()
    QTest.mouseClick(view.canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert item.height > 5 * folded
    assert item.prompt_shown == len(prompt)


def test_the_legend_can_be_switched_off(show: ShowTranscript) -> None:
    view = show(demo_conversation())
    assert view.legend.isVisible()
    view.set_legend_visible(False)
    assert not view.legend.isVisible()


def test_a_narrow_window_wraps_and_keeps_every_cell_inside(show: ShowTranscript) -> None:
    view = show(demo_conversation(), width=330)
    for _number, _text, cell in cells(view):
        assert -1 <= cell.left <= cell.right <= view.canvas.column_width + 1


def test_another_conversation_forgets_the_selected_token(show: ShowTranscript) -> None:
    view = show(demo_conversation())
    view.canvas.select_token(1, view.canvas.items[1].record.tokens(2)[0])
    told: list[object] = []
    view.token_selected.connect(told.append)
    view.set_conversation(conversation())
    assert told == [None]
    assert QColor(view.canvas.style_now.tokens.window) == picture(view).pixelColor(100, 100)


def test_a_reply_that_lost_its_end_is_shown_as_interrupted(show: ShowTranscript) -> None:
    broken = scripted_run(words("one two three"), ended=False).turn()
    view = show(conversation(broken))
    assert view.canvas.items[0].footer_badge == "interrupted"
    assert not view.canvas.items[0].running


@pytest.mark.parametrize("width", [1200, 2400])
def test_the_legend_begins_where_the_text_begins(show: ShowTranscript, width: int) -> None:
    view = show(demo_conversation(), width=width)
    assert view.legend._samples[0].box.left() == view.canvas.column_left > 100


@pytest.mark.parametrize("text", ["abc שלום עולם def", "السلام عليكم abc ثم", "a \u202e b"])
def test_every_pixel_of_mixed_directions_is_painted_once(show: ShowTranscript, text: str) -> None:
    """Drawn in clipped classes, the text covers what it covers when one class draws it whole."""
    tokens = list(text)
    classes = show(conversation(scripted_run(tokens, seed=3, changes=False).turn()))
    script = RunScript().first("")
    plain = show(conversation(script.plain(text).end().turn()))

    def ink(view: TranscriptView) -> set[tuple[int, int]]:
        image = picture(view)
        item = view.canvas.items[0]
        top = int(view.canvas.origin_of(0).y() + item.reply_top)
        # Above the underlines, which differ by class.
        lines = range(top, top + view.canvas.style_now.body.baseline)
        ground = QColor(view.canvas.style_now.tokens.window).lightness()
        return {(x, y) for x in range(300) for y in lines if image.pixelColor(x, y).lightness() < ground - 60}

    assert len(ink(plain)) > 50
    assert len(ink(plain) ^ ink(classes)) < len(ink(plain)) * 0.15


@pytest.mark.parametrize("text", ["abc שלום עולם def", "עברית abc ועוד", "ab"])
def test_cells_of_mixed_directions_tile_their_line(show: ShowTranscript, text: str) -> None:
    view = show(conversation(scripted_run(list(text), seed=3, changes=False).turn()))
    line = view.canvas.items[0].reply.paragraphs[0].lines[0]
    edges = sorted((cell.left, cell.right) for cell in line.cells)
    assert len(edges) == len(text)
    for (_left, end), (begin, _right) in itertools.pairwise(edges):
        assert abs(begin - end) < 0.1
    assert abs(edges[-1][1] - edges[0][0] - line.text_line.naturalTextWidth()) < 1.5
