"""One part of the engine chosen by name: what there is comes from the loaded pair's capabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QFrame, QSizePolicy, QStyledItemDelegate, QVBoxLayout, QWidget

from chatapp.ui.theme import SPACE_1_PX
from chatapp.ui.widgets.card import label


class ChoiceBox(QComboBox):
    """A combo box that leaves the wheel to the panel it scrolls with: a passing wheel must not change a setting."""

    def __init__(self) -> None:
        super().__init__()
        self.setItemDelegate(QStyledItemDelegate(self))  # the default one ignores the style sheet
        holder = self.view().parentWidget()
        if isinstance(holder, QFrame):
            holder.setFrameShape(QFrame.Shape.NoFrame)  # the list inside has a border of its own
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class ChoiceField(QWidget):
    """A choice among `(name, description)` with the chosen one's description below; disabled, with the reason, where there
    is nothing to choose."""

    def __init__(self, title: str, tip: str, chosen: Callable[[str], None]) -> None:
        super().__init__()
        self._parts: tuple[tuple[str, str], ...] = ()
        self._tell = chosen
        self._note = ""
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_1_PX)
        caption = label(title)
        rows.addWidget(caption)
        self.box = ChoiceBox()
        self.box.setAccessibleName(title)
        self.box.setAccessibleDescription(tip)
        caption.setBuddy(self.box)
        rows.addWidget(self.box)
        self._below = label("", "caption", wrap=True)
        self._below.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        rows.addWidget(self._below)
        self.setToolTip(tip)
        self.box.currentIndexChanged.connect(self._on_chosen)
        self.set_parts((), "")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._parts)

    @property
    def text_below(self) -> str:
        return self._below.text()

    def set_parts(self, parts: Sequence[tuple[str, str]], note: str) -> None:
        """Offer these; `note` says what is not offered, and why."""
        self._parts, self._note = tuple(parts), note
        self.box.blockSignals(True)
        self.box.clear()
        for name, description in self._parts:
            self.box.addItem(name, name)
            self.box.setItemData(self.box.count() - 1, description, Qt.ItemDataRole.ToolTipRole)
        self.box.blockSignals(False)
        self.box.setEnabled(len(self._parts) > 1)
        self._show_below()

    def show_choice(self, name: str) -> None:
        place = self.box.findData(name)
        if place >= 0 and place != self.box.currentIndex():
            self.box.setCurrentIndex(place)
        self._show_below()

    def _on_chosen(self, place: int) -> None:
        if place >= 0:
            self._tell(str(self.box.itemData(place)))
            self._show_below()

    def _show_below(self) -> None:
        place = self.box.currentIndex()
        described = self._parts[place][1] if 0 <= place < len(self._parts) else ""
        words = " ".join(part for part in (described, self._note) if part)
        self._below.setText(words)
        self._below.setVisible(bool(words))
