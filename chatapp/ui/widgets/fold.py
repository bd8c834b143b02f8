"""A titled part of a card that can be folded away by its own title. Knows nothing of what is inside."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

from chatapp.ui.icons import tinted_icon
from chatapp.ui.theme import SPACE_2_PX, ThemedWidget, Tokens


class Fold(QWidget, ThemedWidget):
    """`body` is the layout to fill. The title is a button: Space, Enter or a click opens and closes."""

    def __init__(self, title: str, *, is_open: bool) -> None:
        super().__init__()
        self._title = title
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_2_PX)
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setProperty("kind", "section")
        self.button.setCheckable(True)
        self.button.setChecked(is_open)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setIconSize(QSize(14, 14))
        self.button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.button.toggled.connect(self._show)
        rows.addWidget(self.button)
        self._content = QWidget()
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(0, 0, 0, SPACE_2_PX)
        self.body.setSpacing(SPACE_2_PX)
        rows.addWidget(self._content)
        self._show(is_open)

    @property
    def is_open(self) -> bool:
        return self.button.isChecked()

    def set_open(self, is_open: bool) -> None:
        self.button.setChecked(is_open)

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        self._show(self.is_open)

    def _show(self, is_open: bool) -> None:
        self._content.setVisible(is_open)
        self.button.setAccessibleName(f"{self._title}, {'open' if is_open else 'folded'}")
        name = "chevron-down" if is_open else "chevron-right"
        self.button.setIcon(tinted_icon(name, self.tokens.muted, 14))
