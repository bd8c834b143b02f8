"""A pair that was never prepared, in the window: offered, followed, stopped, gone on with, loaded at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt

from chatapp.domain.errors import ArtefactsDamaged, NotPrepared
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairLocation
from chatapp.domain.preparation import (
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    Stage,
)
from chatapp.resources import builtin_pair
from chatapp.service.preparation import PreparationClient
from chatapp.ui.widgets.banner import Severity
from tests.helpers.scripted_preparation import ScriptedPreparation
from tests.ui.stage import Stage as Window

LARGE = PairLocation("Llama-2-70B + 7B", Path("target"), Path("draft"))
WHAT = "Llama-2-70B (target) is not prepared for this device."
HALF = PreparationProgress("target", Stage.COMPILING, 7, 11, 7, 15, 190.0, 222.0)
DONE = PreparationDone(15, 15, 700.0)


def offer(stage: Window) -> None:
    stage.engine.load_error = NotPrepared(WHAT, remedy="Prepare the pair first.")
    with stage.qtbot.waitSignal(stage.preparations.offered):
        stage.pairs.load(LARGE)
    stage.engine.load_error = None


def begin(stage: Window) -> ScriptedPreparation:
    offer(stage)
    stage.click(stage.window.preparation.action)
    handle = stage.preparer.handles[-1]
    handle.say(HALF)
    stage.qtbot.waitUntil(lambda: "7 of 15" in stage.window.preparation.text)
    return handle


def test_loading_a_pair_without_graphs_offers_to_prepare_it(stage: Window) -> None:
    offer(stage)
    card = stage.window.preparation
    assert card.text.startswith("Not prepared for this device: Llama-2-70B + 7B. Its graphs")
    assert "go on with the pair in use" in card.text
    assert card.action.text() == "Prepare"
    assert stage.banner == ""
    assert stage.window.header.state_text == "Ready"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotPrepared(WHAT, differences=("windows: 2 prepared, 2, 4 asked for",)), WHAT),
        (ArtefactsDamaged(WHAT), "To be prepared again"),
        (NotPrepared(WHAT, kept="Of an earlier attempt 3 graphs are kept."), "Of an earlier attempt 3"),
    ],
)
def test_the_offer_says_what_differs_is_damaged_or_was_begun(
    stage: Window, error: NotPrepared, said: str
) -> None:
    stage.engine.load_error = error
    with stage.qtbot.waitSignal(stage.preparations.offered):
        stage.pairs.load(LARGE)
    assert said in stage.window.preparation.text


def test_progress_is_shown_and_the_pair_is_loaded_at_the_end(stage: Window) -> None:
    handle = begin(stage)
    card = stage.window.preparation
    assert handle.pair == LARGE
    assert "Preparing Llama-2-70B + 7B: 7 of 15 graphs, 3 min 10 s, about 4 min left" in card.text
    assert "Target: compiling, graph 7 of 11 done" in card.text
    assert card.bar.value() == round(1000 * 7 / 15)
    assert not card.action.isVisible()
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        handle.say(DONE)
    assert stage.engine.loaded[-1] == LARGE
    assert card.isHidden()
    assert "Prepared 15 graphs in 11 min 40 s." in stage.banner


def test_stopping_keeps_what_is_finished_and_it_goes_on_later(stage: Window) -> None:
    handle = begin(stage)
    card = stage.window.preparation
    stage.click(card.stop_button)
    assert handle.stopped
    assert "Stopping" in card.text
    assert not card.stop_button.isEnabled()
    handle.say(PreparationStopped("7 of 15 graphs are kept.", "Prepare the pair again to go on."))
    stage.qtbot.waitUntil(lambda: "7 of 15 graphs are kept." in card.text)
    assert card.action.text() == "Resume"
    stage.click(card.action)
    assert len(stage.preparer.handles) == 2
    assert card.stop_button.isEnabled()
    stage.preparer.handles[-1].say(DONE)
    stage.qtbot.waitUntil(lambda: stage.engine.loaded[-1] == LARGE)


def test_a_failure_says_what_to_do_and_can_be_tried_again(stage: Window) -> None:
    handle = begin(stage)
    handle.say(PreparationFailed("The disk is full.", "7 of 15 graphs are kept.", "Make room."))
    card = stage.window.preparation
    stage.qtbot.waitUntil(lambda: "The disk is full. 7 of 15 graphs are kept. Make room." in card.text)
    assert card.severity is Severity.ERROR
    assert card.action.text() == "Try again"
    stage.click(card.action)
    assert len(stage.preparer.handles) == 2
    assert card.property("banner") == "info"


def test_a_reply_goes_on_while_it_prepares_and_is_not_cut_off_by_the_new_pair(stage: Window) -> None:
    handle = begin(stage)
    run = stage.run_held()
    handle.say(DONE)
    card = stage.window.preparation
    stage.qtbot.waitUntil(lambda: card.action.text() == "Open now")
    assert stage.engine.loaded[-1] != LARGE
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        run.let_all_pass()
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.click(card.action)
    assert stage.engine.loaded[-1] == LARGE


def test_a_second_pair_that_is_not_prepared_leaves_the_first_preparation_alone(stage: Window) -> None:
    begin(stage)
    stage.engine.load_error = NotPrepared("Another is not prepared.")
    with stage.qtbot.waitSignal(stage.pairs.failed):
        stage.pairs.load(PairLocation("another", Path("a"), None))
    assert "Another is not prepared." in stage.banner
    assert "Preparing Llama-2-70B + 7B" in stage.window.preparation.text
    assert len(stage.preparer.handles) == 1


def test_the_offer_can_be_declined_and_another_pair_withdraws_it(stage: Window) -> None:
    offer(stage)
    stage.click(stage.window.preparation.close_button)
    assert stage.window.preparation.text == ""
    stage.preparations.start()
    assert stage.preparer.handles == []
    offer(stage)
    stage.load()
    assert stage.window.preparation.text == ""


def test_buttons_are_reached_by_keyboard(stage: Window) -> None:
    offer(stage)
    stage.window.preparation.action.setFocus()
    stage.press(Qt.Key.Key_Space)
    assert len(stage.preparer.handles) == 1


@pytest.mark.parametrize("width", [900, 1280])
def test_long_words_wrap_within_the_column(stage: Window, width: int) -> None:
    stage.window.resize(width, 760)
    offer(stage)
    card = stage.window.preparation
    card.show_failed(PreparationFailed("word " * 60, "kept " * 40, "remedy " * 40))
    stage.qtbot.waitUntil(lambda: card.height() > 60)
    assert card.width() <= stage.window.composer.width()


def test_a_real_process_prepares_beside_the_window(stage: Window, tmp_path: Path) -> None:
    """On the window's own loop, and the engine is asked for the pair when it is ready."""
    settings = NeuronSettings(
        tp_degree=2, positions=128, rehearse="inf2.xlarge", artefacts=tmp_path / "neuron"
    )
    pair = replace(builtin_pair(), neuron=settings)
    stage.preparer.real = PreparationClient()
    stage.engine.load_error = NotPrepared(WHAT)
    with stage.qtbot.waitSignal(stage.preparations.offered):
        stage.pairs.load(pair)
    stage.engine.load_error = None
    with stage.qtbot.waitSignal(stage.pairs.loaded, timeout=60_000):
        stage.click(stage.window.preparation.action)
    assert stage.engine.loaded[-1] == pair
    assert "Prepared 10 graphs for the simulated device" in stage.banner
    assert len(list((tmp_path / "neuron").glob("*/manifest.json"))) == 2
