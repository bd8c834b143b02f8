"""Engine and window on different cores while a reply runs, on this machine's own processors."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.domain.errors import RequestError
from chatapp.domain.events import RunEvent, StepCommitted
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest
from chatapp.engine.contracts import Control
from chatapp.engine.session import PreparedRun
from chatapp.engine.threads import cores_of, physical_cores
from chatapp.service.client import EngineClient
from chatapp.service.placement import apart, halves, starting_low
from tests.service.test_client import LoadedEngine, collect, request

LOCATION = PairLocation("toy", Path("target"), Path("draft"))

several_cores = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or physical_cores() < 2, reason="needs Linux and two cores"
)


class WatchedEngine(LoadedEngine):
    """Notes where both threads may run, at every verify step."""

    def __init__(self, window: int, compute_threads: int = 1) -> None:
        super().__init__()
        self._window, self._threads_now = window, compute_threads
        self.seen: set[tuple[frozenset[int], frozenset[int]]] = set()
        self.thread = 0

    @property
    def compute_threads(self) -> int:
        return self._threads_now

    def run(self, prepared: PreparedRun, control: Control) -> Iterator[RunEvent]:
        self.thread = threading.get_native_id()
        for event in super().run(prepared, control):
            if isinstance(event, StepCommitted):
                own, windows = os.sched_getaffinity(0), os.sched_getaffinity(self._window)
                self.seen.add((frozenset(own), frozenset(windows)))
            yield event


def reply_of(engine: WatchedEngine, asked: GenerationRequest) -> tuple[set[int], set[int]]:
    """Where the window's and the engine's thread may run after a reply."""

    async def story() -> tuple[set[int], set[int]]:
        client = EngineClient(lambda: engine)
        try:
            await client.load(LOCATION, lambda _: None)
            await collect(await client.start(asked))
            await client.load(LOCATION, lambda _: None)  # behind the reply on the engine's thread
            return os.sched_getaffinity(0), os.sched_getaffinity(engine.thread)
        finally:
            client.close()

    return asyncio.run(story())


@several_cores
def test_while_a_reply_runs_no_core_is_shared_and_afterwards_all_are_free() -> None:
    before = os.sched_getaffinity(0)
    engine = WatchedEngine(threading.get_native_id())
    assert reply_of(engine, request()) == (before, before)
    ((own, windows),) = engine.seen
    assert own
    assert windows
    cores = cores_of(before)
    assert not [core for core in cores if core & own and core & windows]
    assert own | windows == before
    assert min(before) in windows


@several_cores
def test_several_compute_threads_are_left_alone() -> None:
    before = frozenset(os.sched_getaffinity(0))
    engine = WatchedEngine(threading.get_native_id(), compute_threads=2)
    reply_of(engine, request())
    assert engine.seen == {(before, before)}


@several_cores
def test_a_request_that_is_refused_leaves_both_threads_free() -> None:
    before = os.sched_getaffinity(0)
    engine = WatchedEngine(threading.get_native_id())

    async def story() -> set[int]:
        client = EngineClient(lambda: engine)
        try:
            await client.load(LOCATION, lambda _: None)
            with pytest.raises(RequestError):
                await client.start(request(text="x" * 5_000))
            await client.load(LOCATION, lambda _: None)
            return os.sched_getaffinity(0)
        finally:
            client.close()

    assert asyncio.run(story()) == before


@several_cores
def test_a_thread_that_ended_meanwhile_is_no_trouble() -> None:
    before = os.sched_getaffinity(0)
    window = threading.Event()
    thread = threading.Thread(target=window.wait)
    thread.start()
    assert thread.native_id is not None
    with apart(thread.native_id, 1):
        assert os.sched_getaffinity(0) < before
        window.set()
        thread.join()
        while Path(
            f"/proc/self/task/{thread.native_id}"
        ).exists():  # Python is done with it before the system is
            os.sched_yield()
    assert os.sched_getaffinity(0) == before


@several_cores
def test_a_system_that_refuses_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: int, _cpus: object) -> None:
        raise PermissionError("not allowed")

    before = frozenset(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    engine = WatchedEngine(threading.get_native_id())
    reply_of(engine, request())
    assert engine.seen == {(before, before)}
    with starting_low():
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("lacking", ["sched_setaffinity", "sched_getaffinity"])
def test_systems_without_a_say_in_it(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    monkeypatch.delattr(os, lacking, raising=False)
    with apart(threading.get_native_id(), 1), starting_low():
        pass


@several_cores
def test_threads_that_a_window_waits_for_stay_on_the_lower_cores() -> None:
    before = os.sched_getaffinity(0)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    try:
        with starting_low():
            thread.start()
        assert os.sched_getaffinity(0) == before
        assert thread.native_id is not None
        lower = halves(cores_of(before))
        assert lower is not None
        assert os.sched_getaffinity(thread.native_id) == lower[0]
    finally:
        end.set()
        thread.join()


def test_hyper_threads_of_a_core_stay_together() -> None:
    four = [frozenset({3, 7}), frozenset({0, 4}), frozenset({2, 6}), frozenset({1, 5})]
    assert halves(four) == (frozenset({0, 1, 4, 5}), frozenset({2, 3, 6, 7}))
    assert halves(four[:3]) == (frozenset({0, 4}), frozenset({2, 3, 6, 7})), "the engine has the more"
    assert halves(four[:1]) is None
    assert halves([]) is None
