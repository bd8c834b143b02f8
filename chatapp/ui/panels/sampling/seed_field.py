"""The seed: a number, a die that rolls a new one, and a check that keeps it from reply to reply."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from chatapp.domain.errors import InvalidSetting
from chatapp.ui.icons import tinted_icon
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.sampling.number_field import NumberField
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, ThemedWidget, Tokens, TypeScale

SEED_WIDTH_PX = 132


class SeedField(QWidget, ThemedWidget):
    def __init__(self, model: SamplingModel, scale: TypeScale) -> None:
        super().__init__()
        self._model = model
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_1_PX)
        line = QHBoxLayout()
        line.setSpacing(SPACE_2_PX)
        self.number = NumberField(
            model, "seed", "Seed", "All random choices of a reply come from it", scale, step="1", whole=True
        )
        self.number.edit.setFixedWidth(SEED_WIDTH_PX)
        line.addWidget(self.number, 1)
        self.roll = QToolButton()
        self.roll.setProperty("kind", "plain")
        self.roll.setIconSize(QSize(20, 20))
        self.roll.setToolTip("New seed")
        self.roll.setAccessibleName("New seed")
        self.roll.clicked.connect(model.roll_seed)
        line.addWidget(self.roll)
        rows.addLayout(line)
        self.keep = QCheckBox("Keep this seed for the next reply")
        self.keep.toggled.connect(model.set_keep_seed)
        rows.addWidget(self.keep)
        model.changed.connect(self._show_model)
        self._show_model()

    @property
    def error(self) -> InvalidSetting | None:
        return self.number.error

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        self.roll.setIcon(tinted_icon("dice", tokens.text, 20))

    def _show_model(self) -> None:
        self.keep.setChecked(self._model.keep_seed)
