"""The window with everything plugged in but the models; acts through keys and clicks."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from chatapp.domain.preparation import PreparationStopped
from chatapp.domain.record import RunRecord
from chatapp.export.service import FileExporter
from chatapp.library.planner.service import MemoryPlanner
from chatapp.ui.controllers.chat import ChatController, ChatState
from chatapp.ui.controllers.desk import Desk
from chatapp.ui.controllers.files import FileController
from chatapp.ui.controllers.pair import PairController
from chatapp.ui.controllers.preparation import PreparationController
from chatapp.ui.display_manager import DisplayManager
from chatapp.ui.display_mode import Finding
from chatapp.ui.main_window import MainWindow
from chatapp.ui.settings import WindowSettings
from chatapp.ui.theme_manager import ThemeManager
from tests.helpers.scripted_engine import BUILTIN, MemoryStore, ScriptedEngine, ScriptedRun
from tests.helpers.scripted_preparation import ScriptedPreparer

NO_SCREEN = Finding(False, "a test has no screen")


class Stage:
    def __init__(self, qtbot: QtBot, engine: ScriptedEngine, store: MemoryStore, folder: Path) -> None:
        self.qtbot = qtbot
        self.engine = engine
        self.store = store
        self.theme = ThemeManager()
        self.settings = WindowSettings(folder)
        self.display = DisplayManager(finding=NO_SCREEN)
        self.window = MainWindow(self.theme, self.settings, self.display)
        self.chat = ChatController(engine, store, self.window)
        self.pairs = PairController(engine, self.window)
        self.files = FileController(FileExporter(), self.window, lambda: self.chat.conversation)
        self.preparer = ScriptedPreparer()
        self.preparations = PreparationController(self.preparer, self.window)
        self.desk = Desk(
            self.window, self.chat, self.pairs, self.files, self.preparations, MemoryPlanner(), BUILTIN
        )
        self.window.show()
        qtbot.waitExposed(self.window)

    def load(self) -> None:
        with self.qtbot.waitSignal(self.pairs.loaded):
            self.pairs.load(BUILTIN)

    def type(self, text: str) -> None:
        self.qtbot.keyClicks(self.window.composer.edit, text)

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.focused, key, modifier)

    def click(self, widget: QWidget) -> None:
        self.qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)

    @property
    def focused(self) -> QWidget:
        return QApplication.focusWidget() or self.window.composer.edit

    def send(self, text: str) -> None:
        self.type(text)
        self.press(Qt.Key.Key_Return)

    def send_and_wait(self, text: str) -> RunRecord:
        with self.qtbot.waitSignal(self.chat.run_ended):
            self.send(text)
        return self.record

    def run_held(self, text: str = "Hello?") -> ScriptedRun:
        """Send, and come back once the engine has a run that waits for the test."""
        self.engine.hold = True
        before = len(self.engine.runs)
        self.send(text)
        self.qtbot.waitUntil(lambda: len(self.engine.runs) > before and self.chat.state is ChatState.RUNNING)
        return self.engine.runs[-1]

    @property
    def record(self) -> RunRecord:
        return self.chat.records[-1]

    @property
    def box(self) -> str:
        return self.window.composer.edit.toPlainText()

    @property
    def banner(self) -> str:
        return self.window.banner.text

    def finish(self) -> None:
        for run in self.engine.runs:
            run.cancel()
        for handle in self.preparer.handles:
            handle.say(PreparationStopped("", ""))
        self.qtbot.waitUntil(lambda: not self.preparations.running)
        self.qtbot.waitUntil(lambda: self.chat.state is ChatState.IDLE)
        self.window.close()
        self.window.deleteLater()
        self.theme.deleteLater()
        self.display.restore()
        self.display.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
