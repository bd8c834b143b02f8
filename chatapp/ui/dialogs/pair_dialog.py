"""Choose another pair: the target's directory, the draft's or none, and where it runs. It must not read a model: whether one fits
NeuronCores is asked of the planner's port."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from chatapp.domain.errors import ChatappError
from chatapp.domain.memory_plan import Suggestion
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import WEIGHTS, PairInfo, PairLocation, PlannerPort
from chatapp.domain.typed_path import existing_directory
from chatapp.ui.dialogs.neuron_choice import NeuronChoice
from chatapp.ui.dialogs.plan_view import PlanView
from chatapp.ui.header_bar import model_lines
from chatapp.ui.panels.sampling.choice_field import ChoiceBox
from chatapp.ui.text_hygiene import readable
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, SPACE_4_PX, SPACE_6_PX
from chatapp.ui.widgets.card import label

MIN_WIDTH_PX = 680
WEIGHTS_WORDS = {"auto": "as stored", "int8": "int8"}
TARGET_WEIGHTS_TIP = "as stored: the checkpoint's own numbers. int8: half the memory of bfloat16, and another model than the checkpoint"
DRAFT_WEIGHTS_TIP = (
    "as stored, or int8: faster, but for drafts of a few million parameters and less, which stay in float32. "
    "A draft's errors cost acceptance only, never the text"
)
NEURON_WEIGHTS_TIP = "On NeuronCores both models run in bfloat16"
NO_TARGET = "Choose the target's directory to see whether the pair fits."


def pair_name(target: Path, draft: Path | None) -> str:
    """A pair is called by its directories' names."""
    return f"{target.name} + {draft.name}" if draft is not None else f"{target.name}, no draft"


def _facts(in_use: PairInfo | None) -> list[str]:
    """Which code computes the pair in use, and which plugins could not be loaded."""
    if in_use is None:
        return []
    errors = in_use.capabilities.plugin_errors
    return [
        f"In use: {readable(in_use.location.name, limit=200)}",
        *model_lines(in_use.environment),
        *(
            f"Plugin not loaded: {readable(name, limit=80)}: {readable(why, limit=300)}"
            for name, why in errors
        ),
    ]


