"""The live TPOT plot: one bar per verify step, as wide as its tokens and as high as its milliseconds per token.

pyqtgraph and numpy take about 0.27 s to import (2-core machine, warm disk), a fifth of the time the window has to come
up. So the chart is made `WARM_UP_MS` after the plot is first shown, or when the first record with steps arrives, whichever
comes first. This module must not know the engine or the other panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from chatapp.domain.palette import Theme
from chatapp.domain.record import RunRecord
from chatapp.ui.display_mode import DisplayedWidget, DisplayMode
from chatapp.ui.numbers import milliseconds
from chatapp.ui.theme import tokens_of
from chatapp.ui.tpot_bars import Bar, PlotSeries

if TYPE_CHECKING:
    from chatapp.ui.tpot_chart import TpotChart

WARM_UP_MS = 1200
EMPTY_TEXT = "Each verify step of a reply becomes a bar: as wide as its tokens, as high as its ms per token."


class TpotPlot(QWidget, DisplayedWidget):
    """`step_hovered` carries the hovered `Bar` or None."""

    step_hovered = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = Theme.LIGHT
        self._series = PlotSeries()
        self._chart: TpotChart | None = None
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self.setAccessibleName("TPOT per verify step")
        self._describe()
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.timeout.connect(self._show_new)
        self._warm_up = QTimer(self)
        self._warm_up.setSingleShot(True)
        self._warm_up.setInterval(WARM_UP_MS)
        self._warm_up.timeout.connect(self._make_chart)

    def set_records(self, records: Sequence[RunRecord]) -> None:
        """Show the replies of these records side by side; only the last may still grow."""
        kept = self._series.set_records(records)
        if self._chart is None:
            self._make_chart_if_due()
        else:
            self._chart.show_replies(kept)
        self._show_state()

    def record_changed(self) -> None:
        """The last record took events; they are drawn within the clock's time, and never at once: a chart drawn at a reply's
        first token would compete with its next ones for the processor."""
        if not self._frame.isActive():
            self._frame.start(self.display.clocks.plot_ms)

    def set_display(self, display: DisplayMode) -> None:
        super().set_display(display)
        if self._chart is not None:
            self._chart.set_translucent(display.translucent)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        if self._chart is not None:
            self._chart.set_tokens(tokens_of(theme))
        self.update()

    def bars(self) -> list[Bar]:
        """The bars as they are drawn, left to right."""
        return self._series.bars() if self._chart is None else self._chart.drawn_bars()

    @property
    def chart(self) -> TpotChart | None:
        """The chart, None until it was needed."""
        return self._chart

    def _show_new(self) -> None:
        if not self._series.grow():
            return
        if self._chart is None:
            self._make_chart_if_due()
        else:
            self._chart.show_growth()
        self._show_state()

    def _make_chart_if_due(self) -> None:
        if not self._series.empty:
            self._make_chart()

    def _make_chart(self) -> None:
        if self._chart is not None:
            return
        from chatapp.ui.tpot_chart import TpotChart

        self._chart = TpotChart(self._series, tokens_of(self._theme), self)
        self._chart.set_translucent(self.display.translucent)
        self._chart.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._chart.hovered.connect(self.step_hovered)
        self._rows.addWidget(self._chart)
        self._chart.show_replies(0)
        self._show_state()

    def _show_state(self) -> None:
        if self._chart is not None:
            self._chart.setVisible(not self._series.empty)
        self._describe()
        self.update()

    def _describe(self) -> None:
        bars = sum(len(reply.bars) for reply in self._series.replies)
        last = self._series.replies[-1].tpot_ms if self._series.replies else None
        said = f"{bars:,} verify steps" + (
            "" if last is None else f", TPOT of the reply {milliseconds(last / 1e3)}"
        )
        self.setAccessibleDescription(said if bars else EMPTY_TEXT)

    def sizeHint(self) -> QSize:
        return QSize(320, 200)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._chart is None:
            self._warm_up.start()

    def paintEvent(self, _event: QPaintEvent) -> None:
        tokens = tokens_of(self._theme)
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(tokens.surface))
        if self._series.empty:
            painter.setPen(QColor(tokens.muted))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()).adjusted(20, 0, -20, 0), flags, EMPTY_TEXT)
        painter.end()
