"""The bar on top: which pair runs where, how far loading is, and the two buttons for theme and panel.

It must not know an engine; it is told what to show.
"""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, SignalInstance
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from chatapp.domain.events import Environment
from chatapp.domain.ports import LoadProgress, PairInfo
from chatapp.domain.rehearsal import rehearsal_at
from chatapp.ui import numbers
from chatapp.ui.icons import tinted_icon, tinted_pixmap
from chatapp.ui.text_hygiene import readable, visible
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, SPACE_4_PX, ThemedWidget, Tokens
from chatapp.ui.widgets.card import label
from chatapp.ui.widgets.rehearsal_badge import RehearsalBadge

PROGRESS_STEPS = 1000
PROGRESS_WIDTH_PX = 180
LOGO_PX = 30
NO_PAIR = "No pair loaded"
NAME_CHARS = 36
DEVICE_CHARS = 20
NARROW_LEAVES_OUT = ("threads", "context", "display")
REHEARSAL_LEAVES_OUT = ("device", "dtype")
"""In a narrow window these give way to the badge of a rehearsal, which gives way to nothing."""
DISPLAY_CHIP = "remote display"
DTYPE_SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class HeaderBar(QFrame, ThemedWidget):
    """`pair_clicked` asks for another pair; `theme_clicked` and `panel_clicked` are the buttons on the right."""

    pair_clicked = Signal()
    theme_clicked = Signal()
    panel_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._has_pair = False
        self._narrow = False
        self.setProperty("card", "header")
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE_4_PX, SPACE_2_PX, SPACE_3_PX, SPACE_2_PX)
        row.setSpacing(SPACE_3_PX)
        logo = QLabel()
        logo.setPixmap(tinted_pixmap("chatapp", "#ffffff", LOGO_PX))
        row.addWidget(logo)
        row.addLayout(self._make_names())
        self.rehearsal = RehearsalBadge()
        row.addWidget(self.rehearsal, 0, Qt.AlignmentFlag.AlignVCenter)
        self._chips: dict[str, QLabel] = {
            name: label("", "chip") for name in ("device", "dtype", "threads", "context", "display")
        }
        for chip in self._chips.values():
            chip.hide()
            row.addWidget(chip, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addStretch(1)
        self._state = label("", "caption")
        self._state.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._state)
        self._progress = QProgressBar()
        self._progress.setRange(0, PROGRESS_STEPS)
        self._progress.setTextVisible(False)
        self._progress.setFixedWidth(PROGRESS_WIDTH_PX)
        self._progress.setAccessibleName("Loading")
        self._progress.hide()
        row.addWidget(self._progress)
        self._theme = self._tool_button("Switch between light and dark", self.theme_clicked)
        self._panel = self._tool_button("Show or hide the side panel (F9)", self.panel_clicked)
        row.addWidget(self._theme)
        row.addWidget(self._panel)

    def _make_names(self) -> QVBoxLayout:
        lines = QVBoxLayout()
        lines.setSpacing(0)
        self._name = QPushButton(NO_PAIR)
        self._name.setProperty("kind", "plain")
        self._name.setProperty("title", "true")
        self._name.setCursor(Qt.CursorShape.PointingHandCursor)
        self._name.setToolTip("Open another pair (Ctrl+P)")
        self._name.setAccessibleName("Loaded pair; opens another one")
        self._name.clicked.connect(self.pair_clicked)
        self._detail = label("", "caption")
        self._detail.setContentsMargins(5, 0, 0, 0)
        lines.addWidget(self._name, 0, Qt.AlignmentFlag.AlignLeft)
        lines.addWidget(self._detail)
        keep_height = self._detail.sizePolicy()
        keep_height.setRetainSizeWhenHidden(True)  # the bar must not grow when the pair is there
        self._detail.setSizePolicy(keep_height)
        self._detail.hide()
        return lines

    def _tool_button(self, tip: str, clicked: SignalInstance) -> QToolButton:
        button = QToolButton()
        button.setProperty("kind", "plain")
        button.setIconSize(QSize(20, 20))
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        button.clicked.connect(clicked)
        return button

    @property
    def state_text(self) -> str:
        return self._state.text()

    @property
    def pair_text(self) -> str:
        return self._name.text()

    def show_loading(self, name: str, progress: LoadProgress) -> None:
        self._state.setText(progress.message)
        self._progress.setValue(round(progress.fraction * PROGRESS_STEPS))
        self._progress.show()
        if not self._has_pair and name:
            self._name.setText(_shown_name(name))

    def show_failure(self) -> None:
        """Loading failed; the pair before is still there, if there was one."""
        if not self._has_pair:
            self._name.setText(NO_PAIR)
        self.show_state("Ready" if self._has_pair else "Not ready")

    def show_pair(self, info: PairInfo) -> None:
        self._has_pair = True
        self._name.setText(_shown_name(info.location.name))
        self._name.setToolTip(f"{visible(info.location.name, limit=200)}\nOpen another pair (Ctrl+P)")
        self.show_environment(info.environment)
        self.show_state("Ready")

    def show_environment(self, environment: Environment) -> None:
        target, draft = environment.target, environment.draft
        words = [f"target {numbers.parameter_count(target.parameters)}"]
        words.append(f"draft {numbers.parameter_count(draft.parameters)}" if draft else "no draft")
        self._detail.setText(" · ".join(words))
        self._detail.setToolTip("\n".join(model_lines(environment)))
        self._detail.setAccessibleDescription("; ".join(model_lines(environment)))
        self._detail.show()
        threads = f"{environment.threads} thread" + ("" if environment.threads == 1 else "s")
        values = {
            "device": (
                _short_device(environment),
                f"Backend {environment.backend} on {environment.device}",
            ),
            "dtype": (DTYPE_SHORT.get(target.dtype, target.dtype), f"Numbers of the target: {target.dtype}"),
            "threads": (threads, "Compute threads of the engine"),
            "context": (f"{environment.context_limit:,} ctx", "Context limit, in tokens"),
        }
        for name, (text, tip) in values.items():
            self._chips[name].setText(text)
            self._chips[name].setToolTip(tip)
        self._choose_chips()

    def show_display(self, why: str) -> None:
        """That the window spares a remote desktop, and why; empty: it does not."""
        chip = self._chips["display"]
        chip.setText(DISPLAY_CHIP if why else "")
        chip.setToolTip(why)
        chip.setAccessibleDescription(why)
        self._choose_chips()

    def show_state(self, text: str) -> None:
        """A word or two, and no bar."""
        self._state.setText(text)
        self._progress.hide()

    def set_narrow(self, narrow: bool) -> None:
        """In a narrow window the less important chips give way."""
        self._narrow = narrow
        self._choose_chips()

    def show_rehearsal(self, tip: str) -> None:
        """That the pair or replies on screen are a rehearsal's, and which latencies stand behind it; empty: they are not."""
        self.rehearsal.tell(tip)
        self._choose_chips()

    def _choose_chips(self) -> None:
        rehearsed = REHEARSAL_LEAVES_OUT if not self.rehearsal.isHidden() else ()
        left_out = (*NARROW_LEAVES_OUT, *rehearsed) if self._narrow else ()
        for name, chip in self._chips.items():
            chip.setVisible(bool(chip.text()) and name not in left_out)

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        self._theme.setIcon(tinted_icon("theme", tokens.muted, 20))
        self._panel.setIcon(tinted_icon("panel", tokens.muted, 20))


def model_lines(environment: Environment) -> list[str]:
    """Each model's name and which code computes it, for tooltips and dialogs."""
    lines = []
    for role, model in (("target", environment.target), ("draft", environment.draft)):
        if model is None:
            lines.append(f"{role}: none")
            continue
        lines.append(f"{role}: {readable(model.name, limit=200)}")
        if model.runs_on:
            lines.append(f"{role} runs on: {readable(model.runs_on, limit=300)}")
    if environment.bandwidth > 0:
        lines.append(f"memory bandwidth: {environment.bandwidth / 1e9:.1f} GB/s, measured at start-up")
    return lines


def _short_device(environment: Environment) -> str:
    """Of a rehearsal, which the badge beside it tells, the instance type alone."""
    pair = rehearsal_at(environment.device) if environment.simulated else None
    return f"as {pair.instance}" if pair is not None else _shown_name(environment.device, DEVICE_CHARS)


def _shown_name(name: str, limit: int = NAME_CHARS) -> str:
    """`name` on one line, its middle left out when it is long: both ends of a path say more than its start."""
    plain = name if name.isprintable() else visible(name, limit=400)
    if len(plain) <= limit:
        return plain
    return f"{plain[: limit // 2]}…{plain[-(limit // 2) :]}"
