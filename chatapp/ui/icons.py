"""Icons: own SVG line drawings from `resources/icons`, tinted with a colour of the theme.

The drawings use `currentColor`; it is replaced in the text before rendering, so one file serves every theme.
"""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QGuiApplication, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from chatapp.resources import resource_path


@lru_cache(maxsize=64)
def _drawing(name: str) -> str:
    return resource_path("icons", f"{name}.svg").read_text(encoding="utf-8")


def tinted_pixmap(name: str, colour: str, size_px: int) -> QPixmap:
    """The drawing `name` in `colour`, `size_px` device-independent pixels square."""
    ratio = max(QGuiApplication.primaryScreen().devicePixelRatio(), 2.0)
    pixmap = QPixmap(round(size_px * ratio), round(size_px * ratio))
    pixmap.fill(Qt.GlobalColor.transparent)
    renderer = QSvgRenderer(QByteArray(_drawing(name).replace("currentColor", colour).encode()))
    painter = QPainter(pixmap)
    renderer.render(painter, QRectF(0, 0, pixmap.width(), pixmap.height()))
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


def tinted_icon(name: str, colour: str, size_px: int = 18, *, disabled: str | None = None) -> QIcon:
    icon = QIcon(tinted_pixmap(name, colour, size_px))
    if disabled is not None:
        icon.addPixmap(tinted_pixmap(name, disabled, size_px), QIcon.Mode.Disabled)
    return icon


def app_icon() -> QIcon:
    """The application's icon in the sizes that desktops ask for."""
    icon = QIcon()
    for size in (16, 24, 32, 48, 64, 128, 256):
        icon.addPixmap(tinted_pixmap("chatapp", "#ffffff", size))
    return icon
