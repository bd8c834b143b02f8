"""The pair dialog says whether a pair fits the NeuronCores that are chosen, and what would make it fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QComboBox, QLabel, QPushButton, QStyle, QStyleOptionComboBox
from pytestqt.qtbot import QtBot

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import EngineCapabilities, PairInfo, PairLocation
from chatapp.library.planner.service import MemoryPlanner
from chatapp.library.planner.shapes import KNOWN
from chatapp.ui.dialogs.neuron_choice import PROCESSOR
from chatapp.ui.dialogs.pair_dialog import NO_TARGET, PairDialog
from chatapp.ui.dialogs.plan_view import ELSEWHERE
from chatapp.ui.theme import LIGHT
from chatapp.ui.widgets.memory_bar import MemoryBar, Part, Use
from tests.helpers.neuron_machine import NeuronMachine
from tests.helpers.records import environment
from tests.helpers.scripted_engine import BUILTIN
from tests.ui.stage import Stage

Open = Callable[..., PairDialog]


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    """A directory with the config.json of a known model, and nothing else."""

    def make(name: str) -> Path:
        shape = KNOWN[name]
        config = {
            "model_type": "llama",
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "intermediate_size": shape.intermediate,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": shape.context,
        }
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    return make


@pytest.fixture
def machine(tmp_path: Path) -> NeuronMachine:
    return NeuronMachine(tmp_path / "machine")


@pytest.fixture
def open_dialog(qtbot: QtBot, machine: NeuronMachine) -> Iterator[Open]:
    """The dialog on `machine`, as it comes up; `neuron` is how the pair in use runs."""
    made: list[PairDialog] = []

    def make(neuron: NeuronSettings | None = None) -> PairDialog:
        capabilities = EngineCapabilities((1, 2), (), 1024, True)
        in_use = PairInfo(replace(BUILTIN, neuron=neuron), environment(), capabilities)
        dialog = PairDialog(BUILTIN, MemoryPlanner(machine.host()), in_use=in_use)
        dialog.show()
        qtbot.waitExposed(dialog)
        made.append(dialog)
        return dialog

    yield make
    for dialog in made:
        dialog.close()
        dialog.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def choose(dialog: PairDialog, instance: str) -> None:
    """By keyboard, as a person steps through the list."""
    box = dialog.runs_on.place
    box.setFocus()
    while box.currentData() != instance:
        before = box.currentIndex()
        key = Qt.Key.Key_Down if box.findData(instance) > before else Qt.Key.Key_Up
        QCoreApplication.sendEvent(box, _press(key))
        assert box.currentIndex() != before


def _press(key: Qt.Key) -> QEvent:
    from PySide6.QtGui import QKeyEvent

    return QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)


def uses(dialog: PairDialog) -> list[QPushButton]:
    buttons = dialog.plan_view.findChildren(QPushButton)
    return [button for button in buttons if button.isVisibleTo(dialog)]


def test_a_pair_for_neuron_cores_is_planned_and_opened(stage: Stage, model: Callable[[str], Path]) -> None:
    stage.press(Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier)
    dialog = stage.window.findChild(PairDialog)
    assert isinstance(dialog, PairDialog)
    assert dialog.runs_on.place.currentText() == PROCESSOR
    assert dialog.plan_view.text == ""
    choose(dialog, "inf2.48xlarge")
    assert "Choose the target's directory" in dialog.plan_view.text
    dialog.target.setText(str(model("Llama-2-70B")))
    dialog.draft.setText(str(model("Llama-2-7B")))
    assert "Fits: 9.39 of 15.9 GiB on each of 24 cores." in dialog.plan_view.text
    assert "target weights 5.65 GiB" in dialog.plan_view.bar.text
    assert not dialog.target_weights.isEnabled()
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.click(dialog.open_button)
    loaded = stage.engine.loaded[-1]
    assert loaded.neuron == NeuronSettings(tp_degree=0, positions=2048)
    assert (loaded.target_weights, loaded.draft_weights) == ("auto", "auto")


def test_the_built_in_pair_runs_where_it_is_told_to(stage: Stage) -> None:
    stage.press(Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier)
    dialog = stage.window.findChild(PairDialog)
    assert isinstance(dialog, PairDialog)
    choose(dialog, "inf2.xlarge")
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.click(dialog.use_builtin)
    assert stage.engine.loaded[-1] == replace(BUILTIN, neuron=NeuronSettings())


def test_a_suggestion_is_taken_with_its_button(
    qtbot: QtBot, open_dialog: Open, model: Callable[[str], Path]
) -> None:
    dialog = open_dialog()
    choose(dialog, "inf2.xlarge")
    dialog.target.setText(str(model("Llama-2-7B")))
    dialog.draft.setText(str(model("Llama-2-7B")))
    assert "Does not fit: 16.3 of 15.9 GiB" in dialog.plan_view.text
    names = [button.accessibleName() for button in uses(dialog)]
    assert names == [
        "Use a context of 1,024 positions",
        "Use inf2.24xlarge with tp 8",
        "Use no draft model (n-gram look-up proposes)",
    ]
    qtbot.mouseClick(uses(dialog)[1], Qt.MouseButton.LeftButton)
    assert "Fits: 6.33 of 15.9 GiB on each of 8 cores." in dialog.plan_view.text
    assert dialog.runs_on.settings == NeuronSettings(tp_degree=8)
    assert (dialog.runs_on.instance, uses(dialog)) == ("inf2.24xlarge", [])
    choose(dialog, "inf2.xlarge")
    qtbot.mouseClick(uses(dialog)[0], Qt.MouseButton.LeftButton)
    assert "Fits: 15.8 of 15.9" in dialog.plan_view.text
    assert dialog.runs_on.settings == NeuronSettings(positions=1024)  # two are all that it has
    dialog.runs_on.choose("inf2.xlarge", 0, 2048)
    qtbot.mouseClick(uses(dialog)[2], Qt.MouseButton.LeftButton)
    assert dialog.draft.text() == ""
    assert "Fits: 9.65 of 15.9" in dialog.plan_view.text


def test_back_on_the_processor_there_is_no_plan(open_dialog: Open, model: Callable[[str], Path]) -> None:
    dialog = open_dialog()
    dialog.target.setText(str(model("Llama-3-8B")))
    low = dialog.height()
    choose(dialog, "inf2.xlarge")
    assert "Fits" in dialog.plan_view.text
    assert dialog.height() > low
    choose(dialog, "")
    assert dialog.plan_view.text == ""
    assert dialog.height() == low
    assert dialog.target_weights.isEnabled()
    assert dialog.runs_on.settings is None


def is_whole(box: QComboBox) -> bool:
    """Its text is not cropped, as wide as the dialog is at least."""
    QCoreApplication.sendPostedEvents(None, 0)
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    field = QStyle.SubControl.SC_ComboBoxEditField
    room = box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, box)
    return box.fontMetrics().horizontalAdvance(box.currentText()) < room.width()


def test_a_directory_without_a_model_is_told_in_place_of_a_plan(open_dialog: Open, tmp_path: Path) -> None:
    dialog = open_dialog()
    choose(dialog, "trn1.2xlarge")
    (tmp_path / "empty").mkdir()
    dialog.target.setText(str(tmp_path / "empty"))
    assert "config.json cannot be read" in dialog.plan_view.text
    for typed in ("~nobody-of-that-name", "x" * 5000):
        dialog.target.setText(typed)
        assert NO_TARGET in dialog.plan_view.text
        dialog.open_button.click()
        assert "There is no directory" in dialog.problem
    dialog.target.setText(str(tmp_path / "empty"))
    assert not dialog.plan_view.bar.isVisible()


def test_another_instance_than_this_computer_is_named_as_such(
    open_dialog: Open, machine: NeuronMachine, model: Callable[[str], Path]
) -> None:
    machine.instance("inf2.8xlarge")
    dialog = open_dialog(NeuronSettings(tp_degree=1))
    assert dialog.runs_on.place.currentText() == "inf2.8xlarge (this computer)"
    assert is_whole(dialog.runs_on.place)
    assert dialog.runs_on.cores.currentText() == "1 core"
    dialog.target.setText(str(model("Llama-2-7B")))
    assert "no inf2.8xlarge" not in dialog.plan_view.text
    choose(dialog, "inf2.xlarge")
    assert ELSEWHERE.format("inf2.xlarge") in dialog.plan_view.text


def test_a_rehearsal_stays_one_on_its_instance_alone(open_dialog: Open, tmp_path: Path) -> None:
    rehearsed = NeuronSettings(rehearse="trn1.32xlarge", positions=1000, artefacts=tmp_path)
    dialog = open_dialog(rehearsed)
    assert dialog.runs_on.place.currentText() == "trn1.32xlarge (rehearsal)"
    assert is_whole(dialog.runs_on.place)
    assert dialog.runs_on.context.currentText() == "1,000 tokens"
    assert (dialog.runs_on.is_here, dialog.runs_on.settings) == (True, rehearsed)
    choose(dialog, "inf2.48xlarge")
    assert (dialog.runs_on.is_here, dialog.runs_on.settings) == (False, replace(rehearsed, rehearse=""))


def test_what_the_command_line_said_of_neuron_cores_holds_without_a_pair_in_use(
    qtbot: QtBot, machine: NeuronMachine
) -> None:
    """The first pair could not be loaded, or the one in use runs on the processor: the rehearsal is not lost."""
    asked = NeuronSettings(rehearse="trn1.32xlarge")
    builtin = replace(BUILTIN, neuron=asked)
    planner = MemoryPlanner(machine.host())
    alone = PairDialog(builtin, planner)
    in_use = PairInfo(BUILTIN, environment(), EngineCapabilities((1, 2), (), 1024, True))
    beside = PairDialog(builtin, planner, in_use=in_use)
    for dialog in (alone, beside):
        qtbot.addWidget(dialog)
    assert (alone.runs_on.instance, alone.runs_on.settings) == ("trn1.32xlarge", asked)
    assert beside.runs_on.settings is None
    choose(beside, "trn1.32xlarge")
    assert beside.runs_on.settings == asked


def test_buckets_named_for_another_length_are_dropped_with_it(open_dialog: Open) -> None:
    named = NeuronSettings(
        rehearse="inf2.xlarge", positions=1024, token_buckets=(256, 1024), context_buckets=(64,)
    )
    dialog = open_dialog(named)
    assert dialog.runs_on.settings == named
    dialog.runs_on.context.setCurrentIndex(dialog.runs_on.context.findData(4096))
    longer = replace(named, positions=4096, token_buckets=(), context_buckets=())
    assert dialog.runs_on.settings == longer


def test_nothing_is_cut_off(open_dialog: Open, model: Callable[[str], Path]) -> None:
    dialog = open_dialog()
    choose(dialog, "inf2.24xlarge")
    dialog.target.setText(str(model("Llama-3-70B")))
    dialog.draft.setText(str(model("Llama-3-8B")))
    QCoreApplication.sendPostedEvents(None, 0)
    shown = [line for line in dialog.findChildren(QLabel) if line.isVisibleTo(dialog) and line.text()]
    assert len(shown) > 8
    for line in shown:
        assert line.height() >= line.heightForWidth(line.width()), line.text()


GIB = 1 << 30


def bar_colours(bar: MemoryBar) -> list[str]:
    """Along the middle of the bar, hatching skipped."""
    image = bar.grab().toImage()
    return [QColor(image.pixel(x, 6)).name() for x in range(2, image.width() - 2)]


def test_the_bar_is_in_proportion_and_marks_what_is_too_much(qtbot: QtBot) -> None:
    bar = MemoryBar()
    qtbot.addWidget(bar)
    bar.resize(400, bar.sizeHint().height())
    bar.set_uses([Use(Part.TARGET_WEIGHTS, 4 * GIB), Use(Part.OVERHEAD, 4 * GIB)], 16 * GIB)
    fitting = bar_colours(bar)
    assert fitting.count(LIGHT.accent) == pytest.approx(98, abs=3)
    assert fitting.count(LIGHT.border_strong) == pytest.approx(100, abs=3)
    assert fitting.count(LIGHT.sunken) == pytest.approx(198, abs=3)
    assert LIGHT.danger not in fitting
    bar.set_uses([Use(Part.TARGET_WEIGHTS, 16 * GIB), Use(Part.OVERHEAD, 4 * GIB)], 16 * GIB)
    beyond = bar_colours(bar)
    assert beyond.count(LIGHT.accent) == pytest.approx(316, abs=4)
    assert LIGHT.danger in beyond
    assert LIGHT.border_strong not in beyond
    assert bar.text == "On one core of 16.0 GiB: target weights 16.0 GiB, overhead (assumed) 4.00 GiB"


def test_the_planner_knows_where_it_is_and_takes_the_settings_of_the_pair(
    machine: NeuronMachine, model: Callable[[str], Path]
) -> None:
    assert MemoryPlanner(machine.host()).instance_here() == ""
    machine.instance("trn1.32xlarge")
    planner = MemoryPlanner(machine.host())
    assert planner.instance_here() == "trn1.32xlarge"
    pair = PairLocation("p", model("Llama-2-70B"), None, neuron=NeuronSettings(tp_degree=16))
    assert planner.plan(pair, "trn1.32xlarge").settings.tp_degree == 16
