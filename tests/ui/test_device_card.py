"""The Device card in the whole window: when it is there, what it shows, and that it never shows numbers of a simulated device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QApplication, QToolTip

from chatapp.domain.device import CoreHolder, CoreReading, DevicePort, DeviceReading
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairInfo
from chatapp.ui.display_mode import DisplayChoice
from chatapp.ui.panels.device_card import SIMULATED, DeviceCard
from chatapp.ui.widgets.core_grid import CoreGrid, describe_core
from tests.ui.stage import Stage

GIB = 1 << 30
TICKS = 8


class FixedPort(DevicePort):
    """Says what a test puts into it."""

    def __init__(self, reading: DeviceReading | None = None, *, present: bool = True) -> None:
        self.reading = reading
        self.here = present

    @property
    def present(self) -> bool:
        return self.here

    def start(self) -> None: ...

    def latest(self) -> DeviceReading | None:
        return self.reading

    def close(self) -> None: ...


def _reading(
    chips: int = 12, *, used_gib: float = 12.0, holders: tuple[CoreHolder, ...] | None = ()
) -> DeviceReading:
    cores = tuple(
        CoreReading(
            core,
            core // 2,
            int(used_gib * GIB) if core != 5 else 15 * GIB,
            16 * GIB,
            (("tensors", int(used_gib * GIB)),),
            busy=0.5 if core < 4 else None,
            inferences=1234,
            model_loads=15,
        )
        for core in range(2 * chips)
    )
    return DeviceReading(
        "inf2.48xlarge", "Inferentia2", chips, cores, holders, 61.5, ("driver", "neuron-monitor")
    )


def _segments(stage: Stage) -> list[str]:
    return [
        button.text() for button in stage.window.panel._group.buttons() if button.isVisibleTo(stage.window)
    ]


def _card(stage: Stage, port: FixedPort) -> DeviceCard:
    stage.window.panel.set_device(port)
    stage.window.panel.show_page(2)
    return stage.window.panel.device


def _loaded(stage: Stage, *, simulated: bool = False, **settings: str) -> PairInfo:
    """The pair of the stage as if it were loaded for NeuronCores."""
    info = stage.pairs.info
    assert info is not None
    location = replace(info.location, neuron=NeuronSettings(**settings))  # type: ignore[arg-type]  # strings alone
    return replace(info, location=location, environment=replace(info.environment, simulated=simulated))


def test_without_a_device_there_is_no_page(stage: Stage) -> None:
    assert _segments(stage) == ["Speed", "Sampling"]
    stage.window.panel.set_device(FixedPort(present=False))
    assert _segments(stage) == ["Speed", "Sampling"]


def test_a_device_brings_its_page(stage: Stage) -> None:
    card = _card(stage, FixedPort())
    assert _segments(stage) == ["Speed", "Sampling", "Device"]
    assert "Reading the device" in card.text


def test_a_reading(stage: Stage) -> None:
    card = _card(stage, FixedPort(_reading(holders=(CoreHolder(1, "chatapp", tuple(range(24)), own=True),))))
    assert card.title.text() == "inf2.48xlarge"
    assert "12 Inferentia2 chips, 24 NeuronCores" in card.text
    assert (card.memory.text, card.memory.caption) == ("291.0 GiB", "of 384 GiB memory")
    assert card.busy.text == "50 %"
    assert card.shown("Fullest core") == "core 5, 15.0 GiB"
    assert card.shown("Launches / s") == "61.5"
    assert card.shown("Graphs loaded") == "15"
    assert "Held by this window: cores 0–23" in card.text
    assert "in use" in card.text
    assert "Read from the driver and neuron-monitor." in card.text


def test_somebody_elses_cores_are_a_warning(stage: Stage) -> None:
    holders = (CoreHolder(4711, "python <b>serve</b>.py\x1b[2J", (0, 1, 6)),)
    card = _card(stage, FixedPort(_reading(holders=holders)))
    assert "held by another" in card.text
    assert "pid 4711, python <b>serve</b>.py" in card.text
    assert "3 of them" in card.text
    assert "\x1b" not in card.text


def test_what_is_unknown_is_a_dash(stage: Stage) -> None:
    cores = tuple(CoreReading(core, 0) for core in range(2))
    reading = DeviceReading("", "", 1, cores, None, problems=("neuron-ls: not installed",))
    card = _card(stage, FixedPort(reading))
    assert card.title.text() == "Neuron device"
    assert [card.shown(name) for name in ("Fullest core", "Launches / s", "Graphs loaded")] == ["–"] * 3
    assert (card.memory.text, card.busy.text) == ("–", "–")
    assert "Held" not in card.text
    assert "neuron-ls: not installed." in card.text


def test_the_clock_runs_only_on_screen_and_slower_remotely(stage: Stage) -> None:
    port = FixedPort(_reading())
    card = _card(stage, port)
    assert card._clock.isActive()
    local_ms = card._clock.interval()
    stage.window.panel.show_page(0)
    assert not card._clock.isActive()
    stage.display.set_choice(DisplayChoice.REMOTE)
    assert card._clock.interval() >= 2 * local_ms
    port.reading = replace(_reading(), launches_per_s=99.0)
    assert card.shown("Launches / s") == "61.5"
    stage.window.panel.show_page(2)
    assert card.shown("Launches / s") == "99.0"


def test_old_numbers_are_called_old(stage: Stage) -> None:
    port = FixedPort(_reading())
    card = _card(stage, port)
    for _ in range(TICKS):
        card._clock.timeout.emit()
    assert "no new reading" in card.text
    port.reading = _reading(used_gib=1.0)
    card._clock.timeout.emit()
    assert "no new reading" not in card.text


def test_a_simulated_device_says_so_and_shows_no_numbers(stage: Stage) -> None:
    panel = stage.window.panel
    panel.show_pair(_loaded(stage, simulated=True, rehearse="trn1.32xlarge"))
    panel.show_page(2)
    assert _segments(stage) == ["Speed", "Sampling", "Device"]
    text = panel.device.text
    assert SIMULATED in text
    assert "trn1.32xlarge" in text
    assert "16 chips, 32 NeuronCores, 512 GiB" in text
    assert "no speed here is a device's" in text
    assert not panel.device.memory.isVisibleTo(panel)


def test_an_emulator_beside_a_real_device_shows_no_measurement_of_it(stage: Stage) -> None:
    port = FixedPort(_reading())
    card = _card(stage, port)
    stage.window.panel.show_pair(_loaded(stage, simulated=True, rehearse="inf2.48xlarge"))
    port.reading = _reading(used_gib=3.0)
    card._clock.timeout.emit()
    assert SIMULATED in card.text
    assert not card.memory.isVisibleTo(card)
    assert stage.pairs.info is not None
    stage.window.panel.show_pair(stage.pairs.info)
    assert SIMULATED not in card.text
    assert card.memory.isVisibleTo(card)


def test_a_pair_of_the_emulator_without_a_device_is_simulated(stage: Stage) -> None:
    stage.window.panel.show_pair(_loaded(stage))
    assert SIMULATED in stage.window.panel.device.text or not stage.window.panel.device.isVisible()
    stage.window.panel.show_page(2)
    assert "Emulator" in stage.window.panel.device.text
    assert stage.pairs.info is not None
    stage.window.panel.show_pair(stage.pairs.info)
    assert _segments(stage) == ["Speed", "Sampling"]
    assert stage.window.panel.page == 0


@pytest.mark.parametrize(("chips", "rows"), [(16, 2), (12, 2), (6, 1), (3, 1)])
def test_cells_fill_equal_rows_and_do_not_overlap(stage: Stage, chips: int, rows: int) -> None:
    grid = _card(stage, FixedPort(_reading(chips))).grid
    cells = [grid.cell(place) for place in range(2 * chips)]
    assert len({cell.top() for cell in cells}) == rows
    assert all(cell.left() >= 0 and cell.right() <= grid.width() + 0.01 for cell in cells)
    assert not any(a.intersects(b) for place, a in enumerate(cells) for b in cells[:place])
    for place, cell in enumerate(cells):
        core = grid.core_at(cell.center())
        assert core is not None
        assert core.index == place
    assert grid.core_at(QPointF(-5, 0)) is None


@pytest.mark.qt_log_ignore("This plugin does not support raise", extend=True)
def test_the_tooltip_tells_one_core(stage: Stage) -> None:
    grid = _card(stage, FixedPort(_reading())).grid
    point = grid.cell(5).center().toPoint()
    QApplication.sendEvent(grid, QHelpEvent(QEvent.Type.ToolTip, point, grid.mapToGlobal(point)))
    assert QToolTip.text().startswith("Core 5, chip 2: 15.0 of 16 GiB")
    QToolTip.hideText()
    QApplication.sendEvent(
        grid, QHelpEvent(QEvent.Type.ToolTip, QPoint(0, 0), grid.mapToGlobal(QPoint(0, 0)))
    )


def test_a_screen_reader_hears_every_core(stage: Stage) -> None:
    grid = _card(stage, FixedPort(_reading(1))).grid
    assert grid.text.count("Core ") == 2
    assert "busy 50 %" in describe_core(_reading().cores[0])


def test_fuller_cells_are_painted_fuller(stage: Stage) -> None:
    grid = _card(stage, FixedPort(_reading(used_gib=4.0))).grid
    picture = grid.grab().toImage()
    scale = picture.devicePixelRatio()

    def filled(place: int) -> int:
        cell = grid.cell(place)
        x = round(cell.center().x() * scale)
        column = [picture.pixelColor(x, y).name() for y in range(round(cell.top()), round(cell.bottom()))]
        rail = grid.tokens.border
        return sum(colour != rail for colour in column)

    assert filled(5) > 2 * filled(4)


def test_colours_follow_the_theme(stage: Stage) -> None:
    grid: CoreGrid = _card(stage, FixedPort(_reading())).grid
    light = grid.tokens.theme
    stage.window.header.theme_clicked.emit()
    assert grid.tokens.theme is not light
