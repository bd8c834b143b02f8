"""Choose another pair: the target's directory, and the draft's or none. It must not read a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, Signal
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

from chatapp.domain.ports import WEIGHTS, PairInfo, PairLocation
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
    """`chosen` carries a `PairLocation`. `in_use` is the loaded pair, whose facts are shown."""

    chosen = Signal(object)

    def __init__(
        self, builtin: PairLocation, parent: QWidget | None = None, *, in_use: PairInfo | None = None
    ) -> None:
        super().__init__(parent)
        self._builtin = builtin
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
        rows.addLayout(grid)
        if in_use is not None:
            now = in_use.location
            for box, value in (
                (self.target_weights, now.target_weights),
                (self.draft_weights, now.draft_weights),
            ):
                box.setCurrentIndex(max(box.findData(value), 0))
        self._problem = label("", "error", wrap=True)
        rows.addWidget(self._problem)
        self._facts = label("\n".join(_facts(in_use)), "caption", wrap=True)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._facts.setVisible(in_use is not None)
        rows.addWidget(self._facts)
        rows.addLayout(self._make_buttons())
        self.target.setFocus()

    def _add_row(
        self, grid: QGridLayout, row: int, name: str, hint: str, weights_tip: str
    ) -> tuple[QLineEdit, ChoiceBox]:
        caption = label(name)
        edit = QLineEdit()
        edit.setPlaceholderText(hint)
        edit.setAccessibleName(f"{name} directory")
        edit.textChanged.connect(lambda: self._problem.setText(""))
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

    def _directory(self, edit: QLineEdit, name: str) -> Path | None:
        text = edit.text().strip()
        path = Path(text).expanduser()
        if text and path.is_dir():
            return path.resolve()
        what = f"There is no directory “{text}”." if text else f"Choose the {name}'s directory."
        self._problem.setText(what)
        edit.setFocus()
        return None

    def _finish(self, pair: PairLocation) -> None:
        target, draft = self.target_weights.currentData(), self.draft_weights.currentData()
        pair = replace(pair, target_weights=target, draft_weights=draft)
        self.accept()
        self.chosen.emit(pair)
