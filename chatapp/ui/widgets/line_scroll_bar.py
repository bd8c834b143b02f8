"""A scroll bar that can move by whole lines, whatever moves it. It must not know what it scrolls."""

from __future__ import annotations

import math

from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QScrollBar, QWidget

NOTCH = 120
"""Of `angleDelta`: one click of a common wheel."""


class LineScrollBar(QScrollBar):
    """`line_px` is the height of a line, 0 while it moves by pixels. Ranges are for the owner to keep in whole lines."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line_px = 0
        self._turned = 0.0
        self.actionTriggered.connect(self._snap)

    def snapped(self, value: float) -> int:
        """The whole line nearest to `value`."""
        return round(value / self.line_px) * self.line_px if self.line_px else round(value)

    def move_to(self, value: int) -> None:
        """Go to `value`, or to the first whole line behind it."""
        if self.line_px:
            lines = value / self.line_px
            value = (math.ceil(lines) if value > self.value() else math.floor(lines)) * self.line_px
        self.setValue(value)

    def _snap(self) -> None:
        # Qt's own place for it: the position was moved, and the value is not told yet.
        self.setSliderPosition(self.snapped(self.sliderPosition()))

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not self.line_px:
            super().wheelEvent(event)
            return
        # A touchpad turns by parts of a line, which snapping would lose one by one.
        per_notch = QApplication.wheelScrollLines() * self.singleStep() / self.line_px
        turned = event.angleDelta().y() / NOTCH * per_notch
        self._turned = turned + (self._turned if self._turned * turned > 0 else 0.0)
        lines = int(self._turned)
        self._turned -= lines
        self.setValue(self.value() - lines * self.line_px)
        event.accept()
