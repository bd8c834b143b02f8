"""Which acceptor decides on drafts: the names and their lossless marks come from the engine's capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QFrame, QSizePolicy, QStyledItemDelegate, QVBoxLayout, QWidget

from chatapp.ui.panels.sampling.model import DEFAULT_ACCEPTOR, SamplingModel
from chatapp.ui.theme import SPACE_1_PX
from chatapp.ui.widgets.card import label

LOSSLESS = "✓ lossless: the text follows the target's distribution exactly"
LOSSY = "≈ not lossless: the text may differ from what the target alone would write"


class ChoiceBox(QComboBox):
    """A combo box that leaves the wheel to the panel it scrolls with: a passing wheel must not change a setting."""

    def __init__(self) -> None:
        super().__init__()
        self.setItemDelegate(QStyledItemDelegate(self))  # the default one ignores the style sheet
        holder = self.view().parentWidget()
        if isinstance(holder, QFrame):
            holder.setFrameShape(QFrame.Shape.NoFrame)  # the list inside has a border of its own

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class AcceptorField(QWidget):
    """A choice among `(name, lossless, description)`; disabled until the engine has told them."""

    def __init__(self, model: SamplingModel) -> None:
        super().__init__()
        self._model = model
        self._acceptors: tuple[tuple[str, bool, str], ...] = ()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_1_PX)
        caption = label("Acceptor")
        rows.addWidget(caption)
        self.box = ChoiceBox()
        self.box.setAccessibleName("Acceptor")
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        caption.setBuddy(self.box)
        rows.addWidget(self.box)
        self._mark = label("", "caption", wrap=True)
        self._mark.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        rows.addWidget(self._mark)
        self.box.currentIndexChanged.connect(self._on_chosen)
        model.changed.connect(self._show_model)
        self.set_acceptors(())

    @property
    def mark_text(self) -> str:
        return self._mark.text()

    def set_acceptors(self, acceptors: Sequence[tuple[str, bool, str]]) -> None:
        self._acceptors = tuple(acceptors)
        self.box.blockSignals(True)
        self.box.clear()
        for name, lossless, description in self._acceptors or ((self._model.acceptor, True, ""),):
            self.box.addItem(f"{name}  {'✓' if lossless else '≈'}", name)
            self.box.setItemData(self.box.count() - 1, description, Qt.ItemDataRole.ToolTipRole)
        self.box.blockSignals(False)
        self.box.setEnabled(bool(self._acceptors))
        names = [name for name, _, _ in self._acceptors]
        if names and self._model.acceptor not in names:
            self._model.set_acceptor(DEFAULT_ACCEPTOR if DEFAULT_ACCEPTOR in names else names[0])
        self._show_model()

    def _on_chosen(self, place: int) -> None:
        if place >= 0:
            self._model.set_acceptor(str(self.box.itemData(place)))

    def _show_model(self) -> None:
        place = self.box.findData(self._model.acceptor)
        if place >= 0 and place != self.box.currentIndex():
            self.box.setCurrentIndex(place)
        if self._model.settings.greedy:
            self._mark.setText("At temperature 0 the reply is greedy, whatever is chosen here.")
            return
        for name, lossless, description in self._acceptors:
            if name == self._model.acceptor:
                self._mark.setText(LOSSLESS if lossless else LOSSY)
                self.setToolTip(description)
                return
        self._mark.setText("")
