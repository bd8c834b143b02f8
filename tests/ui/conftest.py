"""The whole window over a scripted engine, on one loop with Qt; and a look for what a test left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import qasync
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication, QDialog, QMainWindow
from pytestqt.qtbot import QtBot

from chatapp.ui.theme import ThemeChoice
from tests.helpers.scripted_engine import MemoryStore, ScriptedEngine
from tests.ui.stage import Stage


@pytest.fixture
def loop(qapp: QApplication) -> Iterator[asyncio.AbstractEventLoop]:
    """asyncio on Qt's loop, turned by qtbot's waits."""
    made = qasync.QEventLoop(qapp)
    asyncio.set_event_loop(made)
    asyncio.events._set_running_loop(made)
    yield made
    for task in asyncio.all_tasks(made):
        task.cancel()
    asyncio.events._set_running_loop(None)
    asyncio.set_event_loop(None)
    made.close()


@pytest.fixture(autouse=True)
def nothing_left_behind(qapp: QApplication) -> Iterator[None]:
    """No thread, no top-level widget outlives a test."""
    threads = set(threading.enumerate())
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    left = [widget for widget in qapp.topLevelWidgets() if isinstance(widget, QMainWindow | QDialog)]
    shown = [widget for widget in qapp.topLevelWidgets() if widget.isVisible()]
    assert left == shown == []
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def stage(
    qtbot: QtBot,
    loop: asyncio.AbstractEventLoop,
    engine: ScriptedEngine,
    store: MemoryStore,
    tmp_path: Path,
) -> Iterator[Stage]:
    made = Stage(qtbot, engine, store, tmp_path)
    made.theme.set_choice(ThemeChoice.LIGHT)
    made.load()
    yield made
    made.finish()
