"""Window policy, acceptor, drafter, penalties and bias in the window: chosen by real keys and clicks, seen by the engine,
kept for the next start; and what the window says of which code runs and how near the memory's limit it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLineEdit

from chatapp.domain.events import Notice, PrefillProgress, StepCommitted
from chatapp.domain.metrics import run_traffic
from chatapp.domain.record import RunRecord
from chatapp.domain.request import SamplingSettings
from chatapp.ui.controllers.chat import ChatState
from chatapp.ui.dialogs.pair_dialog import PairDialog
from chatapp.ui.panels.sampling.bias_field import format_bias, parse_bias
from chatapp.ui.panels.token_card import PROPOSAL, TEST, WINDOW
from chatapp.ui.transcript.wording import reply_summary, token_facts
from chatapp.ui.widgets.banner import Severity
from tests.helpers.records import RunScript, demo_conversation
from tests.ui.stage import Stage

CTRL = Qt.KeyboardModifier.ControlModifier
CTRL_SHIFT = CTRL | Qt.KeyboardModifier.ShiftModifier


def _retype(stage: Stage, edit: QLineEdit, text: str) -> None:
    edit.setFocus()
    edit.selectAll()
    stage.qtbot.keyClicks(edit, text)


def _choose(stage: Stage, box: QComboBox, name: str) -> None:
    """By keyboard, as a person would: Down and Up go through the closed list."""
    box.setFocus()
    while box.currentData() != name:
        down = box.currentIndex() < box.findData(name)
        stage.qtbot.keyClick(box, Qt.Key.Key_Down if down else Qt.Key.Key_Up)


# --- Auto ---------------------------------------------------------------------------------------------------------------


def test_auto_makes_the_slider_a_cap_and_goes_into_the_request(stage: Stage) -> None:
    composer = stage.window.composer
    assert composer.window_words == "Window k"
    stage.click(composer.auto)
    assert composer.window_words == "k up to 5"
    assert "most that Auto may choose" in composer.window_slider.accessibleName()
    assert "adaptive" in composer.auto.toolTip()
    stage.press(Qt.Key.Key_Up, CTRL)
    assert composer.window_words == "k up to 6"
    composer.edit.setFocus()
    stage.send_and_wait("Hello?")
    assert (stage.engine.runs[-1].request.policy, stage.engine.runs[-1].request.window) == ("adaptive", 6)
    stage.press(Qt.Key.Key_K, CTRL_SHIFT)
    assert not composer.auto.isChecked()
    assert composer.window_words == "Window k"
    stage.send_and_wait("Again?")
    assert stage.engine.runs[-1].request.policy == "fixed"


def test_auto_reaches_the_running_reply_and_is_marked_in_it(stage: Stage) -> None:
    run = stage.run_held()
    run.let_pass(2)
    stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 2)
    stage.press(Qt.Key.Key_K, CTRL_SHIFT)
    assert run.policies[-1] == "adaptive"
    assert stage.window.actions_.auto.isChecked()
    run.let_pass()
    stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 3)
    assert stage.window.composer.window_words == "k up to 5, now 5.0"
    stage.click(stage.window.composer.auto)
    assert run.policies[-1] == "fixed"
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        run.let_all_pass()
    assert [change.label for change in stage.record.window_changes()] == ["auto on", "auto off, k 5"]
    assert stage.window.composer.window_words == "Window k"


def test_without_a_policy_of_its_own_the_engine_has_no_auto(stage: Stage) -> None:
    stage.engine.capabilities = replace(
        stage.engine.capabilities, policies=(("fixed", "As the slider says"),)
    )
    stage.load()
    assert not stage.window.composer.auto.isEnabled()
    assert "no window policy" in stage.window.composer.auto.toolTip()
    assert not stage.window.actions_.auto.isEnabled()
    stage.window.composer.auto.setChecked(True)  # as a kept setting does
    stage.send_and_wait("Hello?")
    assert stage.engine.runs[-1].request.policy == "fixed"


def test_a_second_policy_can_be_chosen_for_auto(stage: Stage) -> None:
    field = stage.window.panel.sampling.policy
    assert field.isHidden()
    policies = (*stage.engine.capabilities.policies, ("careful", "Drafts little"))
    stage.engine.capabilities = replace(stage.engine.capabilities, policies=policies)
    stage.load()
    assert not field.isHidden()
    stage.window.panel.show_page(1)
    _choose(stage, field.box, "careful")
    assert field.text_below == "Drafts little"
    stage.click(stage.window.composer.auto)
    stage.window.composer.edit.setFocus()
    stage.send_and_wait("Hello?")
    assert stage.engine.runs[-1].request.policy == "careful"


# --- acceptor, drafter --------------------------------------------------------------------------------------------------


def test_a_lossy_acceptor_carries_a_badge_and_changes_a_running_reply(stage: Stage) -> None:
    field = stage.window.panel.sampling.acceptor
    stage.window.panel.show_page(1)
    assert field.badge.isHidden()
    run = stage.run_held()
    run.let_pass(2)
    stage.qtbot.waitUntil(lambda: len(stage.record.steps) == 2)
    _choose(stage, field.box, "typical")
    assert run.acceptors[-1] == "typical"
    assert not field.badge.isHidden()
    assert "lossy" in field.box.currentText()
    assert field.mark_text.startswith("≈ lossy")
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        run.let_all_pass()
    assert [change.label for change in stage.record.window_changes()] == ["acceptor typical (lossy)"]
    assert "lossy" in reply_summary(stage.record)


def test_other_settings_do_not_disturb_a_running_reply(stage: Stage) -> None:
    run = stage.run_held()
    told = list(run.acceptors)
    _retype(stage, stage.window.panel.sampling.numbers["temperature"].edit, "0.2")
    assert run.acceptors == told


def test_greedy_says_so_for_lossless_rules_and_not_for_lossy_ones(stage: Stage) -> None:
    field = stage.window.panel.sampling.acceptor
    _retype(stage, stage.window.panel.sampling.numbers["temperature"].edit, "0")
    assert "greedy" in field.mark_text
    _choose(stage, field.box, "typical")
    assert field.mark_text.startswith("≈ lossy")


def test_the_drafter_comes_from_the_engine_and_goes_into_the_request(stage: Stage) -> None:
    field = stage.window.panel.sampling.drafter
    assert field.names == ("model", "ngram")
    assert field.text_below == "The draft model proposes"
    stage.window.panel.show_page(1)
    _choose(stage, field.box, "ngram")
    assert field.text_below == "What followed the same words before is proposed"
    stage.window.composer.edit.setFocus()
    stage.send_and_wait("Hello?")
    assert stage.engine.runs[-1].request.drafter == "ngram"
    sources = {draft.source for step in stage.record.steps for draft in step.drafted}
    assert sources == {"ngram"}


def test_a_drafter_that_the_next_pair_lacks_falls_back_to_its_first(stage: Stage) -> None:
    stage.window.sampling.set_drafter("model")
    capabilities = replace(stage.engine.capabilities, drafters=(("ngram", "Looks up"), ("none", "Nobody")))
    stage.engine.capabilities = capabilities
    stage.load()
    assert stage.window.sampling.drafter == "ngram"
    stage.send_and_wait("Hello?")
    assert stage.engine.runs[-1].request.drafter == "ngram"


# --- penalties and bias -------------------------------------------------------------------------------------------------


def test_penalties_and_bias_go_into_the_request(stage: Stage) -> None:
    card = stage.window.panel.sampling
    stage.window.panel.show_page(1)
    open_at_first = card.penalties.is_open
    assert not open_at_first
    card.penalties.button.setFocus()
    stage.qtbot.keyClick(card.penalties.button, Qt.Key.Key_Space)
    assert card.penalties.is_open
    _retype(stage, card.numbers["presence_penalty"].edit, "0.5")
    _retype(stage, card.numbers["frequency_penalty"].edit, "-0.25")
    _retype(stage, card.bias.edit, "613:-1.5, 42:2")
    assert card.bias.error_text == ""
    stage.window.composer.edit.setFocus()
    stage.send_and_wait("Hello?")
    sampling = stage.engine.runs[-1].request.sampling
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.5, -0.25)
    assert sampling.logit_bias == ((613, -1.5), (42, 2.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("613", "“613” is no pair"),
        ("cat:2", "“cat:2” is no pair"),
        ("613:101", "logit_bias must lie in"),
        ("613:1, 613:2", "each token once"),
        ("4096:1", "There is no token 4096: the ids of this pair end at 4,095."),
    ],
)
def test_a_bias_is_checked_as_it_is_typed_and_nothing_is_sent(stage: Stage, text: str, said: str) -> None:
    card = stage.window.panel.sampling
    _retype(stage, card.bias.edit, text)
    assert said in card.bias.error_text
    assert card.bias.edit.text() == text
    stage.window.composer.edit.setFocus()
    stage.send("Hello?")
    assert said in stage.banner
    assert stage.engine.runs == []
    assert card.penalties.is_open  # the field with the error can be seen
    _retype(stage, card.bias.edit, "613:1")
    assert card.bias.error_text == ""


def test_bias_reads_back_as_it_was_written() -> None:
    bias = ((0, -100.0), (42, 2.0), (613, -1.5))
    assert parse_bias(format_bias(bias)) == bias
    assert parse_bias(" 613 : -1.5 ;42=2\n 0:.5 ") == ((613, -1.5), (42, 2.0), (0, 0.5))
    assert parse_bias("") == ()


def test_the_parts_come_back_at_the_next_start(stage: Stage) -> None:
    window = stage.window
    stage.click(window.composer.auto)
    window.sampling.set_acceptor("coupled")
    window.sampling.set_drafter("ngram")
    chosen = SamplingSettings(presence_penalty=0.5, frequency_penalty=1.0, logit_bias=((613, -1.5),))
    window.sampling.set_settings(chosen)
    window.save_settings()
    window.composer.auto.setChecked(False)
    window.sampling.set_acceptor("rejection")
    window.sampling.set_drafter("model")
    window.sampling.set_settings(SamplingSettings())
    window.restore_settings()
    assert window.composer.auto.isChecked()
    assert (window.sampling.acceptor, window.sampling.drafter) == ("coupled", "ngram")
    assert window.sampling.settings == chosen
    assert window.panel.sampling.bias.edit.text() == "613:-1.5"


# --- what is said -------------------------------------------------------------------------------------------------------


def test_the_gauge_shows_the_traffic_of_the_reply_against_the_bandwidth(stage: Stage) -> None:
    assert stage.window.panel.speed.gauge.text == ""
    record = stage.send_and_wait("Hello?")
    stage.window.panel.speed.set_records(stage.chat.records)
    assert record.started is not None
    rate = run_traffic(record).verify_rate
    assert rate is not None
    share = f"{100 * rate / record.started.environment.bandwidth:.0f} %"
    assert f"verify {share} of 25.0 GB/s" in stage.window.panel.speed.gauge.text
    assert "draft" in stage.window.panel.speed.gauge.text


def test_the_gauge_is_away_where_the_bandwidth_or_the_bytes_are_unknown(stage: Stage) -> None:
    known = RunScript().first("a").verify(["b"], "c", rejected="d").end().record()
    gauge = stage.window.panel.speed.gauge
    stage.window.panel.speed.set_records([known])
    assert gauge.text
    assert known.started is not None
    known.started = replace(known.started, environment=replace(known.started.environment, bandwidth=0.0))
    stage.window.panel.speed.set_records([known])
    assert gauge.text == ""
    silent = RunRecord()
    for event in RunScript().first("a").verify(["b"], "c", rejected="d").end().events:
        if isinstance(event, StepCommitted):
            silent.apply(replace(event, verify_bytes=0, draft_bytes=0))
        else:
            silent.apply(event)
    stage.window.panel.speed.set_records([silent])
    assert gauge.text == ""


def test_the_inspector_tells_proposer_acceptor_and_the_policys_reason(stage: Stage) -> None:
    record = demo_conversation().turns[1].record
    card = stage.window.panel.token
    view = next(view for view in record.tokens() if view.step == 5)
    stage.window.transcript.token_hovered.emit((record, view))
    assert card.shown(PROPOSAL) == "n-gram look-up"
    assert card.shown(TEST).startswith("rejection, ")
    assert card.shown(WINDOW) == "k 6: the next draft would cost more than it gains"
    lossy = next(view for view in record.tokens() if view.step == 6)
    stage.window.transcript.token_hovered.emit((record, lossy))
    assert card.shown(PROPOSAL).startswith("draft model")
    assert card.shown(TEST).startswith("typical (lossy)")
    facts = dict(token_facts(record, view))
    assert facts["Proposed by"] == "n-gram look-up"
    assert facts["Estimates"] == "expected tokens 3.25, draft 2 ms, verify 23 ms"


def test_the_header_and_the_dialog_say_what_runs_and_which_plugin_is_missing(stage: Stage) -> None:
    header = stage.window.header
    assert "target runs on: table, float32" in header._detail.toolTip()
    assert "draft runs on: table" in header._detail.toolTip()
    errors = (("my_drafter", "No module named 'thing'"), ("other", "broken"))
    stage.engine.capabilities = replace(stage.engine.capabilities, plugin_errors=errors)
    stage.load()
    assert "The plugin my_drafter could not be loaded" in stage.banner
    assert "1 more" in stage.banner
    stage.qtbot.waitUntil(lambda: not stage.pairs.loading)
    stage.window.composer.edit.setFocus()
    stage.press(Qt.Key.Key_P, CTRL)
    dialog = stage.window.findChild(PairDialog)
    assert dialog is not None
    assert "target runs on: table, float32" in dialog.facts
    assert "memory bandwidth: 25.0 GB/s" in dialog.facts
    assert "Plugin not loaded: other: broken" in dialog.facts
    stage.qtbot.keyClick(dialog, Qt.Key.Key_Escape)


def test_a_long_prompt_shows_how_far_it_is_read_and_can_be_stopped(stage: Stage) -> None:
    stage.engine.events_first = [PrefillProgress(512, 2048)]
    run = stage.run_held()
    stage.qtbot.waitUntil(lambda: stage.record.progress is not None)
    assert stage.window.header.state_text == "Reading the prompt, 512 of 2,048 tokens"
    stage.press(Qt.Key.Key_Escape)
    stage.qtbot.waitUntil(lambda: stage.chat.state is ChatState.IDLE)
    assert run.cancelled
    assert stage.record.progress == PrefillProgress(512, 2048)
    assert stage.record.text == ""


def test_a_change_of_threads_is_news_and_no_warning(stage: Stage) -> None:
    stage.engine.events_first = [Notice("threads", "The engine goes on with 3 compute threads.", 0)]
    stage.send_and_wait("Hello?")
    assert "3 compute threads" in stage.banner
    assert stage.window.banner.severity is Severity.INFO
