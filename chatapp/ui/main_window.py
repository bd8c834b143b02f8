"""The window: header on top, chat column in the middle, side panel on the right. Layout and looks only.

What happens when something is pressed is decided by `controllers.desk.Desk`; this module must not know a port.
"""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractScrollArea,
    QHBoxLayout,
    QMainWindow,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from chatapp.domain.ports import PairInfo
from chatapp.domain.record import Conversation, RunRecord
from chatapp.domain.rehearsal import REHEARSAL_TITLE
from chatapp.ui.actions import WindowActions
from chatapp.ui.composer import Composer
from chatapp.ui.display_manager import DisplayManager
from chatapp.ui.display_mode import DisplayChoice, DisplayedWidget, DisplayMode
from chatapp.ui.header_bar import HeaderBar
from chatapp.ui.icons import app_icon
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.settings import WindowSettings
from chatapp.ui.side_panel import SidePanel
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, ThemeChoice, Tokens, themed_children
from chatapp.ui.theme_manager import ThemeManager
from chatapp.ui.transcript import TranscriptView
from chatapp.ui.transcript.style import COLUMN_PX
from chatapp.ui.welcome import Welcome
from chatapp.ui.widgets.banner import Banner
from chatapp.ui.widgets.preparation_card import PreparationCard
from chatapp.ui.widgets.rehearsal_badge import pair_tip, rehearsed_replies, replies_tip

START_SIZE = QSize(1280, 800)
NARROW_PX = 1080
LOW_PX = 760
ONE_COLUMN_PX = 880
"""Below this width chat and panel do not fit side by side, and F9 changes between them."""
SCROLL_BAR_PX = 10
COLUMN_MAX_PX = COLUMN_PX + 2 * SPACE_3_PX  # as wide as the transcript's column, so that the edges meet


