"""The Sampling card: the fields in their order, and the system prompt."""

from __future__ import annotations

from PySide6.QtWidgets import QPlainTextEdit, QWidget

from chatapp.domain.errors import InvalidSetting
from chatapp.ui.panels.sampling.acceptor_field import AcceptorField
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.sampling.number_field import NumberField
from chatapp.ui.panels.sampling.seed_field import SeedField
from chatapp.ui.panels.sampling.stop_field import StopField
from chatapp.ui.theme import TypeScale
from chatapp.ui.widgets.card import Card, label


class SamplingCard(Card):
    """Bound to a `SamplingModel`; what is changed here is used from the next reply on."""

    def __init__(self, model: SamplingModel, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__("Sampling", parent, titled=False)
        self._model = model
        self.numbers = {
            field.name: field
            for field in (
                NumberField(model, "temperature", "Temperature", "0 is greedy; 1 is the model's own", scale),
                NumberField(
                    model, "top_k", "Top-k", "Keep the k likeliest; 0: all", scale, step="1", whole=True
                ),
                NumberField(
                    model, "top_p", "Top-p", "Keep the likeliest that make up this much; 1: all", scale
                ),
                NumberField(
                    model,
                    "min_p",
                    "Min-p",
                    "Drop what is less likely than this × the likeliest",
                    scale,
                    step="0.01",
                ),
                NumberField(
                    model,
                    "repetition_penalty",
                    "Repetition penalty",
                    "Above 1: repeat less; 1: neutral",
                    scale,
                ),
                NumberField(
                    model,
                    "max_tokens",
                    "Max tokens",
                    "The reply ends after so many",
                    scale,
                    step="16",
                    whole=True,
                ),
            )
        }
        for field in self.numbers.values():
            self.body.addWidget(field)
        self.seed = SeedField(model, scale)
        self.body.addWidget(self.seed)
        self.acceptor = AcceptorField(model)
        self.body.addWidget(self.acceptor)
        self.stops = StopField(model)
        self.body.addWidget(self.stops)
        caption = label("System prompt")
        self.body.addWidget(caption)
        self.system_prompt = QPlainTextEdit()
        self.system_prompt.setProperty("kind", "field")
        self.system_prompt.setPlaceholderText("What the model is told before your first message")
        self.system_prompt.setTabChangesFocus(True)
        self.system_prompt.setAccessibleName("System prompt")
        self.system_prompt.setFixedHeight(3 * self.system_prompt.fontMetrics().lineSpacing() + 24)
        self.system_prompt.textChanged.connect(self._on_system_prompt)
        caption.setBuddy(self.system_prompt)
        self.body.addWidget(self.system_prompt)
        model.changed.connect(self._show_model)
        self._show_model()

    def pending_error(self) -> InvalidSetting | None:
        """The first refused value that still stands in a field."""
        errors = [field.error for field in self.numbers.values()] + [self.seed.error, self.stops.error]
        return next((error for error in errors if error is not None), None)

    def _on_system_prompt(self) -> None:
        self._model.set_system_prompt(self.system_prompt.toPlainText())

    def _show_model(self) -> None:
        if self.system_prompt.toPlainText() != self._model.system_prompt:
            self.system_prompt.setPlainText(self._model.system_prompt)
