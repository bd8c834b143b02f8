from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from chatapp.domain.errors import ContextOverflow
from chatapp.domain.events import EndReason
from chatapp.domain.request import Role
from chatapp.domain.tokens import TokenKind
from chatapp.ui.controllers.chat import ChatState
from chatapp.ui.widgets.banner import Severity
from tests.helpers.scripted_engine import REPLY, MemoryStore, ScriptedEngine
from tests.ui.stage import Stage

CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def test_enter_sends_and_the_reply_streams_into_the_window(stage: Stage) -> None:
    record = stage.send_and_wait("What is k?")
    assert record.text == REPLY
    assert stage.box == ""
    assert stage.window.pages.currentWidget() is stage.window.transcript
    stage.qtbot.waitUntil(lambda: stage.window.panel.speed.shown("TPOT")[0] != "–")
    assert stage.window.panel.speed.shown("TTFT")[0].endswith("ms")
    assert "accepted –" not in stage.window.panel.speed.shares.text
    assert stage.window.windowTitle() == "What is k? — chatapp"
    assert stage.window.header.state_text == "Ready"


def test_shift_enter_breaks_the_line_and_the_box_grows(stage: Stage) -> None:
    low = stage.window.composer.edit.height()
    stage.type("one")
    stage.press(Qt.Key.Key_Return, SHIFT)
    stage.type("two")
    assert stage.box == "one\ntwo"
    assert stage.window.composer.edit.height() > low
    assert stage.engine.runs == []


def test_the_conversation_so_far_goes_with_the_next_message(stage: Stage) -> None:
    stage.window.panel.sampling.system_prompt.setPlainText("Be brief.")
    stage.send_and_wait("First")
    stage.send_and_wait("Second")
    messages = stage.engine.runs[-1].request.messages
    assert [m.role for m in messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]
    assert [m.content for m in messages] == ["Be brief.", "First", REPLY, "Second"]


def test_stop_button_and_escape_stop_and_keep_the_partial_reply(stage: Stage) -> None:
    for by_key in (True, False):
        run = stage.run_held()
        run.let_pass(2)
        stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 2)
        assert stage.window.composer.button.text() == "Stop"
        with stage.qtbot.waitSignal(stage.chat.run_ended):
            if by_key:
                stage.press(Qt.Key.Key_Escape)
            else:
                stage.click(stage.window.composer.button)
        assert run.cancelled
        assert stage.record.ended is not None
        assert stage.record.ended.reason is EndReason.CANCELLED
        assert REPLY.startswith(stage.record.text)
        assert stage.record.text
        assert stage.window.composer.button.text() == "Send"


def test_sending_again_works_at_once_after_stop(stage: Stage) -> None:
    stage.run_held("First")
    stage.press(Qt.Key.Key_Escape)
    stage.engine.hold = False
    stage.send("Second")  # the first reply has not ended yet
    stage.qtbot.waitUntil(lambda: len(stage.chat.records) == 2 and stage.record.ended is not None)
    assert stage.record.text == REPLY
    assert stage.box == ""


def test_enter_while_a_reply_runs_keeps_the_text(stage: Stage) -> None:
    stage.run_held()
    stage.send("Too early")
    assert stage.box == "Too early"
    assert "still running" in stage.banner
    assert len(stage.engine.runs) == 1


def test_what_is_typed_while_the_engine_takes_the_message_stays(stage: Stage) -> None:
    stage.send("Sent")
    stage.type(" and more")
    stage.qtbot.waitUntil(lambda: stage.chat.state is ChatState.IDLE and len(stage.chat.records) == 1)
    assert stage.chat.conversation.turns[0].prompt == "Sent"
    assert stage.box == " and more"


def test_refused_message_stays_in_the_box_and_says_by_how_much(stage: Stage) -> None:
    stage.engine.refusals.append(ContextOverflow(3000, 2048))
    with stage.qtbot.waitSignal(stage.chat.refused):
        stage.send("A long one")
    assert stage.box == "A long one"
    assert "952 more" in stage.banner
    assert "still in the box" in stage.banner
    assert stage.chat.records == []
    assert stage.send_and_wait("").text == REPLY
    assert stage.chat.conversation.turns[0].prompt == "A long one"


def test_empty_message_is_refused_in_words(stage: Stage) -> None:
    stage.send("   ")
    assert "nothing to send" in stage.banner
    assert stage.box == "   "


