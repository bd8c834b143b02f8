"""An engine without models: it writes a given text in real verify steps, as fast or as slowly as a test wants.

Subclasses the ports' Protocols, so that a change of theirs breaks the type check and not a test's meaning.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from chatapp.domain.errors import ChatappError
from chatapp.domain.events import EndReason, RunEvent, RunStarted
from chatapp.domain.ports import (
    EngineCapabilities,
    EnginePort,
    LoadProgress,
    PairInfo,
    PairLocation,
    RunHandle,
    StorePort,
)
from chatapp.domain.record import Conversation
from chatapp.domain.request import GenerationRequest
from tests.helpers.records import RunScript, environment, words

REPLY = "The window k is the number of tokens that one pass of the target can yield."
BUILTIN = PairLocation("scripted pair", Path("target"), Path("draft"))
ACCEPTORS = (
    ("rejection", True, "Keeps a draft with probability min(1, target / draft)"),
    ("coupled", True, "One text for a seed, whatever k is"),
    ("typical", False, "Keeps what looks typical; faster, and not exact"),
)
DRAFTERS = (
    ("model", "The draft model proposes"),
    ("ngram", "What followed the same words before is proposed"),
)
POLICIES = (("fixed", "Every window is as long as the slider says"), ("adaptive", "Drafts while it pays"))
LOSSLESS = {name: lossless for name, lossless, _ in ACCEPTORS}


class ScriptedRun(RunHandle):
    """One reply. Each batch is one verify step; with `hold` a batch passes only when `let_pass` is called."""

    def __init__(self, request: GenerationRequest, text: str, *, hold: bool) -> None:
        self.request = request
        self.windows: list[int] = []
        self.toggles: list[bool] = []
        self.acceptors: list[str] = []
        self.policies: list[str] = []
        self.cancelled = False
        self.fail_with = ""
        self._window = request.window
        self._speculation = request.speculation
        self._acceptor = request.acceptor
        self._policy = request.policy
        self.events_first: list[RunEvent] = []
        self._words = words(text)
        self._hold = hold
        self._permits = asyncio.Semaphore(0)

    def set_window(self, k: int) -> None:
        self.windows.append(k)
        self._window = k

    def set_speculation(self, on: bool) -> None:
        self.toggles.append(on)
        self._speculation = on

    def set_acceptor(self, name: str) -> None:
        self.acceptors.append(name)
        self._acceptor = name

    def set_policy(self, name: str) -> None:
        self.policies.append(name)
        self._policy = name

    def cancel(self) -> None:
        self.cancelled = True
        self._permits.release()

    def let_pass(self, batches: int = 1) -> None:
        for _ in range(batches):
            self._permits.release()

    def let_all_pass(self) -> None:
        self._hold = False
        self._permits.release()

    async def __aiter__(self) -> AsyncIterator[Sequence[RunEvent]]:
        script = RunScript(
            self.request.messages[-1].content,
            window=self._window,
            speculation=self._speculation,
            policy=self._policy,
        )
        started = script.events[0]
        assert isinstance(started, RunStarted)
        script.events[0] = dataclasses.replace(
            started,
            request=self.request,
            acceptor=self._acceptor,
            lossless=LOSSLESS[self._acceptor],
            drafter=self.request.drafter,
        )
        script.events += self.events_first
        left = list(self._words)
        sent = len(script.events) if self.events_first else 0
        if sent:
            yield tuple(script.events)
        while left:
            await self._turn()
            if self._broken_off():
                break
            left = self._step(script, left)
            yield tuple(script.events[sent:])
            sent = len(script.events)
        if self.fail_with:
            script.end(EndReason.FAILED, error=self.fail_with)
        else:
            script.end(EndReason.CANCELLED if self.cancelled else EndReason.END_OF_TEXT)
        await asyncio.sleep(0)
        yield tuple(script.events[sent:])

    def _broken_off(self) -> bool:
        return self.cancelled or bool(self.fail_with)

    async def _turn(self) -> None:
        if self._hold:
            await self._permits.acquire()
        else:
            await asyncio.sleep(0)

    def _step(self, script: RunScript, left: list[str]) -> list[str]:
        script.set_window(self._window).set_speculation(self._speculation).set_policy(self._policy)
        script.set_acceptor(self._acceptor, LOSSLESS[self._acceptor])
        if len(left) == len(self._words):
            script.first(left[0])
            return left[1:]
        if not self._speculation:
            script.plain(left[0])
            return left[1:]
        kept = min(self._window - 1, len(left) - 1)
        whole = kept == self._window - 1
        rejected = None if whole else " else"
        script.verify(left[:kept], left[kept], rejected=rejected, source=self.request.drafter)
        return left[kept + 1 :]


class ScriptedEngine(EnginePort):
    """`refusals` are raised by the next starts, one each; `load_error` by `load`; `hold` makes runs wait for the test.

    `events_first` come in every run before its first token; `capabilities` may be replaced before `load`.
    """

    def __init__(self, text: str = REPLY, *, hold: bool = False, can_speculate: bool = True) -> None:
        self.text = text
        self.hold = hold
        self.refusals: list[ChatappError] = []
        self.load_error: ChatappError | None = None
        self.runs: list[ScriptedRun] = []
        self.loaded: list[PairLocation] = []
        self.closed = False
        self.capabilities = EngineCapabilities(
            windows=tuple(range(1, 17)),
            acceptors=ACCEPTORS,
            context_limit=2048,
            can_speculate=can_speculate,
            drafters=DRAFTERS,
            policies=POLICIES,
        )
        self.events_first: list[RunEvent] = []
        self._can_speculate = can_speculate

    async def load(self, pair: PairLocation, on_progress: Callable[[LoadProgress], None]) -> PairInfo:
        on_progress(LoadProgress(0.5, "Reading the target's weights"))
        await asyncio.sleep(0)
        if self.load_error is not None:
            raise self.load_error
        self.loaded.append(pair)
        return PairInfo(pair, environment(draft=self._can_speculate), self.capabilities)

    async def start(self, request: GenerationRequest) -> ScriptedRun:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        run = ScriptedRun(request, self.text, hold=self.hold)
        run.events_first = list(self.events_first)
        self.runs.append(run)
        return run

    def close(self) -> None:
        self.closed = True


class MemoryStore(StorePort):
    """Keeps what it is given, as a database would."""

    def __init__(self, last: Conversation | None = None) -> None:
        self.events: dict[int, list[RunEvent]] = {}
        self.closed = False
        self._last = last

    def begin_turn(self, conversation: Conversation, turn_index: int) -> None:
        self.events[turn_index] = []

    def append(self, conversation: Conversation, turn_index: int, events: Sequence[RunEvent]) -> None:
        self.events[turn_index].extend(events)

    def latest(self) -> Conversation | None:
        return self._last

    def close(self) -> None:
        self.closed = True
