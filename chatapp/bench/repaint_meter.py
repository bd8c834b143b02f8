"""What a window repaints: the painted region of every frame, and the pixels that really differ from the frame before.

A remote desktop that trusts the drawing program sends the region; one that compares frames sends the differing pixels. Both
are read from the outside: paint events through an event filter, pixels from the window's backing store, which is what
Qt hands to the screen. A frame is all that is painted between two update requests of the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QObject, QPoint, QRect
from PySide6.QtGui import QImage, QPaintEvent, QRegion
from PySide6.QtWidgets import QApplication, QWidget

BYTES_PER_PX = 4


@dataclass
class Repainted:
    """Sums over frames: painted and changed pixels (device px), and of the painted ones how many lie in each named part."""

    frames: int = 0
    painted_px: int = 0
    changed_px: int = 0
    parts_px: dict[str, int] = field(default_factory=dict)


class RepaintMeter(QObject):
    """Watches `window` between `start` and `stop`. `parts` are widgets of it, by the names they are reported under."""

    def __init__(self, window: QWidget, parts: Mapping[str, QWidget]) -> None:
        super().__init__()
        self._window = window
        self._parts = parts
        self._seen = Repainted()
        self._region = QRegion()
        self._before: npt.NDArray[np.uint32] | None = None

    def start(self) -> None:
        self._seen = Repainted(parts_px=dict.fromkeys(self._parts, 0))
        self._region = QRegion()
        self._before = self._pixels()
        app = QApplication.instance()
        assert app is not None
        app.installEventFilter(self)

    def stop(self) -> Repainted:
        """What was repainted since `start`."""
        app = QApplication.instance()
        assert app is not None
        app.removeEventFilter(self)
        self._end_frame()
        return self._seen

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - overrides Qt's
        if isinstance(event, QPaintEvent):
            if isinstance(watched, QWidget) and watched.window() is self._window:
                self._region += event.region().translated(watched.mapTo(self._window, QPoint()))
        elif event.type() is QEvent.Type.UpdateRequest and watched is self._window:
            self._end_frame()
        return False

    def _end_frame(self) -> None:
        if self._region.isEmpty():
            return
        seen, scale = self._seen, self._window.devicePixelRatioF() ** 2
        seen.frames += 1
        seen.painted_px += round(area(self._region) * scale)
        for name, part in self._parts.items():
            place = part.rect().translated(part.mapTo(self._window, QPoint()))
            if part.isVisible():
                seen.parts_px[name] += round(area(self._region.intersected(place)) * scale)
        self._region = QRegion()
        now = self._pixels()
        if now is not None and self._before is not None and now.shape == self._before.shape:
            seen.changed_px += int(np.count_nonzero(now != self._before))
        self._before = now

    def _pixels(self) -> npt.NDArray[np.uint32] | None:
        """A copy of what the window last handed to the screen; None before it was ever painted."""
        store = self._window.backingStore()
        image = store.paintDevice()
        if not isinstance(image, QImage) or image.isNull() or image.depth() != 8 * BYTES_PER_PX:
            return None
        return np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1).copy()


def area(region: QRegion) -> int:
    """Its pixels."""
    boxes = cast("Iterable[QRect]", region)  # PySide's stub does not know that a region can be iterated over
    return sum(box.width() * box.height() for box in boxes)
