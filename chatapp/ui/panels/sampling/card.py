"""The Sampling card: the fields in their groups. What is seldom touched is folded away."""

from __future__ import annotations

from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.ports import PairInfo
from chatapp.domain.request import chooses_by_itself
from chatapp.ui.panels.sampling.acceptor_field import AcceptorField
from chatapp.ui.panels.sampling.bias_field import BiasField
from chatapp.ui.panels.sampling.choice_field import ChoiceField
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.sampling.number_field import NumberField
from chatapp.ui.panels.sampling.seed_field import SeedField
from chatapp.ui.panels.sampling.stop_field import StopField
from chatapp.ui.theme import TypeScale
from chatapp.ui.widgets.card import Card, label
from chatapp.ui.widgets.fold import Fold

NO_DRAFT_MODEL = "The pair has no draft model: drafters that need one are not offered."
DRAFTER_TIP = "Who proposes tokens; used from the next reply on"
POLICY_TIP = "The window policy that the Auto switch stands for"


class SamplingCard(Card):
    """Bound to a `SamplingModel`. What is changed here is used from the next reply on; the acceptor at once, from the next
    verify step of a running reply."""

    def __init__(self, model: SamplingModel, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__("Sampling", parent, titled=False)
        self._model = model
        self._scale = scale
        self.numbers: dict[str, NumberField] = {}
        self._make_basics()
        self._make_parts()
        self._make_penalties()
        self._make_text()
        model.changed.connect(self._show_model)
        self._show_model()

    def _make_basics(self) -> None:
        add = self._add_number
        add(self.body, "temperature", "Temperature", "0 is greedy; 1 is the model's own")
        add(self.body, "top_k", "Top-k", "Keep the k likeliest; 0: all", step="1", whole=True)
        add(self.body, "top_p", "Top-p", "Keep the likeliest that make up this much; 1: all")
        add(self.body, "min_p", "Min-p", "Drop what is less likely than this × the likeliest", step="0.01")
        add(self.body, "max_tokens", "Max tokens", "The reply ends after so many", step="16", whole=True)
        self.seed = SeedField(self._model, self._scale)
        self.body.addWidget(self.seed)

    def _make_parts(self) -> None:
        self.parts = Fold("Speculation", is_open=True)
        self.acceptor = AcceptorField(self._model)
        self.drafter = ChoiceField("Drafter", DRAFTER_TIP, self._model.set_drafter)
        self.policy = ChoiceField("Auto chooses by", POLICY_TIP, self._model.set_auto_policy)
        for field in (self.acceptor, self.drafter, self.policy):
            self.parts.body.addWidget(field)
        self.policy.hide()
        self.body.addWidget(self.parts)

    def _make_penalties(self) -> None:
        self.penalties = Fold("Penalties and bias", is_open=False)
        rows, add = self.penalties.body, self._add_number
        add(rows, "repetition_penalty", "Repetition penalty", "Above 1: repeat less; 1: neutral")
        add(
            rows,
            "presence_penalty",
            "Presence penalty",
            "Taken off what the reply already holds, −2 to 2; 0: neutral",
        )
        add(
            rows,
            "frequency_penalty",
            "Frequency penalty",
            "Taken off once per occurrence in the reply, −2 to 2; 0: neutral",
        )
        self.bias = BiasField(self._model)
        rows.addWidget(self.bias)
        self.body.addWidget(self.penalties)

    def _make_text(self) -> None:
        self.text = Fold("Stop strings and system prompt", is_open=True)
        self.stops = StopField(self._model)
        self.text.body.addWidget(self.stops)
        caption = label("System prompt")
        self.text.body.addWidget(caption)
        self.system_prompt = QPlainTextEdit()
        self.system_prompt.setProperty("kind", "field")
        self.system_prompt.setPlaceholderText("What the model is told before your first message")
        self.system_prompt.setTabChangesFocus(True)
        self.system_prompt.setAccessibleName("System prompt")
        self.system_prompt.setFixedHeight(3 * self.system_prompt.fontMetrics().lineSpacing() + 24)
        self.system_prompt.textChanged.connect(self._on_system_prompt)
        caption.setBuddy(self.system_prompt)
        self.text.body.addWidget(self.system_prompt)
        self.body.addWidget(self.text)

    def _add_number(
        self, rows: QVBoxLayout, name: str, title: str, tip: str, *, step: str = "0.05", whole: bool = False
    ) -> None:
        field = NumberField(self._model, name, title, tip, self._scale, step=step, whole=whole)
        self.numbers[name] = field
        rows.addWidget(field)

    def show_pair(self, info: PairInfo) -> None:
        """Offer what the loaded pair can do; a kept choice that it cannot falls back to its first."""
        can, model = info.capabilities, self._model
        self.acceptor.set_acceptors(can.acceptors)
        self.drafter.set_parts(can.drafters, NO_DRAFT_MODEL if info.environment.draft is None else "")
        policies = [part for part in can.policies if chooses_by_itself(part[0])]
        self.policy.set_parts(policies, "")
        self.policy.setVisible(len(policies) > 1)
        if self.drafter.names and model.drafter not in self.drafter.names:
            model.set_drafter(self.drafter.names[0])
        if model.auto_policy not in self.policy.names:
            model.set_auto_policy(self.policy.names[0] if self.policy.names else "")
        self.bias.set_vocabulary(info.environment.vocabulary)
        self._show_model()

    def pending_error(self) -> InvalidSetting | None:
        """The first refused value that still stands in a field; its group is opened."""
        errors = [field.error for field in self.numbers.values()]
        errors += [self.seed.error, self.stops.error, self.bias.error]
        found = next((error for error in errors if error is not None), None)
        if found is not None and found.field in (
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
        ):
            self.penalties.set_open(True)
        elif found is not None and found.field == "stop":
            self.text.set_open(True)
        return found

    def _on_system_prompt(self) -> None:
        self._model.set_system_prompt(self.system_prompt.toPlainText())

    def _show_model(self) -> None:
        if self.system_prompt.toPlainText() != self._model.system_prompt:
            self.system_prompt.setPlainText(self._model.system_prompt)
        self.drafter.show_choice(self._model.drafter)
        self.policy.show_choice(self._model.auto_policy)
