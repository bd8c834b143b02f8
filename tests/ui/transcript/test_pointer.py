"""The transcript acted on as a person does: hovering, clicking, walking by keys, copying."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QMouseEvent, QShortcut
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from chatapp.domain.record import RunRecord, TokenView
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript import TranscriptView
from chatapp.ui.transcript.flow import Role
from tests.helpers.records import byte_tokens, conversation, demo_conversation, scripted_run, words
from tests.ui.transcript.hands import ShowTranscript, cells, middle_of, picture, stream, token_where

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


def test_text_that_moves_under_a_resting_pointer_is_hovered_anew(show: ShowTranscript, qtbot: QtBot) -> None:
    view = show(conversation(scripted_run(words("one two three four " * 120), seed=2).turn()), height=240)
    bar = view.canvas.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    first = next(
        token
        for token in view.canvas.items[0].record.tokens()
        if view.canvas.token_box(0, token).top() > 60 and view.canvas.token_box(0, token).left() > 80
    )
    at = middle_of(view, first)
    QTest.mouseMove(view.canvas.viewport(), at)
    assert view.canvas.hovered == (0, first)
    bar.setValue(bar.value() + 3 * view.canvas.style_now.body.pitch)
    assert view.canvas.hovered == view.canvas.token_at(QPointF(at))
    assert view.canvas.hovered != (0, first)
    assert not view.card.isVisible()


def test_a_card_stays_inside_the_view(show: ShowTranscript) -> None:
    view = show(demo_conversation(), width=360, height=260)
    for token in view.canvas.items[-1].record.tokens():
        view.canvas.hovered = (1, token)
        view._show_card()
        assert view.card.geometry().left() >= 0
        assert view.card.geometry().right() <= view.rect().right()
