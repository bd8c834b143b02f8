"""The composition root: the only module that knows every layer, and the only one that knows qasync.

The order matters:

1. The environment that libraries read when they are imported is set before this module is (`chatapp.__main__`).
2. `QApplication`; whoever is not the first process raises the first one's window and leaves.
3. The window is built and shown. torch and transformers are not imported yet: it is on screen within 1.5 s.
4. The qasync loop starts. From here on `asyncio` and Qt are one loop; it is never closed from inside a nested one.
5. Store, export and engine are plugged in; the last conversation comes back.
6. The engine loads the pair on its own thread, which imports torch; progress shows in the header. Ready.

And at the end: closing the window cancels the reply, waits briefly for its last event so that the store has it, stops the
loop, and only then ends the engine thread and closes the store.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QCoreApplication, QSize, QStandardPaths, QTimer
from PySide6.QtWidgets import QApplication

import chatapp
from chatapp.domain.errors import ChatappError, StoreError
from chatapp.domain.events import RunEvent
from chatapp.domain.ports import EnginePort, ExportPort, PlannerPort, PreparationPort, StorePort
from chatapp.domain.record import Conversation, RunRecord
from chatapp.resources import builtin_pair
from chatapp.service.placement import starting_low
from chatapp.ui.controllers.chat import ChatController, ChatState
from chatapp.ui.controllers.desk import Desk
from chatapp.ui.controllers.files import FileController
from chatapp.ui.controllers.pair import PairController
from chatapp.ui.controllers.preparation import PreparationController
from chatapp.ui.display_manager import DisplayManager
from chatapp.ui.display_mode import DisplayChoice, DisplayMode
from chatapp.ui.icons import app_icon
from chatapp.ui.main_window import MainWindow
from chatapp.ui.options import GuiOptions
from chatapp.ui.reporter import LastResortReporter
from chatapp.ui.settings import WindowSettings
from chatapp.ui.single_instance import SingleInstance
from chatapp.ui.theme import ThemeChoice
from chatapp.ui.theme_manager import ThemeManager
from chatapp.ui.widgets.banner import Severity

if TYPE_CHECKING:
    from chatapp.engine.session import Engine
    from chatapp.service.client import EngineClient

log = logging.getLogger(__name__)

__all__ = ["GuiOptions", "Session", "run_gui", "spare_collector"]

SWITCH_INTERVAL_S = 0.0005
"""How long the GUI's Python code may keep the engine thread waiting for the interpreter. At Python's own 5 ms a verify step
of 3 ms took 12 ms beside a busy thread, at 0.5 ms it took 8."""
LAST_EVENT_S = 1.0
PICTURE_DELAY_MS = 1200
"""Longer than the slowest clock of the panels, so that a picture shows the final numbers."""
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
LOG_BYTES = 1_000_000
EXIT_OK = 0
EXIT_FAILED = 1


def run_gui(
    options: GuiOptions, story: Story | None = None, make_engine: Callable[[], Engine] | None = None
) -> int:
    """Open the window and stay until it is closed; returns the exit status.

    A `story` takes the person's place (the benchmark does): it gets the session instead of `Session.begin`, and the
    window closes when it is over. What it raises is raised here. `make_engine` makes another engine than the usual one, on
    the engine's thread. Raises `ChatappError` where there is no screen.
    """
    app = _make_application()
    folder = _data_folder(options)
    instance = SingleInstance(folder)
    if not instance.acquire():
        told = instance.ask_to_raise()
        where = "its window was raised" if told else "it does not answer"
        print(f"chatapp: already running; {where}", file=sys.stderr)
        return EXIT_OK if told else EXIT_FAILED
    handler = _start_logging(folder)
    settings = WindowSettings(folder)
    theme = ThemeManager(app)
    theme.set_choice(ThemeChoice(options.theme) if options.theme else settings.theme)
    display = DisplayManager(app)
    display.set_choice(DisplayChoice(options.display_mode) if options.display_mode else settings.display)
    window = MainWindow(theme, settings, display)
    if options.size is not None:
        window.resize(QSize(*options.size))
    instance.raise_requested.connect(window.bring_to_front)
    window.closing.connect(
        instance.release
    )  # at once: a start right after the close must not raise a window that goes
    window.show()
    try:
        return _run_loop(app, window, folder, options, story, make_engine)
    finally:
        display.restore()
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, 0)
        logging.getLogger().removeHandler(handler)
        handler.close()


def _make_application() -> QApplication:
    if sys.platform == "linux" and not any(os.environ.get(name) for name in SCREENS):
        raise ChatappError(
            "There is no screen to open a window on.",
            remedy="Start it from a desktop session; `chatapp bench`, `export` and `models` work without one.",
        )
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        with starting_low():  # the thread that reads the X server's messages, which the window waits for
            app = QApplication(sys.argv[:1])
    app.setApplicationName("chatapp")
    app.setApplicationVersion(chatapp.__version__)
    app.setDesktopFileName("chatapp")
    app.setStyle("Fusion")
    app.setWindowIcon(app_icon())
    app.setQuitOnLastWindowClosed(False)  # the end is told by `MainWindow.closing`, after the reply was kept
    return app


def _data_folder(options: GuiOptions) -> Path:
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation)
    folder = options.data_dir or Path(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChatappError(
            f"The data directory {folder} cannot be made: {error.strerror}.",
            remedy="Choose another with --data-dir.",
        ) from error
    return folder


def _start_logging(folder: Path) -> logging.Handler:
    handler: logging.Handler
    try:
        path = folder / "chatapp.log"
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        handler = logging.StreamHandler()  # a folder without write access: the terminal is what is left
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    return handler


def _run_loop(
    app: QApplication,
    window: MainWindow,
    folder: Path,
    options: GuiOptions,
    story: Story | None,
    make_engine: Callable[[], Engine] | None,
) -> int:
    import qasync  # here: it takes the Qt binding that is already imported

    from chatapp.export.service import FileExporter
    from chatapp.library.host.machine import Host
    from chatapp.library.host.watch import NeuronWatch
    from chatapp.library.planner.service import MemoryPlanner
    from chatapp.service.client import EngineClient
    from chatapp.service.preparation import PreparationClient

    loop = qasync.QEventLoop(app)
    asyncio.set_event_loop(loop)
    reporter = LastResortReporter(window)
    reporter.reported.connect(
        lambda text: window.banner.show_message(
            Severity.ERROR, text, f"Nothing you wrote is lost. Details are in {folder / 'chatapp.log'}."
        )
    )
    reporter.install()
    loop.set_exception_handler(reporter.handle_loop_error)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, window.close)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    engine, store = EngineClient(make_engine), _open_store(folder, window)
    set_pace(engine, window.display)
    device = NeuronWatch(Host.here())
    device.start()
    window.panel.set_device(device)
    session = Session(
        window, engine, store, FileExporter(), PreparationClient(), MemoryPlanner(), loop.stop, options
    )
    told = asyncio.ensure_future(story(session), loop=loop) if story is not None else None
    if told is None:
        QTimer.singleShot(0, window, session.begin)
    else:
        told.add_done_callback(lambda _: window.close())
    try:
        loop.run_forever()
        if told is not None and told.done():
            told.result()
        loop.run_until_complete(session.cancel_tasks())
    finally:
        device.close()
        engine.close()
        store.close()
        reporter.uninstall()
        loop.close()
        asyncio.set_event_loop(None)
    _leave_if_engine_hangs()
    return session.status


def set_pace(engine: EngineClient, display: DisplayManager) -> None:
    """Batches of events come as often as the screen's mode paints text, from now on and at every change."""

    def follow(mode: DisplayMode) -> None:
        engine.frame_s = mode.clocks.batch_s

    display.changed.connect(follow)
    follow(display.mode)


