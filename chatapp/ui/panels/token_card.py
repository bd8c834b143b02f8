"""The inspector: all that the record knows about one token. Projects a `TokenView` and its `RunRecord`, nothing else."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from chatapp.domain.events import StepCommitted, WindowChoice
from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import RunRecord, TokenView
from chatapp.domain.tokens import DraftedToken
from chatapp.domain.wording import estimates, step_acceptor
from chatapp.ui import numbers
from chatapp.ui.text_hygiene import readable, visible
from chatapp.ui.theme import SPACE_3_PX, Tokens, TypeScale, mono_font, number_font
from chatapp.ui.transcript.wording import draw_threshold, proposed_by
from chatapp.ui.widgets.card import Card, label
from chatapp.ui.widgets.elided_label import ElidedLabel

HINT = "hover one; click to hold it"
PLACE, CHANCES, PROPOSAL, TEST, WINDOW = "Place", "Probability", "Proposal", "Acceptance", "Window"
ROWS: tuple[tuple[str, str], ...] = (
    (PLACE, "Its number in the reply, the verify step that made it, and its place in that step's window"),
    (CHANCES, "Probability of this token in the processed distributions of target and draft"),
    (
        PROPOSAL,
        "Who proposed a token here; of a correction the rejected draft, with its probabilities: draft → target",
    ),
    (
        TEST,
        "The acceptor, and the random number of its test; with “rejection” also the ratio that it had to stay below",
    ),
    (WINDOW, "Why this step's window was as long as it was"),
)


class TokenCard(Card):
    """Shows the hovered token, or else the selected one, or else a hint. The height never changes with the token."""

    def __init__(self, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__("Token", parent, foldable=True)
        self._selected: tuple[RunRecord, TokenView] | None = None
        self._shown: tuple[RunRecord, TokenView] | None = None
        self._values: dict[str, ElidedLabel] = {}
        self._text = label("", "token")
        self._text.setFont(mono_font(scale.body))
        self._id = label("", "caption")
        self._kind = label("", "chip")
        self.head.insertWidget(1, self._text)
        self.head.insertWidget(2, self._id)
        self.head.insertWidget(4, self._kind)
        self.body.addLayout(self._make_table(scale))
        self._show(None)

    def _make_table(self, scale: TypeScale) -> QGridLayout:
        table = QGridLayout()
        table.setHorizontalSpacing(SPACE_3_PX)
        table.setVerticalSpacing(1)
        table.setColumnStretch(1, 1)
        for row, (name, tip) in enumerate(ROWS):
            title = label(name, "muted")
            title.setToolTip(tip)
            table.addWidget(title, row, 0)
            value = ElidedLabel(numbers.DASH)
            value.setFont(number_font(scale.body))
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            table.addWidget(value, row, 1)
            self._values[name] = value
        return table

    def show_hovered(self, found: tuple[RunRecord, TokenView] | None) -> None:
        self._show(found or self._selected)

    def show_selected(self, found: tuple[RunRecord, TokenView] | None) -> None:
        self._selected = found
        self._show(found)

    def clear(self) -> None:
        self.show_selected(None)

    def shown(self, name: str) -> str:
        return self._values[name].text()

    @property
    def token_text(self) -> str:
        return self._text.text()

    @property
    def kind_text(self) -> str:
        return self._kind.text()

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        self._colour_kind()

    def _show(self, found: tuple[RunRecord, TokenView] | None) -> None:
        self._shown = found
        for value in self._values.values():
            value.setText(numbers.DASH)
            value.setToolTip("")
        self.title.setVisible(found is None)  # the token is the title then, and needs the room
        self._text.setVisible(found is not None)
        self._kind.setVisible(found is not None)
        if found is None:
            self._id.setText(HINT)
            return
        record, view = found
        text = record.text_between(view.start, view.end)
        self._text.setText(visible(text, limit=12))
        self._text.setToolTip(visible(text, limit=200))
        self._id.setText(f"id {view.token.id}")
        self._kind.setText(KIND_STYLES[view.kind].label)
        self._kind.setToolTip(KIND_STYLES[view.kind].meaning)
        self._colour_kind()
        self._fill(record, view)

    def _fill(self, record: RunRecord, view: TokenView) -> None:
        step = record.steps[view.step]
        place = f"token {view.index + 1}, step {view.step}"
        if step.window > 1:
            place += f", {view.position + 1} of k {step.window}"
        values = {
            PLACE: place,
            CHANCES: f"target {numbers.probability(view.token.target_prob)}, "
            f"draft {numbers.probability(view.token.draft_prob)}",
        }
        values[PROPOSAL] = _proposal_text(step, view)
        values[TEST] = _test_text(record, step, view)
        if step.choice is not None:
            values[WINDOW] = readable(step.choice.reason, limit=200)
            self._values[WINDOW].setToolTip(_choice_tip(step.choice))
        for name, shown in values.items():
            self._values[name].setText(shown)
            self._values[name].setAccessibleName(f"{name}: {shown}")
        if view.rejected is not None:
            self._values[PROPOSAL].setToolTip(
                f"{visible(view.rejected.text, limit=80)}, id {view.rejected.id}: "
                f"draft probability {numbers.probability(view.rejected.draft_prob)}, "
                f"target probability {numbers.probability(view.rejected.target_prob)}"
            )

    def _colour_kind(self) -> None:
        if self._shown is None:
            return
        colour = KIND_STYLES[self._shown[1].kind].colour(self.tokens.theme)
        self._kind.setStyleSheet(f"color: {colour}; border-color: {colour};")


def _choice_tip(choice: WindowChoice) -> str:
    figures = estimates(choice)
    return readable(f"{choice.policy}: {choice.reason}" + (f" ({figures})" if figures else ""), limit=400)


def _proposal_text(step: StepCommitted, view: TokenView) -> str:
    """`n-gram look-up`; of a correction also what the draft wanted: `draft model: ␣the 0.69 → 0.05`."""
    source, wanted = proposed_by(step, view), view.rejected
    if wanted is None:
        return source or numbers.DASH
    chances = f"{numbers.probability(wanted.draft_prob)} → {numbers.probability(wanted.target_prob)}"
    text = f"{visible(wanted.text, limit=10)}   {chances}"
    return f"{source}: {text}" if source else text


def _test_text(record: RunRecord, step: StepCommitted, view: TokenView) -> str:
    """`rejection, 0.7500 ≥ 0.0506`: the acceptor, and the draw where the token had one."""
    tested = step.drafted[view.position] if view.position < len(step.drafted) else None
    if tested is None:
        return numbers.DASH
    parts = [step_acceptor(step), _draw_text(record, step, tested) if tested.draw is not None else ""]
    return ", ".join(part for part in parts if part) or numbers.DASH


def _draw_text(record: RunRecord, step: StepCommitted, tested: DraftedToken) -> str:
    """The draw, beside the threshold that it had to stay below where the acceptor's rule has one."""
    draw, threshold = numbers.probability(tested.draw), draw_threshold(record, step, tested)
    if threshold is None or tested.draw is None:
        return draw
    return f"{draw} {'<' if tested.draw < threshold else '≥'} {threshold:.4f}"
