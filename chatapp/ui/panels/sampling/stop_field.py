"""Stop strings: one per line, with \\n, \\t and \\\\ for what cannot be typed on one line."""

from __future__ import annotations

import re

from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from chatapp.domain.errors import InvalidSetting
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.sampling.number_field import set_invalid
from chatapp.ui.text_hygiene import clean_prompt
from chatapp.ui.theme import SPACE_1_PX
from chatapp.ui.widgets.card import label

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}
_ESCAPE = re.compile(r"\\[nt\\]")


def parse_stops(text: str) -> tuple[str, ...]:
    """The stop strings of the field's text; empty lines are no stop strings."""
    lines = (line for line in text.split("\n") if line)
    return tuple(clean_prompt(_ESCAPE.sub(lambda m: _ESCAPES[m[0]], line)).text for line in lines)


def format_stops(stops: tuple[str, ...]) -> str:
    spelled = (stop.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t") for stop in stops)
    return "\n".join(spelled)


class StopField(QWidget):
    def __init__(self, model: SamplingModel) -> None:
        super().__init__()
        self._model = model
        self.error: InvalidSetting | None = None
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_1_PX)
        caption = label("Stop strings")
        rows.addWidget(caption)
        self.edit = QPlainTextEdit()
        self.edit.setProperty("kind", "field")
        self.edit.setPlaceholderText("one per line; \\n for a new line")
        self.edit.setTabChangesFocus(True)
        self.edit.setAccessibleName("Stop strings, one per line")
        self.edit.setFixedHeight(2 * self.edit.fontMetrics().lineSpacing() + 22)
        caption.setBuddy(self.edit)
        self.setToolTip("The reply ends where one of them appears; it is not part of the reply")
        rows.addWidget(self.edit)
        self._error = label("", "error", wrap=True)
        self._error.hide()
        rows.addWidget(self._error)
        self.edit.textChanged.connect(self._on_edited)
        model.changed.connect(self._show_model)
        self._show_model()

    def _on_edited(self) -> None:
        try:
            self._model.set_field("stop", parse_stops(self.edit.toPlainText()))
            self.error = None
        except InvalidSetting as error:
            self.error = error
        self._error.setText(self.error.what if self.error else "")
        self._error.setVisible(self.error is not None)
        set_invalid(self.edit, self.error is not None)

    def _show_model(self) -> None:
        if parse_stops(self.edit.toPlainText()) != self._model.settings.stop:
            self.edit.setPlainText(format_stops(self._model.settings.stop))
