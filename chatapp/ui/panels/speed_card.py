"""The numbers of the reply and of the session, projected from their records at the display mode's slow clock.

It must not time anything: every number comes from `domain.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QWidget

from chatapp.domain.metrics import (
    Metrics,
    Provenance,
    combined_metrics,
    current_tpot_s,
    run_metrics,
    run_traffic,
)
from chatapp.domain.record import RunRecord
from chatapp.domain.rehearsal import REHEARSAL, REHEARSAL_TITLE
from chatapp.domain.tokens import TokenKind
from chatapp.domain.wording import share_of_bandwidth
from chatapp.ui import numbers
from chatapp.ui.display_mode import DisplayedWidget
from chatapp.ui.panels.hero import Hero
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, TypeScale, number_font
from chatapp.ui.widgets.card import Card, label
from chatapp.ui.widgets.rehearsal_badge import RehearsalBadge, replies_tip
from chatapp.ui.widgets.share_bar import Share, ShareBar
from chatapp.ui.widgets.traffic_gauge import Reading, TrafficGauge

RECENT_STEPS = 8

Row = tuple[str, str, Callable[[Metrics], str]]
ROWS: tuple[Row, ...] = (
    (
        "TPOT",
        "Time per output token: (last token − first token) / (tokens − 1)",
        lambda m: numbers.milliseconds(m.tpot_s),
    ),
    (
        "TTFT",
        "Time to first token, from Enter; for the session the mean",
        lambda m: numbers.milliseconds(m.ttft_s),
    ),
    ("Tokens / s", "Decode speed, prefill not counted", lambda m: numbers.rate(m.tokens_per_s)),
    (
        "Acceptance rate",
        "Accepted drafts / all drafts, those behind the end of the reply left out",
        lambda m: numbers.percent(m.acceptance_rate),
    ),
    (
        "Tested acceptance",
        "Accepted / (accepted + rejected at test): drafts behind a rejection were never tested",
        lambda m: numbers.percent(m.tested_acceptance),
    ),
    (
        "Mean accept. length",
        "Committed tokens per verify step, between 1 and k",
        lambda m: numbers.length(m.mean_acceptance_length),
    ),
)


class SpeedCard(Card, DisplayedWidget):
    """`set_records` names the replies of the conversation; the last one is "reply", all of them are "session"."""

    def __init__(self, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__("Speed", parent, titled=False)
        self._records: Sequence[RunRecord] = ()
        self._finished: dict[int, Metrics] = {}
        self._cells: dict[str, tuple[QLabel, QLabel]] = {}
        self.body.setSpacing(SPACE_2_PX - 2)
        self.rehearsal = RehearsalBadge()
        self.body.addWidget(self.rehearsal)
        heroes = QHBoxLayout()
        heroes.setSpacing(SPACE_3_PX)
        self.tpot_now = Hero("TPOT now", "Time per output token over the last verify steps", scale)
        self.speed_now = Hero("tokens / s now", "The inverse of TPOT now", scale)
        heroes.addWidget(self.tpot_now, 1)
        heroes.addWidget(self.speed_now, 1)
        self.body.addLayout(heroes)
        self.body.addLayout(self._make_table(scale))
        self.gauge = TrafficGauge()
        self.body.addWidget(self.gauge)
        self.shares = ShareBar()
        self.body.addWidget(self.shares)
        self._slow_clock = QTimer(self)
        self._slow_clock.setSingleShot(True)
        self._slow_clock.timeout.connect(self._refresh)
        self._refresh()

    def _make_table(self, scale: TypeScale) -> QGridLayout:
        table = QGridLayout()
        table.setHorizontalSpacing(SPACE_3_PX)
        table.setVerticalSpacing(1)
        table.setColumnStretch(0, 1)
        right = Qt.AlignmentFlag.AlignRight
        font: QFont = number_font(scale.body)
        for column, (head, tip) in enumerate(
            (("reply", "The last reply"), ("session", "All replies of this conversation")), start=1
        ):
            cell = label(head, "caption")
            cell.setToolTip(tip)
            table.addWidget(cell, 0, column, right)
            table.setColumnMinimumWidth(column, 68)
        for row, (name, tip, _) in enumerate(ROWS, start=1):
            title = label(name, "muted")
            title.setToolTip(tip)
            table.addWidget(title, row, 0)
            reply, session = label(numbers.DASH), label(numbers.DASH, "muted")
            for column, cell in enumerate((reply, session), start=1):
                cell.setFont(font)
                table.addWidget(cell, row, column, right)
            self._cells[name] = (reply, session)
        return table

    def set_records(self, records: Sequence[RunRecord]) -> None:
        self._records = records
        self._finished.clear()
        self._refresh()

    def record_changed(self) -> None:
        """The running record took events; the numbers follow within the clock's time."""
        if not self._slow_clock.isActive():
            self._slow_clock.start(self.display.clocks.numbers_ms)

    def shown(self, name: str) -> tuple[str, str]:
        """What the row `name` shows for the reply and for the session."""
        reply, session = self._cells[name]
        return reply.text(), session.text()

    def _metrics_of(self, place: int, record: RunRecord) -> Metrics:
        if place in self._finished:
            return self._finished[place]
        metrics = run_metrics(record)
        if record.ended is not None:
            self._finished[place] = metrics
        return metrics

    def _show_provenance(self, session: Provenance) -> None:
        """A session of rehearsed and of measured replies has no times, and says why."""
        mixed = session is Provenance.MIXED
        simulated = mixed or session is Provenance.SIMULATED
        last = bool(self._records) and self._records[-1].simulated
        text = REHEARSAL_TITLE if last or not mixed else f"Session: partly {REHEARSAL}"
        self.rehearsal.tell(replies_tip(self._records) if simulated else "", text)

    def _refresh(self) -> None:
        parts = [self._metrics_of(place, record) for place, record in enumerate(self._records)]
        reply = parts[-1] if parts else Metrics()
        session = combined_metrics(parts)
        self._show_provenance(session.provenance)
        now_s = current_tpot_s(self._records[-1]) if self._records else None
        self.tpot_now.set_text(numbers.milliseconds(now_s))
        self.speed_now.set_text(numbers.rate(1 / now_s if now_s else None))
        for name, _, shown in ROWS:
            reply_cell, session_cell = self._cells[name]
            reply_cell.setText(shown(reply))
            session_cell.setText(shown(session))
            reply_cell.setAccessibleName(f"{name}, reply: {shown(reply)}")
            session_cell.setAccessibleName(f"{name}, session: {shown(session)}")
        readings = _readings(self._records[-1]) if self._records else []
        if readings or not self._records or self._records[-1].ended is not None:
            # A reply without any yet leaves the last one's: the card keeps its height.
            self.gauge.set_readings(readings)
        self.shares.set_shares([Share(kind, reply.share(kind)) for kind in TokenKind])


def _readings(record: RunRecord) -> list[Reading]:
    """Target's and drafter's traffic against the bandwidth; empty where the bandwidth or all bytes are unknown."""
    if record.started is None:
        return []
    bandwidth = record.started.environment.bandwidth
    reply, now = run_traffic(record), run_traffic(record, RECENT_STEPS)
    rates = (("verify", now.verify_rate, reply.verify_rate), ("draft", now.draft_rate, reply.draft_rate))
    limit = f"{bandwidth / 1e9:.1f} GB/s"
    return [
        Reading(name, share_of_bandwidth(recent, bandwidth), share, limit)
        for name, recent, whole in rates
        if (share := share_of_bandwidth(whole, bandwidth)) is not None
    ]
