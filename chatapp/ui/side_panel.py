"""The panel on the right: Speed and Sampling behind two segments, the Token card always below them."""

from __future__ import annotations

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

from chatapp.ui.panels.sampling.card import SamplingCard
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.speed_card import SpeedCard
from chatapp.ui.panels.token_card import TokenCard
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, SPACE_3_PX, TypeScale
from chatapp.ui.tpot_plot import TpotPlot
from chatapp.ui.widgets.card import Card, label, scrolling

PANEL_WIDTH_PX = 348
PLOT_HEIGHT_PX = 128
QWIDGETSIZE_MAX = (1 << 24) - 1  # Qt's own name for "no limit", which PySide leaves out


class SidePanel(QWidget):
    """`speed`, `plot`, `sampling` and `token` are the cards; `show_page` brings one of the two pages to the front."""

    def __init__(self, model: SamplingModel, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(PANEL_WIDTH_PX)
        self.speed = SpeedCard(scale)
        self.plot = TpotPlot()
        self.plot.setMinimumHeight(PLOT_HEIGHT_PX)
        self.plot_card = Card("TPOT per verify step", titled=False)
        self.plot_card.body.setSpacing(SPACE_1_PX)
        self.plot_card.body.addWidget(label("TPOT per verify step", "caption"))
        self.plot_card.body.addWidget(self.plot, 1)
        self.sampling = SamplingCard(model, scale)
        self.token = TokenCard(scale)
        self._rows = rows = QVBoxLayout(self)
        rows.setContentsMargins(0, SPACE_3_PX, SPACE_3_PX, SPACE_3_PX)
        rows.setSpacing(SPACE_2_PX)
        self._pages = QStackedWidget()
        self._pages.addWidget(_page(self.speed, self.plot_card))
        self._pages.addWidget(_page(self.sampling))
        rows.addWidget(self._make_segments())
        rows.addWidget(self._pages, 1)
        rows.addWidget(self.token)

    def _make_segments(self) -> QFrame:
        frame = QFrame()
        frame.setProperty("card", "segments")
        row = QHBoxLayout(frame)
        row.setContentsMargins(SPACE_1_PX - 1, SPACE_1_PX - 1, SPACE_1_PX - 1, SPACE_1_PX - 1)
        row.setSpacing(SPACE_1_PX)
        self._group = QButtonGroup(self)
        for place, name in enumerate(("Speed", "Sampling")):
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
