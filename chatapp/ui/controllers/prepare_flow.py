"""From "this pair is not prepared" to the loaded pair: the card in the window, the preparation, and the load at its end.

It must not know a process or how graphs are made.
"""

from __future__ import annotations

from PySide6.QtCore import QObject

from chatapp.domain.errors import NotPrepared
from chatapp.domain.ports import PairLocation
from chatapp.domain.preparation import (
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
)
from chatapp.ui.controllers.chat import ChatController, ChatState
from chatapp.ui.controllers.pair import PairController
from chatapp.ui.controllers.preparation import PreparationController
from chatapp.ui.main_window import MainWindow
from chatapp.ui.widgets.banner import Severity


class PrepareFlow(QObject):
    """A pair that became ready is loaded at once, unless a reply runs or another pair is being loaded: then the card offers it."""

    def __init__(
        self,
        window: MainWindow,
        chat: ChatController,
        pairs: PairController,
        preparations: PreparationController,
    ) -> None:
        super().__init__(window)
        self._window = window
        self._card = window.preparation
        self._chat = chat
        self._pairs = pairs
        self._preparations = preparations
        preparations.offered.connect(self._on_offered)
        preparations.progressed.connect(self._on_progressed)
        preparations.stopped.connect(self._on_stopped)
        preparations.failed.connect(self._on_failed)
        preparations.prepared.connect(self._on_prepared)
        pairs.loaded.connect(self._on_loaded)
        self._card.prepare_clicked.connect(preparations.start)
        self._card.stop_clicked.connect(preparations.stop)
        self._card.open_clicked.connect(self._open)
        self._card.dismissed.connect(preparations.forget)

    def _on_offered(self, error: NotPrepared) -> None:
        self._window.banner.clear()
        self._card.show_offer(self._name, error, pair_in_use=self._pairs.info is not None)

    def _on_progressed(self, progress: PreparationProgress | None) -> None:
        self._card.show_running(self._name, progress, stopping=self._preparations.stopping)
        self._show_state("Preparing…")

    def _on_stopped(self, stopped: PreparationStopped) -> None:
        self._card.show_stopped(self._name, stopped)
        self._show_state("Not ready")

    def _on_failed(self, failed: PreparationFailed) -> None:
        self._card.show_failed(failed)
        self._show_state("Not ready")

    def _show_state(self, words: str) -> None:
        """In the header, where there is no pair whose state it says."""
        if self._pairs.info is None and not self._pairs.loading:
            self._window.header.show_state(words)

    def _on_prepared(self, pair: PairLocation, done: PreparationDone) -> None:
        if self._chat.state is not ChatState.IDLE or self._pairs.loading:
            self._card.show_ready(pair.name, done.words)
            return
        self._window.banner.show_message(Severity.INFO, done.words)
        self._open()

    def _open(self) -> None:
        pair = self._preparations.pair
        if pair is None or self._chat.state is not ChatState.IDLE or self._pairs.loading:
            return
        self._card.hide()
        self._pairs.load(pair)

    def _on_loaded(self) -> None:
        if not self._preparations.running:
            self._preparations.forget()
            self._card.hide()

    @property
    def _name(self) -> str:
        pair = self._preparations.pair
        return "" if pair is None else pair.name
