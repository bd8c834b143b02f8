"""The badge that says that figures are of a rehearsal, and the words behind it. It must not know who shows it, or where."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from chatapp.domain.events import Environment
from chatapp.domain.record import RunRecord
from chatapp.domain.rehearsal import NOT_MEASURED, NOT_TOGETHER, REHEARSAL_TITLE, rehearsal_at
from chatapp.domain.wording import replies_words
from chatapp.ui.text_hygiene import readable

TIP_CHARS = 96


class RehearsalBadge(QLabel):
    """Hidden until there is a rehearsal to tell of. Never gives way to other widgets of its row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(REHEARSAL_TITLE, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", "rehearsal")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(REHEARSAL_TITLE)
        self.hide()

    def tell(self, tip: str, text: str = REHEARSAL_TITLE) -> None:
        """Show `text`, and `tip` behind it; an empty tip hides the badge."""
        if self.text() != text:
            self.setText(text)
        self.setToolTip(tip)
        self.setAccessibleName(text)
        self.setAccessibleDescription(tip)
        self.setVisible(bool(tip))


def rehearsed_replies(records: Sequence[RunRecord]) -> tuple[int, ...]:
    """The numbers, from 1, of the replies that were rehearsed."""
    return tuple(number for number, record in enumerate(records, 1) if record.simulated)


def pair_tip(environment: Environment) -> str:
    """Which latencies stand behind a simulated device, in lines; empty for a real one."""
    if not environment.simulated:
        return ""
    pair = rehearsal_at(environment.device)
    facts = pair.facts if pair is not None else ()
    lines = [readable(environment.device, limit=200), NOT_MEASURED]
    lines += [f"{name}: {value}" for name, value in facts]
    return "\n".join(textwrap.fill(line, TIP_CHARS, subsequent_indent="    ") for line in lines)


def replies_tip(records: Sequence[RunRecord]) -> str:
    """What is to be said of shown replies; empty where all were measured."""
    rehearsed = rehearsed_replies(records)
    if not rehearsed:
        return ""
    devices = dict.fromkeys(pair_tip(record.started.environment) for record in records if record.started)
    tips = "\n\n".join(tip for tip in devices if tip)
    if len(rehearsed) == sum(record.started is not None for record in records):
        return tips
    return f"Rehearsed: {replies_words(rehearsed)}. {NOT_TOGETHER}\n\n{tips}"