class PairDialog(QDialog):
    """`chosen` carries a `PairLocation`. `builtin` is the built-in pair, run as the command line has it; `in_use` is the loaded
    pair, whose facts are shown; `planner` says whether a pair fits the NeuronCores that are chosen."""

    chosen = Signal(object)

    def __init__(
        self,
        builtin: PairLocation,
        planner: PlannerPort,
        parent: QWidget | None = None,
        *,
        in_use: PairInfo | None = None,
    ) -> None:
        super().__init__(parent)
        self._builtin = builtin
        self._planner = planner
        self.setWindowTitle("Open pair")
        self.setMinimumWidth(MIN_WIDTH_PX)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(SPACE_6_PX, SPACE_6_PX, SPACE_6_PX, SPACE_4_PX)
        rows.setSpacing(SPACE_3_PX)
        rows.addWidget(label("Open pair", "title"))
        rows.addWidget(
            label(
                "Two model directories in the Hugging Face layout, with the same vocabulary. "
                "The pair in use stays loaded until the new one is ready.",
                "muted",
                wrap=True,
            )
        )
        rows.addLayout(self._make_fields(in_use.location if in_use is not None else None))
        self._problem = label("", "error", wrap=True)
        self._problem.hide()
        rows.addWidget(self._problem)
        self.plan_view = PlanView()
        self.plan_view.taken.connect(self._take)
        rows.addWidget(self.plan_view)
        self._facts = label("\n".join(_facts(in_use)), "caption", wrap=True)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._facts.setVisible(in_use is not None)
        rows.addWidget(self._facts)
        rows.addLayout(self._make_buttons())
        for edit in (self.target, self.draft):
            edit.textChanged.connect(self._show_plan)
        self.runs_on.changed.connect(self._show_plan)
        self._show_plan()
        self.target.setFocus()

    def _make_fields(self, now: PairLocation | None) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(SPACE_2_PX)
        grid.setVerticalSpacing(SPACE_2_PX)
        grid.setColumnStretch(1, 1)
        self.target, self.target_weights = self._add_row(
            grid, 0, "Target", "the large model, whose text it is", TARGET_WEIGHTS_TIP
        )
        self.draft, self.draft_weights = self._add_row(
            grid, 1, "Draft", "the small model that proposes; empty: n-gram look-up", DRAFT_WEIGHTS_TIP
        )
        if now is not None:
            for box, value in (
                (self.target_weights, now.target_weights),
                (self.draft_weights, now.draft_weights),
            ):
                box.setCurrentIndex(max(box.findData(value), 0))
        caption = label("Runs on")
        present = self._builtin.neuron if now is None else now.neuron
        base = present or self._builtin.neuron or NeuronSettings()
        here = self._planner.instance_here()
        self.runs_on = NeuronChoice(base, here, on_neuron=present is not None)
        caption.setBuddy(self.runs_on.place)
        grid.addWidget(caption, 2, 0)
        grid.addWidget(self.runs_on, 2, 1, 1, 3)
        return grid

    def _add_row(
        self, grid: QGridLayout, row: int, name: str, hint: str, weights_tip: str
    ) -> tuple[QLineEdit, ChoiceBox]:
        caption = label(name)
        edit = QLineEdit()
        edit.setPlaceholderText(hint)
        edit.setAccessibleName(f"{name} directory")
        edit.textChanged.connect(lambda: self._tell(""))
        caption.setBuddy(edit)
        browse = QPushButton("Browse…")
        browse.setAccessibleName(f"Browse for the {name.lower()} directory")
        browse.setAutoDefault(False)
        browse.clicked.connect(lambda: self._browse(edit, f"{name} directory"))
        grid.addWidget(caption, row, 0)
        grid.addWidget(edit, row, 1)
        weights = ChoiceBox()
        for value in WEIGHTS:
            weights.addItem(WEIGHTS_WORDS[value], value)
        weights.setAccessibleName(f"Numbers that the {name.lower()} runs in")
        weights.setToolTip(weights_tip)
        weights.setMinimumContentsLength(max(map(len, WEIGHTS_WORDS.values())))
        weights.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        grid.addWidget(browse, row, 2)
        grid.addWidget(weights, row, 3)
        return edit, weights

    def _make_buttons(self) -> QHBoxLayout:
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE_2_PX)
        self.use_builtin = QPushButton("Use the built-in pair")
        self.use_builtin.setAutoDefault(False)
        self.use_builtin.setToolTip("In the numbers that are chosen above")
        self.use_builtin.clicked.connect(lambda: self._finish(self._builtin))
        buttons.addWidget(self.use_builtin)
        buttons.addStretch(1)
        cancel = QPushButton("Cancel")
        cancel.setAutoDefault(False)
        cancel.clicked.connect(self.reject)
        buttons.addWidget(cancel)
        self.open_button = QPushButton("Open")
        self.open_button.setProperty("kind", "primary")
        self.open_button.setDefault(True)
        self.open_button.clicked.connect(self._on_open)
        buttons.addWidget(self.open_button)
        return buttons

    @property
    def facts(self) -> str:
        """What is said of the pair in use."""
        return self._facts.text()

    @property
    def problem(self) -> str:
        return self._problem.text()

    def _browse(self, edit: QLineEdit, title: str) -> None:
        dialog = QFileDialog(self, title, edit.text() or str(Path.home()))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
        dialog.fileSelected.connect(edit.setText)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _on_open(self) -> None:
        target = self._directory(self.target, "target")
        if target is None:
            return
        draft: Path | None = None
        if self.draft.text().strip():
            draft = self._directory(self.draft, "draft")
            if draft is None:
                return
        self._finish(PairLocation(pair_name(target, draft), target, draft))

    def _tell(self, problem: str) -> None:
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._fit_height()

    def _fit_height(self) -> None:
        """As high as the wrapped lines need at this width: a layout alone counts them as if they were short."""
        layout = self.layout()
        assert layout is not None
        self.ensurePolished()
        layout.activate()
        needed = layout.totalHeightForWidth(max(self.width(), MIN_WIDTH_PX))
        self.setMinimumHeight(min(needed, self.screen().availableSize().height()))
        self.resize(max(self.width(), MIN_WIDTH_PX), needed)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._fit_height()

    def _show_plan(self) -> None:
        self._plan_or_say_why()
        self._fit_height()

    def _plan_or_say_why(self) -> None:
        """Of the directories that are there: while a person types, most paths are not."""
        on_processor = not self.runs_on.instance
        for box, tip in (
            (self.target_weights, TARGET_WEIGHTS_TIP),
            (self.draft_weights, DRAFT_WEIGHTS_TIP),
        ):
            box.setEnabled(on_processor)
            box.setToolTip(tip if on_processor else NEURON_WEIGHTS_TIP)
        if on_processor:
            self.plan_view.hide()
            return
        target, draft = (existing_directory(edit.text()) for edit in (self.target, self.draft))
        if target is None:
            self.plan_view.show_words(NO_TARGET)
            return
        pair = PairLocation(pair_name(target, draft), target, draft, neuron=self.runs_on.settings)
        try:
            plan = self._planner.plan(pair, self.runs_on.instance)
        except ChatappError as error:
            self.plan_view.show_words(str(error))
            return
        self.plan_view.show_plan(plan, is_here=self.runs_on.is_here)

    def _take(self, suggestion: Suggestion) -> None:
        if not suggestion.draft:
            self.draft.clear()
        settings = suggestion.settings
        self.runs_on.choose(suggestion.instance, settings.tp_degree, settings.positions)

    def _directory(self, edit: QLineEdit, name: str) -> Path | None:
        text = edit.text().strip()
        path = existing_directory(text)
        if path is not None:
            return path
        what = f"There is no directory “{text}”." if text else f"Choose the {name}'s directory."
        self._tell(what)
        edit.setFocus()
        return None

    def _finish(self, pair: PairLocation) -> None:
        neuron = self.runs_on.settings
        pair = replace(pair, neuron=neuron)
        if neuron is None:
            target, draft = self.target_weights.currentData(), self.draft_weights.currentData()
            pair = replace(pair, target_weights=target, draft_weights=draft)
        self.accept()
        self.chosen.emit(pair)
