"""Loads pairs and says what came of it. The pair before stays loaded until the new one is ready.

It must not know a widget or how a model is read.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from chatapp.domain.errors import ModelError, NotPrepared
from chatapp.domain.ports import EnginePort, LoadProgress, PairInfo, PairLocation
from chatapp.ui.controllers.tasks import TaskKeeper


class PairController(QObject):
    """`progressed` carries the pair's name and a `LoadProgress`, `loaded` a `PairInfo`, `failed` a `ModelError`."""

    progressed = Signal(str, object)
    loaded = Signal(object)
    failed = Signal(object)

    def __init__(self, engine: EnginePort, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self._tasks = TaskKeeper()
        self._info: PairInfo | None = None

    @property
    def info(self) -> PairInfo | None:
        return self._info

    @property
    def loading(self) -> bool:
        return self._tasks.busy

    def load(self, pair: PairLocation) -> None:
        self._tasks.spawn(self._load(pair))

    async def _load(self, pair: PairLocation) -> None:
        self.progressed.emit(pair.name, LoadProgress(0.0, "Starting the engine"))
        try:
            info = await self._engine.load(pair, lambda progress: self.progressed.emit(pair.name, progress))
        except ModelError as error:
            if isinstance(error, NotPrepared):
                error.location = pair  # whoever offers to prepare it says what is kept
            elif self._info is not None and not error.kept:
                error.kept = f"The pair in use, {self._info.location.name}, stays loaded."
            self.failed.emit(error)
            return
        self._info = info
        self.loaded.emit(info)
