"""Whether a pair fits, as a card: the verdict, a bar of one core, what else to know, and what would make it fit.

Every figure comes in a `PairPlan`; it must not compute any.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from chatapp.domain.memory_plan import PairPlan, Suggestion, in_gib
from chatapp.ui.text_hygiene import readable
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, SPACE_3_PX, SPACE_4_PX
from chatapp.ui.widgets.card import label
from chatapp.ui.widgets.memory_bar import MemoryBar, Part, Use

MOST_SUGGESTIONS = 4
MOST_WARNINGS = 3
"""The others are in the tooltip and in `chatapp plan`: the dialog must fit a low screen."""
ELSEWHERE = "This computer is no {}: the plan looks ahead, and opening the pair so would fail here."
LONGEST_WORDS = 300
ESTIMATE = "An estimate, before anything is loaded."


class PlanView(QFrame):
    """Hidden until there is something to say. `taken` carries the `Suggestion` whose button was pressed."""

    taken = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", "true")
        self.setAccessibleName("Memory plan")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(SPACE_4_PX, SPACE_3_PX, SPACE_4_PX, SPACE_3_PX)
        rows.setSpacing(SPACE_2_PX)
        self._verdict = label("", "card-title", wrap=True)
        self.bar = MemoryBar()
        self._facts = label("", "caption", wrap=True)
        self._warnings = label("", "caption", wrap=True)
        self._head = label("It fits with", "card-title")
        self._suggestions = QVBoxLayout()
        self._suggestions.setSpacing(SPACE_1_PX)
        for widget in (self._verdict, self.bar, self._head):
            rows.addWidget(widget)
        rows.addLayout(self._suggestions)
        rows.addWidget(self._facts)
        rows.addWidget(self._warnings)
        self.hide()

    @property
    def text(self) -> str:
        """All that is shown, for tests and screen readers; empty while hidden."""
        if self.isHidden():
            return ""
        shown = [self._verdict, self._facts, self._warnings]
        return "\n".join(line.text() for line in shown if not line.isHidden())

    def show_words(self, words: str) -> None:
        """Instead of a plan: why there is none."""
        self._clear_suggestions()
        for widget in (self.bar, self._facts, self._warnings, self._head):
            widget.hide()
        self._say(words, "muted")
        self.show()

    def show_plan(self, plan: PairPlan, *, is_here: bool) -> None:
        """`is_here`: the instance of the plan is this computer, or it plays one."""
        self._say(plan.verdict, "good-verdict" if plan.fits else "bad-verdict")
        self.bar.set_uses(tuple(_uses(plan)), plan.limit_bytes)
        self._facts.setText(_facts(plan))
        elsewhere = () if is_here else (ELSEWHERE.format(plan.host.name),)
        sentences = (*elsewhere, *plan.obstacles[1:], *plan.warnings)
        lines = [readable(words, limit=LONGEST_WORDS) for words in sentences]
        self._warnings.setText("\n".join(f"• {words}" for words in lines[:MOST_WARNINGS]))
        self._warnings.setToolTip("\n".join(lines[MOST_WARNINGS:]))
        for widget in (self.bar, self._facts):
            widget.show()
        self._warnings.setVisible(bool(lines))
        self._show_suggestions(plan.suggestions[:MOST_SUGGESTIONS])
        self.show()

    def _say(self, verdict: str, role: str) -> None:
        self._verdict.setText(readable(verdict, limit=LONGEST_WORDS))
        self._verdict.setProperty("role", role)
        self._verdict.style().unpolish(self._verdict)
        self._verdict.style().polish(self._verdict)

    def _clear_suggestions(self) -> None:
        while (item := self._suggestions.takeAt(0)) is not None:
            row = item.widget()
            if row is not None:
                row.hide()
                row.deleteLater()

    def _show_suggestions(self, suggestions: tuple[Suggestion, ...]) -> None:
        self._clear_suggestions()
        self._head.setVisible(bool(suggestions))
        for one in suggestions:
            row = self._row(one)
            self._suggestions.addWidget(row)
            row.show()  # now, and not with the next turn of the loop: the dialog measures itself at once

    def _row(self, one: Suggestion) -> QWidget:
        row = QWidget()
        across = QHBoxLayout(row)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(SPACE_2_PX)
        spare = ", little to spare" if one.is_tight else ""
        words = readable(one.what, limit=LONGEST_WORDS)
        across.addWidget(label(f"{words}: {in_gib(one.used_bytes)} GiB on each core{spare}", wrap=True), 1)
        if one.applies:
            use = QPushButton("Use")
            use.setAutoDefault(False)
            use.setAccessibleName(f"Use {words}")
            use.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            use.clicked.connect(partial(self.taken.emit, one))
            across.addWidget(use)
        return row


def _uses(plan: PairPlan) -> Iterator[Use]:
    yield Use(Part.TARGET_WEIGHTS, plan.target.weights_bytes)
    yield Use(Part.TARGET_KV, plan.target.kv_bytes)
    if plan.draft is not None:
        yield Use(Part.DRAFT_WEIGHTS, plan.draft.weights_bytes)
        yield Use(Part.DRAFT_KV, plan.draft.kv_bytes)
    yield Use(Part.OVERHEAD, plan.overhead_bytes)


def _facts(plan: PairPlan) -> str:
    ram, disk = plan.ram, plan.disk
    return (
        f"{plan.graphs} graphs to compile. Host memory while loading: {in_gib(ram.loading_bytes)} of "
        f"{in_gib(ram.available_bytes)} GiB. Disk: about {in_gib(disk.bytes)} GiB. {ESTIMATE}"
    )
