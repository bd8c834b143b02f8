"""The last resort: an error that nobody expected is logged whole and shown in one sentence; the window stays.

It replaces `sys.excepthook`, which PySide calls for errors in slots, and serves as the event loop's exception handler.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from types import TracebackType
from typing import Any

from PySide6.QtCore import QObject, Signal

log = logging.getLogger(__name__)


class LastResortReporter(QObject):
    """`reported` carries a sentence for the person."""

    reported = Signal(str)

    def install(self) -> None:
        sys.excepthook = self._on_exception

    def uninstall(self) -> None:
        sys.excepthook = sys.__excepthook__

    def handle_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The signature that `loop.set_exception_handler` wants."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self._report(error, str(context.get("message", "")))
        else:
            log.error("event loop: %s", context.get("message"))

    def _on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        self._report(error, "An error reached the last resort")

    def _report(self, error: BaseException, where: str) -> None:
        log.error("%s", where or "unexpected error", exc_info=(type(error), error, error.__traceback__))
        self.reported.emit(f"Something unexpected happened: {type(error).__name__}: {error}")
