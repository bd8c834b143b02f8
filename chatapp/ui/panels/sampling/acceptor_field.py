"""Which acceptor decides on drafts: the names and their lossless marks come from the engine's capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from chatapp.ui.panels.sampling.choice_field import ChoiceBox
from chatapp.ui.panels.sampling.model import DEFAULT_ACCEPTOR, SamplingModel
from chatapp.ui.theme import SPACE_1_PX
from chatapp.ui.widgets.card import label

LOSSLESS = "✓ lossless: the text follows the target's distribution exactly"
LOSSY = "≈ lossy: the text may differ from what the target alone would write"
GREEDY = "At temperature 0 the reply is greedy, whatever rule is chosen here."


class AcceptorField(QWidget):
    """A choice among `(name, lossless, description)`; disabled until the engine has told them. A lossy one carries a badge."""

    def __init__(self, model: SamplingModel) -> None:
        super().__init__()
        self._model = model
        self._acceptors: tuple[tuple[str, bool, str], ...] = ()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_1_PX)
        caption = label("Acceptor")
        self.badge = label("lossy", "warning-chip")
        self.badge.hide()
        head = QHBoxLayout()
        head.addWidget(caption)
        head.addStretch(1)
        head.addWidget(self.badge)
        rows.addLayout(head)
        self.box = ChoiceBox()
        self.box.setAccessibleName("Acceptor")
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
            self.box.addItem(f"{name}  ✓" if lossless else f"{name}  ≈ lossy", name)
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
        chosen = next((part for part in self._acceptors if part[0] == self._model.acceptor), None)
        lossless = chosen is None or chosen[1]
        self.badge.setVisible(not lossless)
        self.box.setAccessibleDescription("" if lossless else LOSSY)
        if chosen is None:
            self._mark.setText("")
            return
        self.setToolTip(chosen[2])
        if not lossless:
            self._mark.setText(LOSSY)
        else:
            self._mark.setText(GREEDY if self._model.settings.greedy else LOSSLESS)
