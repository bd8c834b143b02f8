"""One large number over its caption; several cards begin with two of them."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from chatapp.ui import numbers
from chatapp.ui.theme import TypeScale, number_font
from chatapp.ui.widgets.card import label


class Hero(QWidget):
    """A dash until there is a number."""

    def __init__(self, caption: str, tip: str, scale: TypeScale) -> None:
        super().__init__()
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(0)
        self._number = label(numbers.DASH)
        self._number.setFont(number_font(scale.hero, bold=True))
        lines.addWidget(self._number)
        self._caption = label(caption, "caption")
        lines.addWidget(self._caption)
        self.setToolTip(tip)

    def set_text(self, text: str) -> None:
        self._number.setText(text)
        self._name_aloud()

    def set_caption(self, caption: str) -> None:
        self._caption.setText(caption)
        self._name_aloud()

    def _name_aloud(self) -> None:
        self.setAccessibleName(f"{self._caption.text()}: {self.text}")

    @property
    def text(self) -> str:
        return self._number.text()

    @property
    def caption(self) -> str:
        return self._caption.text()