class ForgetfulStore(StorePort):
    """Keeps nothing: what the window works with when the conversations' file cannot be opened."""

    def begin_turn(self, conversation: Conversation, turn_index: int) -> None: ...

    def append(self, conversation: Conversation, turn_index: int, events: Sequence[RunEvent]) -> None: ...

    def latest(self) -> Conversation | None:
        return None

    def close(self) -> None: ...


def _open_store(folder: Path, window: MainWindow) -> StorePort:
    from chatapp.store.sqlite_store import SqliteStore

    def tell(problem: StoreError) -> None:
        log.error("%s", problem)
        window.banner.show_error(problem)

    try:
        return SqliteStore(folder / "conversations.sqlite", tell)
    except StoreError as error:
        tell(error)
        return ForgetfulStore()


def _leave_if_engine_hangs() -> None:
    """End the process at once when a native call still holds the engine thread: waiting for it would hang the exit."""
    if any(thread.name == "chatapp-engine" and thread.is_alive() for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(EXIT_OK)


def spare_collector() -> None:
    """Take what is loaded out of the garbage collector's sight; what came with the pair before is collected first.

    One full collection over torch, the tokenizer and the pair took 200 ms on the GUI thread, in the middle of a reply.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.freeze()


class Session:
    """One life of the window: begins with a pair and perhaps a record, and ends with the close button.

    `stop` is called once, when the window is closed and the last event has reached the store.
    """

    def __init__(
        self,
        window: MainWindow,
        engine: EnginePort,
        store: StorePort,
        exporter: ExportPort,
        preparer: PreparationPort,
        planner: PlannerPort,
        stop: Callable[[], None],
        options: GuiOptions,
    ) -> None:
        self.window = window
        self.engine = engine
        self._stop = stop
        self._options = options
        self._store = store
        self._ending: asyncio.Task[None] | None = None
        self.status = EXIT_OK
        self.chat = ChatController(engine, store, window)
        self.pairs = PairController(engine, window)
        self.files = FileController(exporter, window, lambda: self.chat.conversation)
        self.preparations = PreparationController(preparer, window)
        builtin = replace(builtin_pair(), neuron=options.neuron)
        self.desk = Desk(window, self.chat, self.pairs, self.files, self.preparations, planner, builtin)
        window.closing.connect(self._on_closing)
        self.pairs.loaded.connect(spare_collector)
        self.pairs.loaded.connect(self._on_ready)
        self.pairs.failed.connect(self._on_load_failed)
        self.chat.refused.connect(self._on_refused)
        self.files.failed.connect(self._on_file_failed)
        self.desk.reply_ended.connect(self._on_reply_ended)

    def begin(self) -> None:
        """Bring back the last conversation, or open the record asked for, and load the pair."""
        if self._options.prompt is not None:
            self.window.composer.put_text(self._options.prompt)
        if self._options.replay is not None:
            self.files.open_record(self._options.replay)
        else:
            self._restore()
        self.pairs.load(self._options.pair)

    def _restore(self) -> None:
        last = self._store.latest()
        if last is not None and last.turns:
            self.chat.show_conversation(last)

    def _on_ready(self) -> None:
        self.pairs.loaded.disconnect(self._on_ready)
        if self._options.prompt is not None:
            self.desk.submit(self.window.composer.draft().whole)
            if self._options.screenshot_after == "ready":
                self._take_picture()
        else:
            self._take_picture()

    def _on_load_failed(self) -> None:
        if self._options.screenshot is not None:
            self.status = EXIT_FAILED
            self._take_picture()

    def _on_refused(self) -> None:
        if self._options.screenshot is not None:
            self.status = EXIT_FAILED
            self._take_picture()

    def _on_file_failed(self) -> None:
        if self._options.screenshot is not None:
            self.status = EXIT_FAILED

    def _on_reply_ended(self, _record: RunRecord) -> None:
        if self._options.screenshot_after == "done":
            self._take_picture()

    def _take_picture(self) -> None:
        if self._options.screenshot is not None:
            self._select_token()
            QTimer.singleShot(PICTURE_DELAY_MS, self.window, self._save_picture)

    def _select_token(self) -> None:
        if self._options.select_token is None or not self.chat.records:
            return
        found = self.chat.records[-1].tokens()[self._options.select_token - 1 :][:1]
        for view in found:
            self.window.transcript.canvas.select_token(len(self.chat.records) - 1, view)

    def _save_picture(self) -> None:
        path = self._options.screenshot
        assert path is not None
        if not self.window.grab().save(str(path)):
            print(f"chatapp: {path} cannot be written", file=sys.stderr)
            self.status = EXIT_FAILED
        self.window.close()

    def _on_closing(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        """Stop the reply and give its last event a moment to reach the store."""
        self.chat.stop()
        try:
            await asyncio.wait_for(self._until_idle(), LAST_EVENT_S)
        except asyncio.TimeoutError:
            log.warning("the reply did not end in time; it is kept as far as it was written")
        self._stop()

    async def _until_idle(self) -> None:
        idle = asyncio.Event()
        self.chat.state_changed.connect(lambda state: idle.set() if state is ChatState.IDLE else None)
        if self.chat.state is ChatState.IDLE:
            return
        await idle.wait()

    async def cancel_tasks(self) -> None:
        """Cancel what still waits on the engine, so that no task outlives the loop."""
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


Story = Callable[[Session], Coroutine[Any, Any, None]]