class MainWindow(QMainWindow):
    """`closing` fires once, when the window is about to go; whoever runs the application ends it then."""

    closing = Signal()

    def __init__(self, theme: ThemeManager, settings: WindowSettings, display: DisplayManager) -> None:
        super().__init__()
        self._theme = theme
        self.display = display
        self._settings = settings
        self._low = False
        self._one_column = False
        self._panel_beside = True
        self._title = ""
        self._pair_rehearsal = ""
        self._records: list[RunRecord] = []
        self._told_of: tuple[int, ...] = ()
        self.setWindowTitle("chatapp")
        self.setWindowIcon(app_icon())
        self.sampling = SamplingModel(self)
        self.actions_ = WindowActions(self)
        self.header = HeaderBar()
        self.transcript = TranscriptView()
        self.welcome = Welcome()
        self.banner = Banner()
        self.preparation = PreparationCard()
        self.composer = Composer()
        self.panel = SidePanel(self.sampling, theme.scale)
        self._lay_out()
        self._connect_view_actions()
        self.restore_settings()
        theme.changed.connect(self._show_theme)
        self._show_theme(theme.tokens)
        display.changed.connect(self._show_display)
        self._show_display(display.mode)
        self.composer.edit.setFocus()

    def _lay_out(self) -> None:
        self.pages = QStackedWidget()
        self.pages.addWidget(self.welcome)
        self.pages.addWidget(self.transcript)
        lower = QVBoxLayout()
        lower.setContentsMargins(SPACE_3_PX, 0, SPACE_3_PX, SPACE_3_PX)
        lower.setSpacing(SPACE_2_PX)
        lower.addWidget(self.preparation)
        lower.addWidget(self.banner)
        lower.addWidget(self.composer)
        held = QWidget()
        held.setLayout(lower)
        held.setMaximumWidth(COLUMN_MAX_PX)
        centred = QHBoxLayout()
        centred.setContentsMargins(0, 0, 0, 0)
        self._keep_columns_aligned(centred)
        centred.addStretch(1)
        centred.addWidget(held, 1000)
        centred.addStretch(1)
        self._column = QWidget()
        column = QVBoxLayout(self._column)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE_2_PX)
        column.addWidget(self.pages, 1)
        column.addLayout(centred)
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        middle.addWidget(self._column, 1)
        middle.addWidget(self.panel)
        central = QWidget()
        central.setMinimumWidth(
            self._column.minimumSizeHint().width()
        )  # not both columns': `_choose_columns`
        rows = QVBoxLayout(central)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(self.header)
        rows.addLayout(middle, 1)
        self.setCentralWidget(central)

    def _keep_columns_aligned(self, lower: QHBoxLayout) -> None:
        """The transcript centres its column in what its scroll bar leaves; the composer does the same."""
        for area in self.transcript.findChildren(QAbstractScrollArea):
            bar = area.verticalScrollBar()
            bar.rangeChanged.connect(
                lambda _, end: lower.setContentsMargins(0, 0, SCROLL_BAR_PX if end > 0 else 0, 0)
            )

    def _connect_view_actions(self) -> None:
        for choice, action in self.actions_.themes.items():
            action.triggered.connect(lambda _=False, chosen=choice: self.choose_theme(chosen))
        for mode, action in self.actions_.displays.items():
            action.triggered.connect(lambda _=False, chosen=mode: self.choose_display(chosen))
        self.actions_.legend.toggled.connect(self.transcript.set_legend_visible)
        self.actions_.panel.toggled.connect(self._show_columns)
        self.header.panel_clicked.connect(self.actions_.panel.toggle)
        self.header.theme_clicked.connect(self._flip_theme)

    def restore_settings(self) -> None:
        """Take what the last session left; the first time panel and legend are shown."""
        kept = self._settings
        self.actions_.themes[self._theme.choice].setChecked(True)
        self.actions_.legend.setChecked(kept.flag("view/legend", True))
        self.transcript.set_legend_visible(self.actions_.legend.isChecked())
        self.actions_.panel.setChecked(kept.flag("view/panel", True))
        self._show_columns()
        self.resize(START_SIZE)
        if kept.geometry is not None:
            self.restoreGeometry(kept.geometry)
        self.composer.window_slider.setValue(kept.window)
        self.composer.speculation.setChecked(kept.flag("run/speculation", True))
        self.composer.auto.setChecked(kept.flag("run/auto", False))
        if kept.sampling is not None:
            self.sampling.set_settings(kept.sampling)
        self.sampling.set_keep_seed(kept.flag("run/keep_seed", False))
        self.sampling.set_acceptor(kept.text("run/acceptor", self.sampling.acceptor))
        self.sampling.set_drafter(kept.text("run/drafter"))
        self.sampling.set_auto_policy(kept.text("run/auto_policy"))
        self.sampling.set_system_prompt(kept.text("run/system_prompt"))

    def save_settings(self) -> None:
        kept = self._settings
        kept.theme = self._theme.choice
        kept.display = self.display.choice
        kept.geometry = self.saveGeometry()
        kept.set_flag("view/legend", self.actions_.legend.isChecked())
        kept.set_flag(
            "view/panel", self._panel_beside if self._one_column else self.actions_.panel.isChecked()
        )
        kept.window = self.composer.window_slider.value()
        kept.set_flag("run/speculation", self.composer.speculation.isChecked())
        kept.set_flag("run/auto", self.composer.auto.isChecked())
        kept.sampling = self.sampling.settings
        kept.set_text("run/drafter", self.sampling.drafter)
        kept.set_text("run/auto_policy", self.sampling.auto_policy)
        kept.set_flag("run/keep_seed", self.sampling.keep_seed)
        kept.set_text("run/acceptor", self.sampling.acceptor)
        kept.set_text("run/system_prompt", self.sampling.system_prompt)
        kept.sync()

    def choose_theme(self, choice: ThemeChoice) -> None:
        self.actions_.themes[choice].setChecked(True)
        self._theme.set_choice(choice)

    def _flip_theme(self) -> None:
        dark = self._theme.tokens.theme.value == ThemeChoice.DARK.value
        self.choose_theme(ThemeChoice.LIGHT if dark else ThemeChoice.DARK)

    def _show_theme(self, tokens: Tokens) -> None:
        for child in themed_children(self):
            child.set_tokens(tokens)
        self.transcript.set_theme(tokens.theme)
        self.panel.plot.set_theme(tokens.theme)

    def choose_display(self, choice: DisplayChoice) -> None:
        self.display.set_choice(choice)

    def _show_display(self, mode: DisplayMode) -> None:
        self.actions_.displays[self.display.choice].setChecked(True)
        for child in self.findChildren(QWidget):
            if isinstance(child, DisplayedWidget):
                child.set_display(mode)
        self.header.show_display(self.display.explanation if mode.remote else "")

    def show_conversation(self, conversation: Conversation) -> None:
        """Project `conversation` onto transcript, plot and numbers."""
        self.transcript.set_conversation(conversation)
        self.panel.token.clear()
        self.show_records(conversation)
        self.pages.setCurrentWidget(self.transcript if conversation.turns else self.welcome)

    def show_records(self, conversation: Conversation) -> None:
        records = [turn.record for turn in conversation.turns]
        self.panel.speed.set_records(records)
        self.panel.plot.set_records(records)
        self._title = conversation.title if conversation.turns else ""
        self._records = records
        self._tell_provenance()

    def show_pair(self, info: PairInfo) -> None:
        """Another pair is loaded."""
        self.header.show_pair(info)
        self.panel.show_pair(info)
        self._pair_rehearsal = pair_tip(info.environment)
        self._tell_provenance()

    def show_provenance(self) -> None:
        """A record took events: with its first it says whether its times are a rehearsal's."""
        if rehearsed_replies(self._records) != self._told_of:
            self._tell_provenance()

    def _tell_provenance(self) -> None:
        """The badges, and the title that a task bar shows, as long as the pair or anything on screen is a rehearsal's."""
        self._told_of = rehearsed_replies(self._records)
        tip = replies_tip(self._records) or self._pair_rehearsal
        self.header.show_rehearsal(tip)
        self.panel.show_provenance(self._records)
        parts = (self._title, REHEARSAL_TITLE if tip else "", "chatapp")
        self.setWindowTitle(" — ".join(part for part in parts if part))

    def bring_to_front(self) -> None:
        """A second start asks for this."""
        if self.isMinimized():
            self.showNormal()
        self.show()
        self.raise_()
        self.activateWindow()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.header.set_narrow(event.size().width() < NARROW_PX)
        self._choose_columns(event.size().width() < ONE_COLUMN_PX)
        low = event.size().height() < LOW_PX
        if low != self._low:
            self._low = low
            self.panel.token.set_folded(low)

    def _choose_columns(self, one: bool) -> None:
        """Too narrow for both, the window shows the chat first; with room again, what stood there before."""
        if one == self._one_column:
            return
        if one:
            self._panel_beside = self.actions_.panel.isChecked()
        self._one_column = one
        self.actions_.panel.setChecked(self._panel_beside and not one)
        self._show_columns()

    def _show_columns(self) -> None:
        shown = self.actions_.panel.isChecked()
        chat_was_away = self._column.isHidden()
        self.panel.set_whole_width(self._one_column)
        self.panel.setVisible(shown)
        self._column.setVisible(not (shown and self._one_column))
        if chat_was_away and not self._column.isHidden():
            self.composer.edit.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc that nobody else wanted (it stops a running reply) dismisses the message."""
        if event.key() == Qt.Key.Key_Escape and self.banner.isVisible():
            self.banner.clear()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.save_settings()
        for child in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            if child.isWindow():
                child.close()
        event.accept()
        self.closing.emit()
