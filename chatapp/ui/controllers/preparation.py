"""Prepares a pair that could not be loaded because its graphs were never compiled, and says how far it is.

One at a time. It must not know a widget, a process or how graphs are made.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from chatapp.domain.errors import NotPrepared
from chatapp.domain.ports import PairLocation, PreparationHandle, PreparationPort
from chatapp.domain.preparation import (
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
)
from chatapp.ui.controllers.tasks import TaskKeeper


class PreparationController(QObject):
    """`offered` carries a `NotPrepared`, `progressed` a `PreparationProgress` (None at the start), `stopped` and `failed` their
    messages; `prepared` the `PairLocation` that can be loaded now and a `PreparationDone`."""

    offered = Signal(object)
    progressed = Signal(object)
    stopped = Signal(object)
    failed = Signal(object)
    prepared = Signal(object, object)

    def __init__(self, port: PreparationPort, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._port = port
        self._tasks = TaskKeeper()
        self._pair: PairLocation | None = None
        self._handle: PreparationHandle | None = None
        self._progress: PreparationProgress | None = None
        self._stopping = False

    @property
    def pair(self) -> PairLocation | None:
        """What is, or is to be, prepared."""
        return self._pair

    @property
    def running(self) -> bool:
        return self._handle is not None

    @property
    def stopping(self) -> bool:
        return self._stopping

    def offer(self, error: NotPrepared) -> bool:
        """Take up a pair that is not prepared; False when it cannot be: another is being prepared, or none is named."""
        if self.running or error.location is None:
            return False
        self._pair = error.location
        self.offered.emit(error)
        return True

    def start(self) -> None:
        """Begin, or go on."""
        if self._pair is not None and not self.running:
            self._handle = self._port.start(self._pair)
            self._progress, self._stopping = None, False
            self.progressed.emit(None)
            self._tasks.spawn(self._follow(self._pair, self._handle))

    def stop(self) -> None:
        if self._handle is not None:
            self._stopping = True
            self._handle.stop()
            self.progressed.emit(self._progress)

    def forget(self) -> None:
        """The person does not want it now."""
        if not self.running:
            self._pair = None

    async def _follow(self, pair: PairLocation, handle: PreparationHandle) -> None:
        last: object = None
        try:
            async for message in handle:
                last = message
                if isinstance(message, PreparationProgress):
                    self._progress = message
                    self.progressed.emit(message)
        finally:
            self._handle = None
        if isinstance(last, PreparationDone):
            self.prepared.emit(pair, last)
        elif isinstance(last, PreparationStopped):
            self.stopped.emit(last)
        elif isinstance(last, PreparationFailed):
            self.failed.emit(last)
