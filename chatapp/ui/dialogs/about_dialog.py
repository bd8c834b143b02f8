"""What this is, its version, and what it runs on."""

from __future__ import annotations

import platform

import PySide6
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QLabel, QPushButton, QVBoxLayout, QWidget

import chatapp
from chatapp.ui.icons import tinted_pixmap
from chatapp.ui.theme import SPACE_2_PX, SPACE_6_PX
from chatapp.ui.widgets.card import label

LOGO_PX = 64


class AboutDialog(QDialog):
    """`display` says which display mode is on, and why."""

    def __init__(self, parent: QWidget, display: str) -> None:
        super().__init__(parent)
        self.setWindowTitle("About chatapp")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(2 * SPACE_6_PX, SPACE_6_PX, 2 * SPACE_6_PX, SPACE_6_PX)
        rows.setSpacing(SPACE_2_PX)
        logo = QLabel()
        logo.setPixmap(tinted_pixmap("chatapp", "#ffffff", LOGO_PX))
        middle = Qt.AlignmentFlag.AlignHCenter
        rows.addWidget(logo, 0, middle)
        rows.addWidget(label("chatapp", "title"), 0, middle)
        rows.addWidget(label(f"Version {chatapp.__version__}", "muted"), 0, middle)
        what = label("A chat window over a speculative-decoding engine\nthat shows who made each token.")
        what.setAlignment(middle)
        rows.addWidget(what, 0, middle)
        versions = f"Python {platform.python_version()} · PySide6 {PySide6.__version__}"
        rows.addWidget(label(versions, "caption"), 0, middle)
        self.display = label(display, "caption")
        rows.addWidget(self.display, 0, middle)
        close = QPushButton("Close")
        close.setDefault(True)
        close.clicked.connect(self.accept)
        rows.addSpacing(SPACE_2_PX)
        rows.addWidget(close, 0, middle)
