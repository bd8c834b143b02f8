"""The inspector: all that the record knows about one token. Projects a `TokenView` and its `RunRecord`, nothing else."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import RunRecord, TokenView
from chatapp.domain.tokens import DraftedToken
from chatapp.ui import numbers
from chatapp.ui.text_hygiene import visible
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, SPACE_3_PX, Tokens, TypeScale, mono_font, number_font
from chatapp.ui.widgets.card import Card, label

HINT = "Hover a token to see where it came from; click one to hold it."
ROWS = (
    "Place",
    "Target probability",
    "Draft probability",
    "Acceptance draw",
    "Draft wanted",
    "… its probabilities",
)


class TokenCard(Card):
    """Shows the hovered token, or else the selected one, or else a hint. The height never changes with the token."""

    def __init__(self, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__("Token", parent, foldable=True)
        self._selected: tuple[RunRecord, TokenView] | None = None
        self._shown: tuple[RunRecord, TokenView] | None = None
        self._values: dict[str, QLabel] = {}
        self.body.addLayout(self._make_heading(scale))
        self.body.addLayout(self._make_table(scale))
        self.set_summary("hover a token")
        self._show(None)

    def _make_heading(self, scale: TypeScale) -> QHBoxLayout:
        heading = QHBoxLayout()
        heading.setSpacing(SPACE_2_PX)
        self._text = label("", "token")
        self._text.setFont(mono_font(scale.body))
        self._id = label("", "caption")
        self._kind = label("", "chip")
        heading.addWidget(self._text)
        heading.addWidget(self._id, 1)
        heading.addWidget(self._kind)
        return heading

    def _make_table(self, scale: TypeScale) -> QGridLayout:
        table = QGridLayout()
        table.setContentsMargins(0, SPACE_1_PX, 0, 0)
        table.setHorizontalSpacing(SPACE_3_PX)
        table.setVerticalSpacing(SPACE_1_PX)
        table.setColumnStretch(1, 1)
        for row, name in enumerate(ROWS):
            table.addWidget(label(name, "muted"), row, 0)
            value = label(numbers.DASH)
            value.setFont(number_font(scale.body))
            value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
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
        if found is None:
            self._text.setText("–")
            self._id.setText("Hover a token; click one to hold it.")
            self._kind.setText("")
            self._kind.hide()
            self.setToolTip(HINT)
            self.set_summary("hover a token")
            return
        record, view = found
        self.setToolTip("")
        self._text.setText(visible(record.text_between(view.start, view.end), limit=14))
        self._text.setToolTip(visible(record.text_between(view.start, view.end), limit=200))
        self._id.setText(f"id {view.token.id}")
        self._kind.setText(KIND_STYLES[view.kind].label)
        self._kind.setToolTip(KIND_STYLES[view.kind].meaning)
        self._kind.show()
        self._colour_kind()
        self._fill(record, view)
        self.set_summary(
            f"{self._text.text()} · {self._kind.text()} · p {numbers.probability(view.token.target_prob)}"
        )

    def _fill(self, record: RunRecord, view: TokenView) -> None:
        step = record.steps[view.step]
        place = f"token {view.index + 1}, step {view.step}"
        if step.window > 1:
            place += f", {view.position + 1} of k {step.window}"
        values = {
            "Place": place,
            "Target probability": numbers.probability(view.token.target_prob),
            "Draft probability": numbers.probability(view.token.draft_prob),
        }
        tested = step.drafted[view.position] if view.position < len(step.drafted) else None
        if tested is not None and tested.draw is not None:
            values["Acceptance draw"] = _draw_text(tested)
        if view.rejected is not None:
            values["Draft wanted"] = f"{visible(view.rejected.text, limit=12)}  (id {view.rejected.id})"
            values["… its probabilities"] = (
                f"draft {numbers.probability(view.rejected.draft_prob)}, "
                f"target {numbers.probability(view.rejected.target_prob)}"
            )
        for name, text in values.items():
            self._values[name].setText(text)
            self._values[name].setToolTip(text)
            self._values[name].setAccessibleName(f"{name}: {text}")

    def _colour_kind(self) -> None:
        if self._shown is None:
            return
        colour = KIND_STYLES[self._shown[1].kind].colour(self.tokens.theme)
        self._kind.setStyleSheet(f"color: {colour}; border-color: {colour};")


def _draw_text(tested: DraftedToken) -> str:
    """The draw beside the threshold that it had to stay below: min(1, target / draft)."""
    draw = numbers.probability(tested.draw)
    if tested.target_prob is None or tested.draft_prob <= 0:
        return draw
    threshold = min(1.0, tested.target_prob / tested.draft_prob)
    sign = "<" if tested.draw is not None and tested.draw < threshold else "≥"
    return f"{draw} {sign} {threshold:.4f}"
