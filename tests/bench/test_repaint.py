"""What `chatapp bench --repaint` counts, on widgets that paint a known region; and the pace that it streams at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QRect
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from chatapp.bench import pacing
from chatapp.bench.pacing import PacedEngine
from chatapp.bench.repaint_meter import RepaintMeter
from chatapp.domain.events import EndReason, RunEnded, StepCommitted
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.control import RunControl
from tests.helpers import checkpoints
from tests.helpers.toys import toy_engine

ROOT = Path(__file__).resolve().parents[2]


class Board(QWidget):
    """Paints `colour` wherever it is asked to paint."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.colour = "#000000"

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(self.colour))
        painter.end()


@pytest.fixture
def board(qtbot: QtBot) -> Board:
    window = Board()
    qtbot.addWidget(window)
    window.resize(200, 100)
    with qtbot.waitExposed(window):
        window.show()
    QApplication.sendPostedEvents()
    return window


def test_a_frame_counts_its_region_once_and_the_pixels_that_differ(board: Board) -> None:
    meter = RepaintMeter(board, {})
    meter.start()
    board.colour = "#ffffff"
    board.update(QRect(0, 0, 10, 10))
    board.update(QRect(5, 0, 10, 10))  # half of it again, in the same frame
    QApplication.sendPostedEvents()
    board.update(QRect(0, 0, 20, 10))  # 150 px of it are white already
    QApplication.sendPostedEvents()
    seen = meter.stop()
    assert (seen.frames, seen.painted_px, seen.changed_px) == (2, 150 + 200, 150 + 50)


def test_what_is_painted_before_and_after_is_not_counted(board: Board) -> None:
    meter = RepaintMeter(board, {})
    board.update()
    QApplication.sendPostedEvents()
    meter.start()
    assert meter.stop().frames == 0
    board.update()
    QApplication.sendPostedEvents()
    meter.start()
    assert meter.stop().painted_px == 0


def test_children_count_at_their_place_and_for_their_part(board: Board) -> None:
    child = Board(board)
    child.setGeometry(50, 20, 40, 30)
    child.show()
    QApplication.sendPostedEvents()
    meter = RepaintMeter(board, {"child": child})
    meter.start()
    child.colour = "#ff0000"
    child.update()
    board.update(QRect(0, 0, 60, 100))
    QApplication.sendPostedEvents()
    seen = meter.stop()
    assert seen.painted_px == 60 * 100 + 30 * 30
    assert seen.parts_px == {"child": 40 * 30}
    assert seen.changed_px == 40 * 30  # the board is black everywhere else, before and after


class Clock:
    """Stands in for `time`: sleeping is what makes it go on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


class PacedToy(PacedEngine):
    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self._pair = toy_engine().pair


def test_every_step_takes_its_time_and_no_text_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    engine = PacedToy(0.05)
    sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=60)
    request = GenerationRequest((Message(Role.USER, "hello"),), sampling)
    times, events = [], []
    for event in engine.run(engine.prepare(request), RunControl.of(request)):
        events.append(event)
        if isinstance(event, StepCommitted):
            times.append(clock.now)
            if len(times) == 3:
                clock.now += 0.12  # somebody else had the machine: what is late is made up for
    assert isinstance(events[-1], RunEnded)
    assert events[-1].reason is EndReason.MAX_TOKENS
    assert times[:6] == pytest.approx([0.05, 0.10, 0.15, 0.27, 0.27, 0.30])
    assert times[-1] == pytest.approx(0.05 * len(times))


def test_the_command_streams_in_both_modes_and_ends_in_a_json_line(tmp_path: Path) -> None:
    for side in ("target", "draft"):
        checkpoints.save(tmp_path / side, checkpoints.llama_config())
    pair = ["--target", str(tmp_path / "target"), "--draft", str(tmp_path / "draft")]
    done = subprocess.run(
        [sys.executable, "-m", "chatapp", "bench", "--repaint", "--rounds", "1", "--max-tokens", "60", *pair],
        cwd=ROOT,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    local, remote = result["local"], result["remote"]
    # How many frames fit into half a second is for a busy machine to say; that they were counted is not.
    assert local["repainted_px_per_s"] > local["changed_px_per_s"] > 0
    for rates in (local, remote):
        assert rates["tokens_per_s"] > 0
        assert rates["repainted_bytes_per_s"] == 4 * rates["repainted_px_per_s"]
        assert rates["changed_bytes_per_s"] == 4 * rates["changed_px_per_s"]
    assert [bar["bar"] for bar in result["bars"]] == [0.25, 0.25]
    for name, bar in zip(("repainted", "changed"), result["bars"], strict=True):
        assert bar["value"] == pytest.approx(remote[f"{name}_px_per_s"] / local[f"{name}_px_per_s"])
