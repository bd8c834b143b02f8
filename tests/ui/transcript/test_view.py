"""The transcript acted on as a person does: pointer, keys, scroll bar; and what is then on screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage, QKeySequence, QMouseEvent, QShortcut
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from chatapp.domain.events import EndReason
from chatapp.domain.palette import KIND_STYLES, Theme
from chatapp.domain.record import Conversation, RunRecord, TokenView
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript import TranscriptView
from chatapp.ui.transcript.flow import Role
from chatapp.ui.transcript.lines import Cell
from tests.helpers.records import RunScript, byte_tokens, conversation, demo_conversation, scripted_run, words

LONG = words("A fox went over the hill and under the bridge, then slept. " * 60)

ShowTranscript = Callable[..., TranscriptView]


@pytest.fixture
def show(qtbot: QtBot) -> ShowTranscript:
    def build(shown: Conversation | None = None, width: int = 700, height: int = 500) -> TranscriptView:
        view = TranscriptView()
        qtbot.addWidget(view)
        view.resize(width, height)
        if shown is not None:
            view.set_conversation(shown)
        with qtbot.waitExposed(view):
            view.show()
        return view

    return build


def picture(view: TranscriptView) -> QImage:
    return view.canvas.viewport().grab().toImage()


def middle_of(view: TranscriptView, token: TokenView, turn: int = -1) -> QPoint:
    turn = turn % len(view.canvas.items)
    return view.canvas.token_box(turn, token).center()


def token_where(record: RunRecord, kind: TokenKind) -> TokenView:
    return next(view for view in record.tokens() if view.kind is kind and view.token.text.strip())


def stream(view: TranscriptView, script: RunScript, qtbot: QtBot, *, each: bool = False) -> RunRecord:
    """Send the script's events through a new turn; `each`: a frame per event."""
    record = RunRecord()
    view.begin_turn(script.prompt, record)
    for event in script.events:
        record.apply(event)
        view.record_changed()
        if each:
            settle(view, qtbot)
    settle(view, qtbot)
    return record


def settle(view: TranscriptView, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not view._frame.isActive())


def cells(view: TranscriptView, turn: int = -1) -> list[tuple[int, str, Cell]]:
    paragraphs = view.canvas.items[turn].reply.paragraphs
    return [
        (number, paragraph.block.shown[cell.run.shown_start : cell.run.shown_end], cell)
        for number, paragraph in enumerate(paragraphs)
        for line in paragraph.lines
        for cell in line.cells
    ]


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


# --- tokens under the pointer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plain words in a row, and more of them",
        "🌊 waves 👩‍👩‍👧 family 🇩🇪 flag e\u0301",
        "שלום world עולם again",
        "a\n\n\tb  c",
    ],
)
def test_hovering_finds_every_token_that_has_width(show: ShowTranscript, qtbot: QtBot, text: str) -> None:
    view = show()
    texts, tail = byte_tokens(text, range(0, 200, 3))
    record = stream(view, scripted_run(texts, seed=4, tail=tail), qtbot)
    seen = set()
    for number, _text, cell in cells(view):
        if cell.run.role is Role.MARK or cell.right - cell.left < 2:
            continue
        item = view.canvas.items[-1]
        top = item.reply._tops[number] + 5
        at = view.canvas.origin_of(0) + item.reply_origin + QPointF((cell.left + cell.right) / 2, top)
        if len(item.reply.paragraphs[number].lines) == 1:
            found = view.canvas.token_at(at)
            assert found is not None
            assert found[1].index == cell.run.token
            assert found[1] == record.tokens(cell.run.token)[0]
            seen.add(found[1].index)
    assert seen


