"""The panel on the right: Speed, Sampling, and on a NeuronCore host Device behind segments, the Token card always below them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from chatapp.domain.device import DevicePort
from chatapp.domain.ports import PairInfo
from chatapp.domain.record import RunRecord
from chatapp.domain.wording import replies_words
from chatapp.ui.panels.device_card import DeviceCard
from chatapp.ui.panels.sampling.card import SamplingCard
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.speed_card import SpeedCard
from chatapp.ui.panels.token_card import TokenCard
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, SPACE_3_PX, TypeScale
from chatapp.ui.tpot_plot import TpotPlot
from chatapp.ui.widgets.card import Card, label, scrolling
from chatapp.ui.widgets.rehearsal_badge import RehearsalBadge, rehearsed_replies, replies_tip

PANEL_WIDTH_PX = 348
PLOT_HEIGHT_PX = 128
DEVICE_PAGE = 2
QWIDGETSIZE_MAX = (1 << 24) - 1  # Qt's own name for "no limit", which PySide leaves out


class SidePanel(QWidget):
    """`speed`, `plot`, `sampling`, `device` and `token` are the cards; `show_page` brings one of the pages to the front. The
    page of the device is there only while it has something to show."""

    def __init__(self, model: SamplingModel, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(PANEL_WIDTH_PX)
        self.speed = SpeedCard(scale)
        self.plot = TpotPlot()
        self.plot.setMinimumHeight(PLOT_HEIGHT_PX)
        self.plot_card = Card("TPOT per verify step", titled=False)
        self.plot_card.body.setSpacing(SPACE_1_PX)
        self.plot_rehearsal = RehearsalBadge()
        caption = QHBoxLayout()
        caption.addWidget(label("TPOT per verify step", "caption"), 1)
        caption.addWidget(self.plot_rehearsal)
        self.plot_card.body.addLayout(caption)
        self.plot_card.body.addWidget(self.plot, 1)
        self.sampling = SamplingCard(model, scale)
        self.device = DeviceCard(scale)
        self.token = TokenCard(scale)
        self._rows = rows = QVBoxLayout(self)
        rows.setContentsMargins(0, SPACE_3_PX, SPACE_3_PX, SPACE_3_PX)
        rows.setSpacing(SPACE_2_PX)
        self._pages = QStackedWidget()
        self._pages.addWidget(_page(self.speed, self.plot_card))
        self._pages.addWidget(_page(self.sampling))
        self._pages.addWidget(_page(self.device))
        rows.addWidget(self._make_segments())
        rows.addWidget(self._pages, 1)
        rows.addWidget(self.token)
        self._offer_device()

    def _make_segments(self) -> QFrame:
        frame = QFrame()
        frame.setProperty("card", "segments")
        row = QHBoxLayout(frame)
        row.setContentsMargins(SPACE_1_PX - 1, SPACE_1_PX - 1, SPACE_1_PX - 1, SPACE_1_PX - 1)
        row.setSpacing(SPACE_1_PX)
        self._group = QButtonGroup(self)
        for place, name in enumerate(("Speed", "Sampling", "Device")):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setProperty("kind", "segment")
            button.setAccessibleName(f"Show {name}")
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            self._group.addButton(button, place)
            row.addWidget(button)
        self._group.idClicked.connect(self._pages.setCurrentIndex)
        self._group.button(0).setChecked(True)
        return frame

    def set_whole_width(self, whole: bool) -> None:
        """Take all the width there is, where the panel stands alone."""
        self.setMaximumWidth(QWIDGETSIZE_MAX if whole else PANEL_WIDTH_PX)
        left = SPACE_3_PX if whole else 0
        self._rows.setContentsMargins(left, SPACE_3_PX, SPACE_3_PX, SPACE_3_PX)

    def set_device(self, port: DevicePort) -> None:
        """Whom the Device card asks from now on."""
        self.device.set_port(port)
        self._offer_device()

    def show_provenance(self, records: Sequence[RunRecord]) -> None:
        """Whether replies in the plot were rehearsed, and which."""
        rehearsed = rehearsed_replies(records)
        all_of_them = len(rehearsed) == len(records)
        text = "simulated" if all_of_them or not rehearsed else f"simulated: {replies_words(rehearsed)}"
        self.plot_rehearsal.tell(replies_tip(records), text)

    def show_pair(self, info: PairInfo) -> None:
        self.sampling.show_pair(info)
        self.device.show_pair(info)
        self._offer_device()

    def _offer_device(self) -> None:
        wanted = self.device.wanted
        self._group.button(DEVICE_PAGE).setVisible(wanted)
        if not wanted and self.page == DEVICE_PAGE:
            self.show_page(0)

    @property
    def page(self) -> int:
        return self._pages.currentIndex()

    def show_page(self, place: int) -> None:
        self._group.button(place).setChecked(True)
        self._pages.setCurrentIndex(place)


def _page(*cards: QWidget) -> QScrollArea:
    """A page that scrolls when the window is low, and never sideways."""
    content = QWidget()
    content.setProperty("page", "true")
    rows = QVBoxLayout(content)
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setSpacing(SPACE_2_PX)
    for place, card in enumerate(cards):
        rows.addWidget(card, place)  # what stands below the first card grows with the window
    rows.addStretch(0)
    return scrolling(content)
