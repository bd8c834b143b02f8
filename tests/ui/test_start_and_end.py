"""The composition root: a session from begin to end, a second start, and what the process leaves."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtNetwork import QLocalServer
from pytestqt.qtbot import QtBot

from chatapp import app
from chatapp.app import GuiOptions, Session, spare_collector
from chatapp.commands import gui
from chatapp.domain.events import EndReason, RunEnded
from chatapp.export.service import FileExporter
from chatapp.library.planner.service import MemoryPlanner
from chatapp.ui.controllers.chat import ChatState
from chatapp.ui.display_manager import DisplayManager
from chatapp.ui.main_window import MainWindow
from chatapp.ui.reporter import LastResortReporter
from chatapp.ui.settings import WindowSettings
from chatapp.ui.single_instance import SingleInstance, server_name
from chatapp.ui.theme_manager import ThemeManager
from tests.helpers.records import demo_conversation
from tests.helpers.scripted_engine import REPLY, MemoryStore, ScriptedEngine
from tests.helpers.scripted_preparation import ScriptedPreparer
from tests.ui.stage import NO_SCREEN

ROOT = Path(__file__).resolve().parents[2]


class Life:
    """A window with its session; `ended` counts how often the loop was stopped."""

    def __init__(self, qtbot: QtBot, folder: Path, store: MemoryStore, options: GuiOptions) -> None:
        self.engine = ScriptedEngine()
        self.theme = ThemeManager()
        self.theme.apply()
        self.display = DisplayManager(finding=NO_SCREEN)
        self.window = MainWindow(self.theme, WindowSettings(folder), self.display)
        self.window.show()
        self.ended = 0
        self.session = Session(
            self.window,
            self.engine,
            store,
            FileExporter(),
            ScriptedPreparer(),
            MemoryPlanner(),
            self._on_stop,
            options,
        )
        QTimer.singleShot(0, self.window, self.session.begin)
        qtbot.waitUntil(lambda: bool(self.engine.loaded))

    def _on_stop(self) -> None:
        self.ended += 1

    def close(self, qtbot: QtBot) -> None:
        self.window.close()
        qtbot.waitUntil(lambda: self.ended == 1)
        self.window.deleteLater()
        self.theme.deleteLater()
        self.display.deleteLater()
        gc.unfreeze()


@pytest.fixture
def lives(qtbot: QtBot, loop: asyncio.AbstractEventLoop) -> Iterator[list[Life]]:
    made: list[Life] = []
    yield made
    for life in made:
        life.close(qtbot)


def test_the_last_conversation_comes_back(qtbot: QtBot, lives: list[Life], tmp_path: Path) -> None:
    life = Life(qtbot, tmp_path, MemoryStore(demo_conversation()), GuiOptions())
    lives.append(life)
    assert life.window.windowTitle() == "The lighthouse — chatapp"
    assert len(life.session.chat.records) == 2


def test_a_prompt_from_the_command_line_is_sent_and_photographed(
    qtbot: QtBot, lives: list[Life], tmp_path: Path
) -> None:
    picture = tmp_path / "window.png"
    options = GuiOptions(prompt="What is k?", screenshot=picture, size=(1280, 800), select_token=2)
    life = Life(qtbot, tmp_path, MemoryStore(), options)
    lives.append(life)
    qtbot.waitUntil(lambda: life.ended == 1)
    assert life.session.chat.records[0].text == REPLY
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert life.window.panel.token.token_text == "␣window"
    assert life.session.status == 0


def test_a_picture_that_cannot_be_written_fails(
    qtbot: QtBot, lives: list[Life], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = GuiOptions(screenshot=tmp_path / "missing" / "window.png")
    life = Life(qtbot, tmp_path, MemoryStore(), options)
    lives.append(life)
    qtbot.waitUntil(lambda: life.ended == 1)
    assert life.session.status == 1
    assert "cannot be written" in capsys.readouterr().err


def test_replay_opens_the_record(qtbot: QtBot, lives: list[Life], tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    FileExporter().export(demo_conversation(), path, "json")
    life = Life(qtbot, tmp_path, MemoryStore(), GuiOptions(replay=path))
    lives.append(life)
    assert life.window.windowTitle() == "The lighthouse — chatapp"


def test_closing_in_the_middle_of_a_reply_keeps_it(qtbot: QtBot, lives: list[Life], tmp_path: Path) -> None:
    store = MemoryStore()
    life = Life(qtbot, tmp_path, store, GuiOptions())
    lives.append(life)
    life.engine.hold = True
    life.window.composer.edit.setPlainText("Hello?")
    life.session.desk.submit("Hello?")
    qtbot.waitUntil(lambda: life.session.chat.state is ChatState.RUNNING)
    life.engine.runs[0].let_pass(3)
    qtbot.waitUntil(lambda: len(life.session.chat.records[0].steps) == 3)
    life.window.close()
    qtbot.waitUntil(lambda: life.ended == 1)
    last = store.events[0][-1]
    assert isinstance(last, RunEnded)
    assert last.reason is EndReason.CANCELLED
    assert not life.window.isVisible()


def test_an_unexpected_error_is_shown_and_logged(
    qtbot: QtBot, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = LastResortReporter()
    with qtbot.waitSignal(reporter.reported) as told, caplog.at_level(logging.ERROR):
        error = RuntimeError("a slot broke")
        reporter._on_exception(RuntimeError, error, None)
    assert "a slot broke" in told.args[0]
    assert "a slot broke" in caplog.text
    with qtbot.waitSignal(reporter.reported) as told:
        reporter.handle_loop_error(loop, {"message": "A task failed", "exception": ValueError("in a task")})
    assert "in a task" in told.args[0]


def test_a_second_start_raises_the_first_window(qtbot: QtBot, tmp_path: Path) -> None:
    first, second = SingleInstance(tmp_path), SingleInstance(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    with qtbot.waitSignal(first.raise_requested):
        assert second.ask_to_raise()
    first.release()
    assert second.acquire()
    second.release()


def test_a_socket_left_by_a_crash_is_replaced(qtbot: QtBot, tmp_path: Path) -> None:
    left = QLocalServer()
    left.listen(server_name(tmp_path))
    instance, second = SingleInstance(tmp_path), SingleInstance(tmp_path)
    assert instance.acquire()
    with qtbot.waitSignal(instance.raise_requested):
        assert second.ask_to_raise()
    instance.release()
    left.close()


def _start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "chatapp",
        "gui",
        "--data-dir",
        str(folder),
        "--target",
        str(folder / "none"),
    ]
    return subprocess.Popen(
        [*command, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def test_the_process_starts_once_and_ends_clean(tmp_path: Path) -> None:
    """A real process: the second start leaves with a line, and SIGTERM ends the first like the close button."""
    first = _start(tmp_path)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "conversations.sqlite").exists() and time.monotonic() < deadline:
            assert first.poll() is None
            os.sched_yield()
        second = _start(tmp_path)
        _, said = second.communicate(timeout=30)
        assert second.returncode == 0
        assert "already running" in said
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=30)
        assert first.returncode == 0
        assert "Traceback" not in said
    finally:
        first.kill()
        first.wait()


def test_the_command_line_gives_the_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    gui.add_arguments(parser)
    seen: list[GuiOptions] = []

    def remember(options: GuiOptions) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr("chatapp.app.run_gui", remember)
    args = parser.parse_args(["--target", "t", "--draft", "d", "--theme", "dark", "--size", "900x600"])
    assert gui.run(args) == 0
    assert seen[0].pair.name == "t + d"
    assert seen[0].size == (900, 600)
    with pytest.raises(SystemExit):
        gui.run(parser.parse_args(["--draft", "d"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["--size", "large"])


def test_without_a_usable_store_the_window_works_and_says_so(
    qtbot: QtBot, loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    (tmp_path / "conversations.sqlite").mkdir()
    theme = ThemeManager()
    display = DisplayManager(finding=NO_SCREEN)
    window = MainWindow(theme, WindowSettings(tmp_path), display)
    qtbot.addWidget(window)
    store = app._open_store(tmp_path, window)
    window.show()
    assert "conversations.sqlite" in window.banner.text
    assert store.latest() is None
    store.close()
    theme.deleteLater()
    display.deleteLater()


def test_a_record_that_cannot_be_opened_fails_the_picture(
    qtbot: QtBot, lives: list[Life], tmp_path: Path
) -> None:
    options = GuiOptions(replay=tmp_path / "none.json", screenshot=tmp_path / "window.png")
    life = Life(qtbot, tmp_path, MemoryStore(), options)
    lives.append(life)
    qtbot.waitUntil(lambda: life.ended == 1)
    assert life.session.status == 1


def test_the_collector_leaves_the_pair_alone_until_the_next_one_is_there() -> None:
    class Ring:
        """Garbage that only the collector finds."""

        def __init__(self) -> None:
            self.me = self

    ring = Ring()
    seen = weakref.ref(ring)
    try:
        spare_collector()
        del ring
        gc.collect()
        assert seen() is not None
        spare_collector()
        assert seen() is None
    finally:
        gc.unfreeze()
