"""The NeuronCores: instance, memory and load of every core, who holds them. Shows the newest reading once a second, less often remotely.

The reading happens elsewhere (`DevicePort`); the clock runs only while the card is on screen. On a simulated device there is
nothing to measure, and the card says so instead of showing numbers. This module must not know where a reading comes from.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from chatapp.domain.device import CoreHolder, DevicePort, DeviceReading
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron_hosts import neuron_host
from chatapp.domain.ports import PairInfo
from chatapp.domain.rehearsal import RehearsedPair, rehearsal_at
from chatapp.ui import numbers
from chatapp.ui.display_mode import DisplayedWidget, DisplayMode
from chatapp.ui.panels.hero import Hero
from chatapp.ui.text_hygiene import readable
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, SPACE_3_PX, TypeScale, number_font
from chatapp.ui.widgets.card import Card, label
from chatapp.ui.widgets.core_grid import CoreGrid

NUMBERS_PER_LOOK = 4
"""The device is looked at so many times less often than the numbers change: once a second, or every two seconds remotely."""
SILENT_AFTER = 5
"""So many looks without a new reading, and the card says that what it shows is old."""
GIB = 1 << 30
WAITING = "Reading the device…"
SIMULATED = "simulated device"
SIMULATED_NOTE = (
    "No NeuronCore is behind this pair: an emulator computes on the processor. Memory, load and holders of the cores do not "
    "exist and are not shown, and no speed here is a device's."
)
PACED_NOTE = "Launches last as long as was published by others, or longer where this computer is slower."
ROWS = (
    ("Fullest core", "The core with the most device memory in use"),
    ("Launches / s", "Graphs run per second on the busiest core, by the driver's counter"),
    ("Graphs loaded", "Graphs loaded on one core since the driver started; grows while a pair is loading"),
)


class DeviceCard(Card, DisplayedWidget):
    """`set_port` says whom to ask, `show_pair` what runs on the device. `wanted` is whether there is anything to show."""

    def __init__(self, scale: TypeScale, parent: QWidget | None = None) -> None:
        super().__init__("Device", parent)
        self._port: DevicePort | None = None
        self._shown: DeviceReading | None = None
        self._looks = 0
        self._simulated = False
        self._on_cores = False
        self._cells: dict[str, QLabel] = {}
        self._chip = label("", "chip")
        self.head.addWidget(self._chip)
        self._detail = label("", "caption", wrap=True)
        self.body.addWidget(self._detail)
        self._measured = QWidget()
        self._fill_measured(scale)
        self.body.addWidget(self._measured)
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._look)
        self.set_display(self.display)
        self._refresh()

    def _fill_measured(self, scale: TypeScale) -> None:
        rows = QVBoxLayout(self._measured)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(SPACE_2_PX)
        heroes = QHBoxLayout()
        heroes.setSpacing(SPACE_3_PX)
        self.memory = Hero("memory", "Device memory in use on all cores", scale)
        self.busy = Hero(
            "busy", "Mean over the cores in use, of the last second; needs neuron-monitor", scale
        )
        heroes.addWidget(self.memory, 1)
        heroes.addWidget(self.busy, 1)
        rows.addLayout(heroes)
        self.grid = CoreGrid()
        rows.addWidget(self.grid)
        self._legend = label("a cell per core: fill is memory, underline load", "caption", wrap=True)
        rows.addWidget(self._legend)
        rows.addLayout(self._make_table(scale))
        self._holders = label("", "", wrap=True)
        self._holders.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        rows.addWidget(self._holders)
        self._source = label("", "caption", wrap=True)
        rows.addWidget(self._source)

    def _make_table(self, scale: TypeScale) -> QGridLayout:
        table = QGridLayout()
        table.setHorizontalSpacing(SPACE_3_PX)
        table.setVerticalSpacing(1)
        table.setContentsMargins(0, SPACE_1_PX, 0, 0)
        table.setColumnStretch(0, 1)
        font = number_font(scale.body)
        for row, (name, tip) in enumerate(ROWS):
            title, cell = label(name, "muted"), label(numbers.DASH)
            title.setToolTip(tip)
            cell.setFont(font)
            table.addWidget(title, row, 0)
            table.addWidget(cell, row, 1, Qt.AlignmentFlag.AlignRight)
            self._cells[name] = cell
        return table

    @property
    def wanted(self) -> bool:
        """A device is there, or the pair runs on a simulated one."""
        return self._on_cores or (self._port is not None and self._port.present)

    def set_port(self, port: DevicePort) -> None:
        self._port = port
        self._refresh()

    def show_pair(self, info: PairInfo) -> None:
        """Another pair is loaded; without a device only an emulator can have loaded one for NeuronCores."""
        neuron, present = info.location.neuron, self._port is not None and self._port.present
        self._on_cores = neuron is not None
        self._simulated = self._on_cores and (info.environment.simulated or not present)
        rehearsed = neuron.rehearse if neuron is not None else ""
        if self._simulated:
            self._show_simulated(rehearsed, rehearsal_at(info.environment.device))
        else:
            self._shown = None
            self._refresh()

    def shown(self, name: str) -> str:
        """What the row `name` shows."""
        return self._cells[name].text()

    @property
    def text(self) -> str:
        """All words outside the table, for tests."""
        parts = (self.title, self._chip, self._detail, self._holders, self._source)
        return "\n".join(part.text() for part in parts if part.isVisibleTo(self))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()
        self._clock.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._clock.stop()

    def set_display(self, display: DisplayMode) -> None:
        super().set_display(display)
        self._set_pace()

    def _set_pace(self) -> None:
        """Quick until there is something to show."""
        numbers_ms = self.display.clocks.numbers_ms
        self._clock.setInterval(numbers_ms if self._shown is None else numbers_ms * NUMBERS_PER_LOOK)

    def _look(self) -> None:
        self._looks += 1
        self._refresh()

    def _refresh(self) -> None:
        if self._simulated:
            return
        reading = self._port.latest() if self._port is not None else None
        if reading is None:
            self._say(WAITING)
            return
        if reading is not self._shown:
            self._looks = 0
            self._shown = reading
            self._show_reading(reading)
            self._set_pace()
        self._source.setText(_source(reading, silent=self._looks >= SILENT_AFTER))

    def _say(self, words: str) -> None:
        self.title.setText("Device")
        self._chip.hide()
        self._detail.setText(words)
        self._measured.hide()

    def _show_simulated(self, instance: str, pair: RehearsedPair | None) -> None:
        paced = [PACED_NOTE, *(f"{name}: {value}." for name, value in pair.facts)] if pair is not None else []
        self._say("\n\n".join([SIMULATED_NOTE, *paced]))
        self.title.setText(instance or "Emulator")
        self._set_chip(SIMULATED, "warning-chip")
        try:
            known = neuron_host(instance)
        except InvalidSetting:
            return
        facts = f"{_chips(known.chips, '', known.cores)}, {known.hbm_gib:.0f} GiB. "
        self._detail.setText(facts + self._detail.text())

    def _show_reading(self, reading: DeviceReading) -> None:
        self.title.setText(reading.instance or "Neuron device")
        others = [one for one in reading.holders or () if not one.own]
        self._chip.hide()
        if others:
            self._set_chip("held by another", "warning-chip")
        elif reading.holders:
            self._set_chip("in use", "chip")
        elif reading.holders is not None:
            self._set_chip("free", "chip")
        self._detail.setText(_chips(reading.chips, reading.chip_name, len(reading.cores)))
        self._measured.show()
        used, total = reading.used_bytes, reading.total_bytes
        self.memory.set_text(numbers.gibibytes(used))
        self.memory.set_caption(f"of {total / GIB:.0f} GiB memory" if total else "memory in use")
        self.busy.set_text(numbers.DASH if reading.busy is None else f"{100 * reading.busy:.0f} %")
        self.grid.set_cores(reading.cores)
        self._legend.setVisible(len(reading.cores) > 4)
        self._set_cell("Fullest core", _fullest(reading))
        self._set_cell("Launches / s", numbers.rate(reading.launches_per_s))
        loads = reading.model_loads
        self._set_cell("Graphs loaded", numbers.DASH if loads is None else f"{loads:,}")
        self._holders.setText(_holders(reading.holders))
        self._holders.setVisible(bool(self._holders.text()))

    def _set_chip(self, text: str, role: str) -> None:
        self._chip.setText(text)
        if self._chip.property("role") != role:
            self._chip.setProperty("role", role)
            self._chip.style().unpolish(self._chip)
            self._chip.style().polish(self._chip)
        self._chip.show()

    def _set_cell(self, name: str, text: str) -> None:
        self._cells[name].setText(text)
        self._cells[name].setAccessibleName(f"{name}: {text}")


def _chips(chips: int, name: str, cores: int) -> str:
    """`12 Inferentia2 chips, 24 NeuronCores`."""
    words = " ".join(part for part in (str(chips), name, "chip" if chips == 1 else "chips") if part)
    return f"{words}, {cores} NeuronCore{'' if cores == 1 else 's'}"


def _fullest(reading: DeviceReading) -> str:
    known = [core for core in reading.cores if core.used_bytes is not None]
    if not known:
        return numbers.DASH
    most = max(known, key=lambda core: core.used_bytes or 0)
    return f"core {most.index}, {numbers.gibibytes(most.used_bytes)}"


def _holders(holders: tuple[CoreHolder, ...] | None) -> str:
    if holders is None:
        return ""
    return "\n".join(
        ("Held by this window" if one.own else f"Held by pid {one.pid}, {readable(one.command, limit=60)}")
        + (f": cores {_spans(one.cores)}" if one.cores else "")
        for one in holders
    )


def _spans(cores: tuple[int, ...]) -> str:
    """First and last when all between are there too, otherwise how many."""
    whole = cores == tuple(range(cores[0], cores[-1] + 1))
    return (
        (f"{cores[0]}–{cores[-1]}" if len(cores) > 1 else f"{cores[0]}") if whole else f"{len(cores)} of them"
    )


def _source(reading: DeviceReading, *, silent: bool) -> str:
    parts = ["Read from the " + " and ".join(reading.sources)] if reading.sources else []
    if silent:
        parts.append("no new reading, these are old")
    return ". ".join([*parts, *reading.problems]) + "."
