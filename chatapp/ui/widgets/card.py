"""A rounded card with a title; its body can be folded away."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QToolButton, QVBoxLayout, QWidget

from chatapp.ui.icons import tinted_icon
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, SPACE_4_PX, ThemedWidget, Tokens


def label(text: str = "", role: str = "", *, wrap: bool = False) -> QLabel:
    """A plain-text label in one of the style sheet's roles; text from outside is never read as HTML."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(wrap)
    if role:
        made.setProperty("role", role)
    return made


def scrolling(content: QWidget) -> QScrollArea:
    """`content` in an area that scrolls when it is too low for it, and never sideways."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(content)
    return area


class Card(QFrame, ThemedWidget):
    """`body` is the layout to fill, `head` the row of the title, where more may stand, `title` its label (of titled cards). `folded`: the body is hidden."""

    folded = Signal(bool)

    def __init__(
        self, title: str, parent: QWidget | None = None, *, titled: bool = True, foldable: bool = False
    ) -> None:
        super().__init__(parent)
        self.setProperty("card", "true")
        self.setAccessibleName(title)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(SPACE_4_PX, SPACE_3_PX - 2, SPACE_4_PX, SPACE_3_PX - 2)
        outer.setSpacing(SPACE_2_PX)
        self.head = QHBoxLayout()
        self.head.setSpacing(SPACE_2_PX)
        self._fold = QToolButton()
        self._fold.setProperty("kind", "plain")
        self._fold.setIconSize(QSize(16, 16))
        self._fold.setAccessibleName(f"Fold or unfold {title}")
        self._fold.clicked.connect(lambda: self.set_folded(not self.is_folded))
        self._fold.setVisible(foldable)
        if titled:
            self.title = label(title, "card-title")
            self.head.addWidget(self.title)
            self.head.addStretch(1)
            self.head.addWidget(self._fold)
            outer.addLayout(self.head)
        else:
            self._fold.setParent(self)
        self._content = QWidget()
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(SPACE_2_PX)
        outer.addWidget(self._content)
        self._is_folded = False

    @property
    def is_folded(self) -> bool:
        return self._is_folded

    def set_folded(self, folded: bool) -> None:
        if folded == self._is_folded:
            return
        self._is_folded = folded
        self._content.setVisible(not folded)
        self.set_tokens(self.tokens)
        self.folded.emit(folded)

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        name = "chevron-right" if self._is_folded else "chevron-down"
        self._fold.setIcon(tinted_icon(name, tokens.muted, 16))
        self._fold.setToolTip("Unfold" if self._is_folded else "Fold")
