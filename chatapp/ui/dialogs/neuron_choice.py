"""Where a pair runs: on this computer's processor or GPU, or on the NeuronCores of an instance, with how many of them and how
long a context. It must not know what fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.neuron_hosts import HOSTS, neuron_host
from chatapp.ui.panels.sampling.choice_field import ChoiceBox
from chatapp.ui.theme import SPACE_2_PX

PROCESSOR = "This computer's processor or GPU"
CONTEXTS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768)


class NeuronChoice(QWidget):
    """`changed` at every change. `base` holds what is not chosen here (buckets, windows, numbers, artefacts); `here` is this
    computer's instance type, empty where it is none; `on_neuron`: NeuronCores are chosen when it comes up."""

    changed = Signal()

    def __init__(self, base: NeuronSettings, here: str, *, on_neuron: bool) -> None:
        super().__init__()
        self._base = base
        self._here = here
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE_2_PX)
        self.place = self._box("What the pair runs on")
        self.place.setToolTip("This computer, or the NeuronCores of an Inferentia2 or Trainium instance")
        self.place.addItem(PROCESSOR, "")
        for host in HOSTS:
            self.place.addItem(f"{host.name}{self._remark(host.name)}", host.name)
        self.cores = self._box("NeuronCores to use")
        self.cores.setToolTip("Both models are spread over the same NeuronCores (tp degree)")
        self.context = self._box("Context on NeuronCores")
        self.context.setToolTip("Tokens of conversation and reply; their KV caches lie on the NeuronCores")
        for positions in sorted({*CONTEXTS, self._base.positions}):
            self.context.addItem(f"{positions:,} tokens", positions)
        row.addWidget(self.place, 1)
        for box in (self.cores, self.context):
            box.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            box.setMinimumContentsLength(12)
            row.addWidget(box)
        self.choose((base.rehearse or here) if on_neuron else "", base.tp_degree, base.positions)
        self.place.currentIndexChanged.connect(self._on_place)
        for box in (self.cores, self.context):
            box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def _box(self, name: str) -> ChoiceBox:
        box = ChoiceBox()
        box.setAccessibleName(name)
        return box

    def _remark(self, name: str) -> str:
        if name == self._base.rehearse:
            return " (rehearsal)"
        return " (this computer)" if name == self._here else ""

    @property
    def instance(self) -> str:
        """The instance type; empty for the processor or a GPU."""
        return str(self.place.currentData())

    @property
    def is_here(self) -> bool:
        """It can be opened as it is: this computer is one, or plays one."""
        return self.instance in ("", self._here, self._base.rehearse)

    @property
    def settings(self) -> NeuronSettings | None:
        """None for the processor or a GPU."""
        if not self.instance:
            return None
        positions = int(self.context.currentData())
        chosen = replace(self._base, tp_degree=int(self.cores.currentData()), positions=positions)
        if self.instance != self._base.rehearse:
            chosen = replace(chosen, rehearse="", rehearse_pair="")
        if positions == self._base.positions:
            return chosen
        return replace(chosen, token_buckets=(), context_buckets=())  # those named were for another length

    def choose(self, instance: str, tp_degree: int, positions: int) -> None:
        """Show these, and tell of the change once. A degree that the instance cannot do becomes all of its cores."""
        boxes = (self.place, self.cores, self.context)
        for box in boxes:
            box.blockSignals(True)
        self.place.setCurrentIndex(max(self.place.findData(instance), 0))
        self._fill_cores()
        self.cores.setCurrentIndex(max(self.cores.findData(tp_degree), 0))
        if self.context.findData(positions) < 0:
            self.context.addItem(f"{positions:,} tokens", positions)
        self.context.setCurrentIndex(self.context.findData(positions))
        for box in boxes:
            box.blockSignals(False)
        self.changed.emit()

    def _on_place(self, _place: int) -> None:
        self.cores.blockSignals(True)
        self._fill_cores()
        self.cores.blockSignals(False)
        self.changed.emit()

    def _fill_cores(self) -> None:
        self.cores.clear()
        for box in (self.cores, self.context):
            box.setVisible(bool(self.instance))
        if self.instance:
            host = neuron_host(self.instance)
            self.cores.addItem(f"all {host.cores} cores", 0)
            fewer: Iterable[int] = (degree for degree in reversed(host.tp_degrees) if degree < host.cores)
            for degree in fewer:
                self.cores.addItem("1 core" if degree == 1 else f"{degree} cores", degree)