def test_hovering_tells_the_token_and_shows_its_card(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(demo_conversation())
    record = view.canvas.items[-1].record
    token = token_where(record, TokenKind.CORRECTION)
    told: list[object] = []
    view.token_hovered.connect(told.append)
    QTest.mouseMove(view.canvas.viewport(), middle_of(view, token))
    assert told == [(record, token)]
    qtbot.waitUntil(view.card.isVisible)
    said = "\n".join(view.card.lines)
    assert "correction" in said
    assert f"Id {token.token.id}" in said
    assert token.rejected is not None
    assert f"Draft wanted {token.rejected.text}" in said
    QTest.mouseMove(view.canvas.viewport(), QPoint(3, 3))
    assert told[-1] is None
    assert not view.card.isVisible()


def test_a_click_selects_and_keys_walk(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(demo_conversation())
    record = view.canvas.items[-1].record
    token = record.tokens(1)[0]
    told: list[tuple[RunRecord, TokenView] | None] = []
    view.token_selected.connect(told.append)
    QTest.mouseClick(view.canvas.viewport(), Qt.MouseButton.LeftButton, pos=middle_of(view, token))
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Left):
        QTest.keyClick(view.canvas, key)
    indices = [(item[0] is record, item[1].index) for item in told if item is not None]
    before = view.canvas.items[0].record.token_count - 1
    assert indices == [(True, 1), (True, 2), (True, 1), (True, 0), (False, before)]
    assert "Selected" in view.canvas.accessibleDescription()


def test_walking_reaches_every_token_even_those_without_text(show: ShowTranscript, qtbot: QtBot) -> None:
    texts, _tail = byte_tokens("a🌊b", range(9))
    view = show(conversation(scripted_run(texts).turn()))
    told: list[tuple[RunRecord, TokenView] | None] = []
    view.token_selected.connect(told.append)
    view.canvas.setFocus()
    QTest.keyClick(view.canvas, Qt.Key.Key_Home)
    for _token in texts[1:]:
        QTest.keyClick(view.canvas, Qt.Key.Key_Right)
    assert [item[1].index for item in told if item is not None] == list(range(len(texts)))


def test_the_selected_token_is_outlined(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(demo_conversation())
    plain = picture(view)
    token = view.canvas.items[-1].record.tokens(3)[0]
    view.canvas.setFocus()
    before = picture(view)
    view.canvas.select_token(1, token)
    assert picture(view) != before
    view.canvas.clear_selection()
    view.canvas.clearFocus()
    assert picture(view) == plain


def test_escape_clears_first_and_reaches_the_window_when_nothing_is_selected(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    view = TranscriptView(window)
    view.resize(600, 400)
    view.set_conversation(demo_conversation())
    stops: list[bool] = []
    QShortcut(QKeySequence(Qt.Key.Key_Escape), window).activated.connect(lambda: stops.append(True))
    window.resize(600, 400)
    with qtbot.waitActive(window):
        window.show()
        window.activateWindow()
    view.canvas.setFocus()
    view.canvas.select_token(1, view.canvas.items[1].record.tokens(2)[0])
    QTest.keyClick(view.canvas, Qt.Key.Key_Escape)
    assert not stops
    assert not view.canvas.token_cursor.active
    QTest.keyClick(view.canvas, Qt.Key.Key_Escape)
    assert stops == [True]


# --- copying --------------------------------------------------------------------------------------------------------


def test_copying_everything_gives_prompts_and_replies_without_marks(
    show: ShowTranscript, qtbot: QtBot
) -> None:
    shown = demo_conversation()
    view = show(shown)
    assert any(cell.run.role is Role.MARK for *_rest, cell in cells(view, 0))
    view.canvas.setFocus()
    QTest.keyClick(view.canvas, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(view.canvas, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    wanted = "\n\n".join(part for turn in shown.turns for part in (turn.prompt, turn.record.text))
    assert QGuiApplication.clipboard().text() == wanted


def test_dragging_selects_what_lies_between(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(conversation(scripted_run(words("one two three four five"), changes=False).turn()))
    tokens = view.canvas.items[0].record.tokens()
    port = view.canvas.viewport()
    first, last = view.canvas.token_box(0, tokens[1]), view.canvas.token_box(0, tokens[3])
    start, end = QPoint(first.left() + 1, first.center().y()), QPoint(last.right(), last.center().y())
    QTest.mousePress(port, Qt.MouseButton.LeftButton, pos=start)
    # QTest's moves hold no button: the event is made by hand.
    left = Qt.MouseButton.LeftButton
    at, far = QPointF(end), QPointF(port.mapToGlobal(end))
    move = QMouseEvent(QEvent.Type.MouseMove, at, far, left, left, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(port, move)
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, pos=end)
    assert view.canvas.selected_text() == " two three four"


def test_a_double_click_selects_a_word(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(conversation(scripted_run(words("one two-three four"), changes=False).turn()))
    token = view.canvas.items[0].record.tokens(2)[0]
    QTest.mouseDClick(view.canvas.viewport(), Qt.MouseButton.LeftButton, pos=middle_of(view, token))
    assert view.canvas.selected_text() == "four"


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
