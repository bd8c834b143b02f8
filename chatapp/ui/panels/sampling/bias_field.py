"""Logit bias: `id:bias` pairs, checked as they are typed. Knows ids alone: what a token says is the tokenizer's business."""

from __future__ import annotations

import re

from PySide6.QtWidgets import QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from chatapp.domain.errors import InvalidSetting
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.panels.sampling.number_field import set_invalid
from chatapp.ui.text_hygiene import visible
from chatapp.ui.theme import SPACE_1_PX
from chatapp.ui.widgets.card import label

LogitBias = tuple[tuple[int, float], ...]
_PAIR = re.compile(r"([0-9]{1,18})\s*[:=]\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))")


def parse_bias(text: str, vocabulary: int | None = None) -> LogitBias:
    """`613:-1.5, 42:2` as pairs; commas, semicolons and white space part them. Raises `InvalidSetting` with the pair that
    is wrong; ids are checked against `vocabulary` where it is known."""
    joined = re.sub(r"\s*([:=])\s*", r"\1", text)
    pairs: list[tuple[int, float]] = []
    for part in re.split(r"[,;\s]+", joined):
        if not part:
            continue
        found = _PAIR.fullmatch(part)
        if found is None:
            shown = visible(part, limit=24)
            raise InvalidSetting(
                "logit_bias", f"“{shown}” is no pair of a token id and a bias, such as 613:-1.5."
            )
        token, bias = int(found[1]), float(found[2])
        if vocabulary is not None and token >= vocabulary:
            raise InvalidSetting(
                "logit_bias", f"There is no token {token}: the ids of this pair end at {vocabulary - 1:,}."
            )
        pairs.append((token, bias))
    return tuple(pairs)


def format_bias(bias: LogitBias) -> str:
    return ", ".join(f"{token}:{value:g}" for token, value in bias)


class BiasField(QWidget):
    """Bound to `SamplingModel.settings.logit_bias`."""

    def __init__(self, model: SamplingModel) -> None:
        super().__init__()
        self._model = model
        self._vocabulary: int | None = None
        self.error: InvalidSetting | None = None
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_1_PX)
        caption = label("Logit bias")
        rows.addWidget(caption)
        self.edit = QLineEdit()
        self.edit.setPlaceholderText("id:bias, such as 613:-1.5, 42:2")
        self.edit.setAccessibleName("Logit bias, pairs of a token id and a bias")
        caption.setBuddy(self.edit)
        self.setToolTip("Added to the logits of these tokens, −100 to 100. A token's id is in its card.")
        rows.addWidget(self.edit)
        self._error = label("", "error", wrap=True)
        self._error.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._error.hide()
        rows.addWidget(self._error)
        self.edit.textChanged.connect(self._check)
        model.changed.connect(self._show_model)
        self._show_model()

    @property
    def error_text(self) -> str:
        return "" if self._error.isHidden() else self._error.text()

    def set_vocabulary(self, vocabulary: int) -> None:
        """Another pair has other ids: what stands in the field is checked anew."""
        self._vocabulary = vocabulary
        self._check()

    def _check(self) -> None:
        try:
            self._model.set_field("logit_bias", parse_bias(self.edit.text(), self._vocabulary))
            self.error = None
        except InvalidSetting as error:
            self.error = error
        self._error.setText(self.error.what if self.error else "")
        self._error.setVisible(self.error is not None)
        set_invalid(self.edit, self.error is not None)

    def _show_model(self) -> None:
        """The model's value, unless a refused one stands in the field."""
        wanted = self._model.settings.logit_bias
        if self.error is None and parse_bias(self.edit.text()) != wanted:
            self.edit.setText(format_bias(wanted))
