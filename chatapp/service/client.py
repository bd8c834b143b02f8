"""The engine as the window sees it: an implementation of `ports.EnginePort` over the engine thread.

Everything here runs on the GUI thread's event loop except the functions whose names begin with `_on_thread`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from chatapp.domain.errors import ChatappError, EngineBusy, EngineNotReady, LoadFailed, RequestError
from chatapp.domain.events import EndReason, RunEnded, RunEvent, StepCommitted
from chatapp.domain.ports import LoadProgress, PairInfo, PairLocation
from chatapp.domain.request import GenerationRequest
from chatapp.service.mailbox import Mailbox
from chatapp.service.placement import apart
from chatapp.service.worker import Worker

if TYPE_CHECKING:
    from chatapp.engine.control import RunControl
    from chatapp.engine.session import Engine, PreparedRun

log = logging.getLogger(__name__)
T = TypeVar("T")
CLOSE_TIMEOUT_S = 3.0
FRAME_S = 1 / 30
"""Batches reach the window at most this often: a verify step of a small pair takes 3 ms, a screen shows 30 frames a second.
Whoever knows the screen sets another pace (`EngineClient.frame_s`)."""


class EngineRun:
    """Implements `ports.RunHandle`. Iterate once."""

    def __init__(
        self,
        control: RunControl,
        loop: asyncio.AbstractEventLoop,
        frame_s: Callable[[], float] = lambda: FRAME_S,
    ) -> None:
        self._control = control
        self._frame_s = frame_s
        self._arrived = asyncio.Event()
        self.mailbox: Mailbox[RunEvent] = Mailbox(lambda: _post(loop, self._arrived.set))
        self.finished = False

    @property
    def cancelled(self) -> bool:
        return self._control.cancelled

    def set_window(self, k: int) -> None:
        self._control.set_window(k)

    def set_speculation(self, on: bool) -> None:
        self._control.set_speculation(on)

    def set_acceptor(self, name: str) -> None:
        self._control.set_acceptor(name)

    def set_policy(self, name: str) -> None:
        self._control.set_policy(name)

    def cancel(self) -> None:
        self._control.cancel()

    async def __aiter__(self) -> AsyncIterator[Sequence[RunEvent]]:
        loop = asyncio.get_running_loop()
        due = 0.0
        while True:
            await self._arrived.wait()
            # The first event goes through at once, what follows it waits for the next frame.
            await asyncio.sleep(max(due - loop.time(), 0.0))
            due = loop.time() + self._frame_s()
            self._arrived.clear()
            batch = self.mailbox.drain()
            if batch:
                yield batch
                if isinstance(batch[-1], RunEnded):
                    return


class EngineClient:
    """Implements `ports.EnginePort`. The thread starts with the first load; torch is imported there and then.

    `frame_s` is the least time between two batches, in s; a change counts from the next batch on.
    """

    def __init__(self, make_engine: Callable[[], Engine] | None = None) -> None:
        self.frame_s = FRAME_S
        self._make_engine = make_engine or _default_engine
        self._engine: Engine | None = None
        self._worker: Worker | None = None
        self._closed = False
        self._run: EngineRun | None = None
        self._loading = 0

    async def load(self, pair: PairLocation, on_progress: Callable[[LoadProgress], None]) -> PairInfo:
        """Raises `ModelError`, or `EngineBusy` while a reply runs or begins."""
        self._refuse_while_running()
        loop = asyncio.get_running_loop()

        def on_thread() -> PairInfo:
            _post(loop, lambda: on_progress(LoadProgress(0.0, "Starting the engine")))
            if self._engine is None:
                self._engine = self._make_engine()
            return self._engine.load(pair, lambda step: _post(loop, lambda: on_progress(step)))

        self._loading += 1
        try:
            return await self._call(on_thread, _as_load_failure)
        finally:
            self._loading -= 1

    async def start(self, request: GenerationRequest) -> EngineRun:
        """Raises `RequestError` before any event. A stopped run that has not ended yet is waited for by the thread.

        The thread goes from the request's check into the reply by itself: a slow screen is no part of TTFT.
        """
        self._refuse_while_running()
        loop = asyncio.get_running_loop()
        engine = self._engine
        if engine is None or self._loading:
            what = "The pair is still loading." if self._loading else "No model pair is loaded yet."
            raise EngineNotReady(what, remedy="Wait until loading has finished.")
        from chatapp.engine.control import RunControl

        control = RunControl.of(request)
        run = self._run = EngineRun(control, loop, lambda: self.frame_s)
        window_thread = threading.get_native_id()

        def prepare() -> PreparedRun:
            try:
                return engine.prepare(request)
            except BaseException:
                run.finished = True
                raise

        try:
            await self._call(
                prepare,
                _as_request_failure,
                lambda prepared: _on_thread_run(engine, prepared, control, run),
                lambda: apart(window_thread, engine.compute_threads),
            )
        except asyncio.CancelledError:
            run.cancel()  # nobody is left to read it
            raise
        return run

    def close(self) -> None:
        self._closed = True
        if self._run is not None:
            self._run.cancel()
        worker, self._worker = self._worker, None
        if worker is not None and not worker.stop(CLOSE_TIMEOUT_S):
            log.warning("the engine thread did not end within %.0f s", CLOSE_TIMEOUT_S)

    def _refuse_while_running(self) -> None:
        run = self._run
        if run is not None and not run.finished and not run.cancelled:
            raise EngineBusy("A reply is still running.", remedy="Stop it first (Esc).")

    def _submit(self, job: Callable[[], None]) -> None:
        if self._closed:
            raise EngineNotReady("The engine is closed.")
        if self._worker is None:
            self._worker = Worker("chatapp-engine")
        self._worker.submit(job)

    async def _call(
        self,
        job: Callable[[], T],
        translate: Callable[[Exception], Exception],
        then: Callable[[T], None] = lambda _: None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> T:
        """Run `job` on the engine thread and give its result or its error back here; the thread goes on with `then`. Both run
        within `around`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def deliver(result: T | None, error: Exception | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # a result is there when no error is

        def on_thread() -> None:
            with around():
                try:
                    result = job()
                except Exception as error:  # noqa: BLE001 - the thread's border: every error travels to who asked
                    failure = translate(error)
                    _post(loop, lambda: deliver(None, failure))
                else:
                    _post(loop, lambda: deliver(result, None))
                    then(result)

        self._submit(on_thread)
        return await future


def _default_engine() -> Engine:
    from chatapp.engine.session import Engine

    return Engine()


def _on_thread_run(engine: Engine, prepared: PreparedRun, control: RunControl, run: EngineRun) -> None:
    """Pump a run's events into its mailbox; whatever happens, the last one is a `RunEnded`."""
    last: StepCommitted | None = None
    try:
        for event in engine.run(prepared, control):
            if isinstance(event, StepCommitted):
                last = event
            elif isinstance(event, RunEnded):
                run.finished = True
            run.mailbox.put(event)
    except Exception as error:  # the thread's border: a defect in the engine ends the run, not the window
        log.exception("a run failed")
        run.finished = True
        ended_ns, visible = (last.ended_ns, last.visible_chars) if last is not None else (0, 0)
        run.mailbox.put(
            RunEnded(EndReason.FAILED, ended_ns, "", visible, 0, 0, f"The engine failed: {error!r}")
        )


def _as_load_failure(error: Exception) -> Exception:
    if isinstance(error, ChatappError):
        return error
    log.error("loading failed", exc_info=error)
    return LoadFailed(f"Loading failed: {error!r}", remedy="See the log for details.")


def _as_request_failure(error: Exception) -> Exception:
    """Whoever asked waits for a `RequestError`: anything else would leave the window waiting for a reply."""
    if isinstance(error, ChatappError):
        return error
    log.error("a request could not be prepared", exc_info=error)
    return RequestError(f"The request could not be prepared: {error!r}", remedy="See the log for details.")


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Run `callback` on the loop's thread; nothing when the loop is already gone (the window closed)."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        log.debug("event loop is closed; a message was dropped")
