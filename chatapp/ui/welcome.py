"""What stands where the transcript will be: a greeting and prompts to begin with. It must not know an engine."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from chatapp.domain.palette import KIND_STYLES
from chatapp.ui.icons import tinted_pixmap
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, SPACE_6_PX, ThemedWidget, Tokens
from chatapp.ui.widgets.card import label, scrolling

LOGO_PX = 56
COLUMN_PX = 620
PROMPTS = (
    "What does the window k mean?",
    "Tell me a short story about a fox named Mira in a garden with a lamp.",
    "Write a Python function that adds two numbers.",
    "Anna has 17 apples and buys 25 more. How many has she now?",
)


class Welcome(QWidget, ThemedWidget):
    """`chosen` carries the prompt that was clicked."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        content = QWidget()
        content.setProperty("page", "true")
        outer = QVBoxLayout(content)
        outer.setContentsMargins(SPACE_6_PX, SPACE_6_PX, SPACE_6_PX, SPACE_6_PX)
        outer.setSpacing(SPACE_2_PX)
        middle = Qt.AlignmentFlag.AlignHCenter
        outer.addStretch(1)
        logo = QLabel()
        logo.setPixmap(tinted_pixmap("chatapp", "#ffffff", LOGO_PX))
        outer.addWidget(logo, 0, middle)
        outer.addSpacing(SPACE_2_PX)
        outer.addWidget(label("Watch two models write one reply", "title"), 0, middle)
        lines = label(
            "A small draft proposes, the large target checks. Every token shows who made it.",
            "muted",
            wrap=True,
        )
        lines.setAlignment(middle)
        outer.addWidget(lines)
        self._legend = QLabel()
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._legend.setAccessibleName("Classes: " + ", ".join(s.label for s in KIND_STYLES.values()))
        outer.addWidget(self._legend, 0, middle)
        outer.addSpacing(SPACE_6_PX)
        held = QHBoxLayout()
        held.addStretch(1)
        held.addWidget(self._make_prompts(), 1000)
        held.addStretch(1)
        outer.addLayout(held)
        outer.addStretch(2)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scrolling(content))

    def _make_prompts(self) -> QWidget:
        frame = QWidget()
        frame.setMaximumWidth(COLUMN_PX)
        grid = QGridLayout(frame)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACE_3_PX)
        self.buttons: list[QPushButton] = []
        for place, prompt in enumerate(PROMPTS):
            button = QPushButton()
            button.setProperty("kind", "suggestion")
            button.setAccessibleName(f"Send: {prompt}")
            button.setCursor(Qt.CursorShape.PointingHandCursor)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
            inside = QVBoxLayout(button)
            inside.setContentsMargins(SPACE_3_PX, SPACE_3_PX, SPACE_3_PX, SPACE_3_PX)
            text = label(prompt, wrap=True)
            text.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            inside.addWidget(text)
            button.setMinimumHeight(64)
            button.clicked.connect(lambda _=False, chosen=prompt: self.chosen.emit(chosen))
            grid.addWidget(button, place // 2, place % 2)
            self.buttons.append(button)
        return frame

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        words = (
            f'<span style="color:{style.colour(tokens.theme)}">■</span>&nbsp;{style.label}'
            for style in KIND_STYLES.values()
        )
        self._legend.setText("&nbsp;&nbsp;&nbsp;".join(words))
