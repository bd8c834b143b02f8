"""One number of the settings in a line edit: refused values stay visible, with the reason below them.

Unlike a spin box it never changes what a person typed. Up and Down step the value.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QGridLayout, QLineEdit, QSizePolicy, QWidget

from chatapp.domain.errors import InvalidSetting
from chatapp.ui.panels.sampling.model import SamplingModel
from chatapp.ui.theme import SPACE_2_PX, TypeScale, number_font
from chatapp.ui.widgets.card import label

FIELD_WIDTH_PX = 96


def set_invalid(widget: QWidget, invalid: bool) -> None:
    """Give or take the look of a refused value."""
    if widget.property("invalid") != invalid:
        widget.setProperty("invalid", invalid)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


class StepLineEdit(QLineEdit):
    """A line edit whose Up and Down keys add and subtract `step`."""

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self._step = step

    def keyPressEvent(self, event: QKeyEvent) -> None:
        direction = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()), 0)
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if direction == 0 or not plain:
            super().keyPressEvent(event)
            return
        try:
            self.setText(format(Decimal(self.text()) + direction * self._step, "f"))
        except InvalidOperation:
            return
        self.textEdited.emit(self.text())


class NumberField(QWidget):
    """Bound to the field `name` of `SamplingModel.settings`; `whole` numbers are integers."""

    def __init__(
        self,
        model: SamplingModel,
        name: str,
        title: str,
        tip: str,
        scale: TypeScale,
        *,
        step: str = "0.05",
        whole: bool = False,
    ) -> None:
        super().__init__()
        self._model = model
        self.name = name
        self._whole = whole
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(SPACE_2_PX)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(0, 1)
        caption = label(title)
        grid.addWidget(caption, 0, 0)
        self.edit = StepLineEdit(Decimal(step))
        self.edit.setFont(number_font(scale.body))
        self.edit.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.edit.setFixedWidth(FIELD_WIDTH_PX)
        self.edit.setAccessibleName(title)
        self.edit.setAccessibleDescription(tip)
        caption.setBuddy(self.edit)
        self.setToolTip(tip)
        grid.addWidget(self.edit, 0, 1)
        self._error = label("", "error", wrap=True)
        self._error.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._error.hide()
        grid.addWidget(self._error, 1, 0, 1, 2)
        self.error: InvalidSetting | None = None
        self.edit.textEdited.connect(self._on_edited)
        model.changed.connect(self._show_model)
        self._show_model()

    @property
    def error_text(self) -> str:
        return "" if self._error.isHidden() else self._error.text()

    def _on_edited(self, text: str) -> None:
        try:
            self._model.set_field(self.name, self._parsed(text))
        except InvalidSetting as error:
            self._show_error(error)
        else:
            self._show_error(None)

    def _parsed(self, text: str) -> float:
        try:
            return int(text) if self._whole else float(text.replace(",", "."))
        except ValueError:
            kind = "a whole number" if self._whole else "a number"
            raise InvalidSetting(self.name, f"{self.name} must be {kind}; it is “{text}”.") from None

    def _show_error(self, error: InvalidSetting | None) -> None:
        self.error = error
        self._error.setText(error.what if error else "")
        self._error.setVisible(error is not None)
        set_invalid(self.edit, error is not None)

    def _show_model(self) -> None:
        """The model's value, unless the person is writing this very field or it holds a refused value."""
        value = getattr(self._model.settings, self.name)
        if self.error is not None or self._same(self.edit.text(), value):
            return
        self.edit.setText(str(value) if self._whole else f"{value:g}")

    def _same(self, text: str, value: float) -> bool:
        try:
            return bool(text) and self._parsed(text) == value
        except InvalidSetting:
            return False