def test_a_failing_target_keeps_the_reply_and_gives_the_message_back(stage: Stage) -> None:
    run = stage.run_held("Hello?")
    run.let_pass(2)
    stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 2)
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        run.fail_with = "The target ran out of memory."
        run.let_pass()
    assert stage.record.text
    assert stage.box == "Hello?"
    assert "out of memory" in stage.banner
    assert stage.window.banner.severity is Severity.ERROR


def test_before_a_pair_is_loaded_the_text_stays(stage: Stage) -> None:
    stage.pairs._info = None
    stage.send("Hello?")
    assert "No pair is loaded" in stage.banner
    assert stage.box == "Hello?"


def test_broken_characters_are_replaced_with_a_notice(stage: Stage) -> None:
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        stage.window.composer.edit.insertPlainText("a\ud800b\x00\u202e")
        stage.press(Qt.Key.Key_Return)
    assert stage.engine.runs[-1].request.messages[-1].content == "a\ufffdb\u202e"
    assert "U+FFFD" in stage.banner
    assert "1 control character was removed" in stage.banner
    assert "direction control" in stage.banner


def test_slider_and_toggle_reach_the_running_reply(stage: Stage) -> None:
    run = stage.run_held()
    run.let_pass(2)
    stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 2)
    stage.press(Qt.Key.Key_Up, CTRL)
    stage.press(Qt.Key.Key_Up, CTRL)
    stage.press(Qt.Key.Key_Down, CTRL)
    assert run.windows[-3:] == [6, 7, 6]
    run.let_pass()
    stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 3)
    stage.press(Qt.Key.Key_D, CTRL)
    assert run.toggles[-1] is False
    assert not stage.window.composer.speculation.isChecked()
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        run.let_all_pass()
    assert [change.label for change in stage.record.window_changes()] == ["k 5 → 6", "speculation off"]
    assert stage.record.tokens()[-1].kind is TokenKind.TARGET


def test_slider_by_keyboard_and_switch_by_space_and_click(stage: Stage) -> None:
    slider, switch = stage.window.composer.window_slider, stage.window.composer.speculation
    slider.setFocus()
    stage.press(Qt.Key.Key_End)
    assert slider.value() == 16
    stage.press(Qt.Key.Key_Home)
    stage.press(Qt.Key.Key_Right)
    assert slider.value() == 3
    switch.setFocus()
    stage.press(Qt.Key.Key_Space)
    assert not switch.isChecked()
    stage.click(switch)
    assert switch.isChecked()


def test_k_and_the_switch_go_into_the_next_request(stage: Stage) -> None:
    stage.window.composer.window_slider.setValue(9)
    stage.press(Qt.Key.Key_D, CTRL)
    record = stage.send_and_wait("Hello?")
    assert stage.engine.runs[-1].request.window == 9
    assert not stage.engine.runs[-1].request.speculation
    assert {token.kind for token in record.tokens()} == {TokenKind.TARGET}


@pytest.mark.parametrize("engine", [ScriptedEngine(can_speculate=False)])
def test_without_a_draft_the_controls_say_why(stage: Stage) -> None:
    assert not stage.window.composer.speculation.isEnabled()
    assert not stage.window.composer.window_slider.isEnabled()
    assert "no draft" in stage.window.composer.speculation.toolTip()


def test_copy_reply(stage: Stage) -> None:
    stage.send_and_wait("Hello?")
    stage.press(Qt.Key.Key_C, CTRL | SHIFT)
    assert QGuiApplication.clipboard().text() == REPLY


def test_new_chat_forgets_the_history_and_the_numbers(stage: Stage) -> None:
    stage.send_and_wait("Hello?")
    stage.press(Qt.Key.Key_N, CTRL)
    assert stage.chat.records == []
    assert stage.window.pages.currentWidget() is stage.window.welcome
    assert stage.window.panel.speed.shown("TPOT") == ("–", "–")
    stage.send_and_wait("Again")
    assert len(stage.engine.runs[-1].request.messages) == 1


def test_a_suggestion_is_sent_by_a_click(stage: Stage) -> None:
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        stage.click(stage.window.welcome.buttons[0])
    assert stage.chat.conversation.turns[0].prompt == "What does the window k mean?"


def test_the_store_gets_every_event(stage: Stage, store: MemoryStore) -> None:
    record = stage.send_and_wait("Hello?")
    assert len(store.events[0]) == len(record.steps) + 4  # started, two prefills, ended
    assert store.events[0][-1] is record.ended
