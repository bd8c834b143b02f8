"""The engine thread and its client, with a real engine thread, a real event loop and the toy backend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chatapp.domain.errors import (
    ContextOverflow,
    EngineBusy,
    EngineNotReady,
    LoadFailed,
    ModelNotFound,
    RequestError,
)
from chatapp.domain.events import EndReason, PrefillProgress, RunEnded, RunEvent, StepCommitted
from chatapp.domain.ports import PairLocation
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.contracts import Control
from chatapp.engine.session import Engine, PreparedRun
from chatapp.service.client import EngineClient, EngineRun
from chatapp.service.mailbox import Mailbox
from tests.helpers.toys import toy_engine

LOCATION = PairLocation("toy", Path("target"), Path("draft"))


class LoadedEngine(Engine):
    """The toy engine behind the real interface: `load` finds it loaded."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self._pair = toy_engine().pair
        self._broken = broken

    def load(self, location: PairLocation, on_progress: object) -> object:  # type: ignore[override]  # nothing to report
        if location.name == "missing":
            raise ModelNotFound("There is no directory missing.")
        if location.name == "defect":
            raise ZeroDivisionError("a defect")
        return self.pair.info

    def run(self, prepared: PreparedRun, control: Control) -> Iterator[RunEvent]:
        for event in super().run(prepared, control):
            yield event
            if self._broken and isinstance(event, StepCommitted) and event.index == 2:
                raise ZeroDivisionError("a defect")


def request(max_tokens: int = 40, text: str = "hello") -> GenerationRequest:
    sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=max_tokens)
    return GenerationRequest((Message(Role.USER, text),), sampling)


@asynccontextmanager
async def client(engine: Engine | None = None) -> AsyncIterator[EngineClient]:
    engine = engine or LoadedEngine()
    made = EngineClient(lambda: engine)
    try:
        yield made
    finally:
        made.close()


async def collect(run: EngineRun) -> RunRecord:
    record = RunRecord()
    async for batch in run:
        for event in batch:
            record.apply(event)
    return record


def test_a_reply_arrives_whole_and_in_order() -> None:
    async def story() -> RunRecord:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)
            return await collect(await engine.start(request()))

    record = asyncio.run(story())
    assert record.ended is not None
    assert record.token_count == 40


def test_models_are_touched_on_the_engine_thread_only_and_it_ends_with_close() -> None:
    before = threading.active_count()

    async def story() -> tuple[int, bool]:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)
            await collect(await engine.start(request()))
            names = {thread.name for thread in threading.enumerate()}
            return threading.active_count(), "chatapp-engine" in names

    during, named = asyncio.run(story())
    assert named
    assert during == before + 1
    assert threading.active_count() == before


class HeldEngine(LoadedEngine):
    """Waits behind the third verify step until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def run(self, prepared: PreparedRun, control: Control) -> Iterator[RunEvent]:
        for event in super().run(prepared, control):
            yield event
            if isinstance(event, StepCommitted) and event.index == 3:
                self.reached.set()
                assert self.go_on.wait(10)


def test_every_switch_acts_at_the_next_verify_step() -> None:
    held = HeldEngine()

    async def story() -> RunRecord:
        async with client(held) as engine:
            await engine.load(LOCATION, lambda _: None)
            run = await engine.start(request(max_tokens=120))
            assert await asyncio.to_thread(held.reached.wait, 10)
            run.set_window(9)
            run.set_acceptor("block")
            run.set_policy("adaptive")
            held.go_on.set()
            return await collect(run)

    record = asyncio.run(story())
    for step in record.steps[1:]:
        changed = step.index > 3
        assert step.window_asked == (9 if changed else 5)
        assert step.acceptor == ("block" if changed else "rejection")
        assert step.choice is not None
        assert step.choice.policy == ("adaptive" if changed else "fixed")


def test_the_toggle_acts_at_the_next_verify_step() -> None:
    held = HeldEngine()

    async def story() -> RunRecord:
        async with client(held) as engine:
            await engine.load(LOCATION, lambda _: None)
            run = await engine.start(request(max_tokens=60))
            assert await asyncio.to_thread(held.reached.wait, 10)
            run.set_speculation(False)
            held.go_on.set()
            return await collect(run)

    record = asyncio.run(story())
    assert [step.speculation for step in record.steps[:6]] == [True] * 4 + [False] * 2
    assert all(step.window == 1 for step in record.steps[4:])


def test_start_before_load_is_refused() -> None:
    async def story() -> None:
        async with client() as engine:
            await engine.start(request())

    with pytest.raises(EngineNotReady):
        asyncio.run(story())


def test_a_second_start_is_refused_while_a_reply_runs_and_allowed_after_a_stop() -> None:
    async def story() -> tuple[RunRecord, RunRecord]:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)
            first = await engine.start(request(max_tokens=400))
            with pytest.raises(EngineBusy):
                await engine.start(request())
            first.cancel()
            second = await engine.start(request(max_tokens=5))
            return await collect(first), await collect(second)

    first, second = asyncio.run(story())
    assert first.ended is not None
    assert first.ended.reason in (EndReason.CANCELLED, EndReason.MAX_TOKENS)
    assert second.token_count == 5


def test_context_overflow_comes_before_any_event_and_leaves_the_engine_usable() -> None:
    async def story() -> int:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)
            with pytest.raises(ContextOverflow) as caught:
                await engine.start(request(text="x" * 5000))
            assert caught.value.excess_tokens == caught.value.prompt_tokens - caught.value.limit_tokens > 0
            return (await collect(await engine.start(request(max_tokens=3)))).token_count

    assert asyncio.run(story()) == 3


@pytest.mark.parametrize(("name", "error"), [("missing", ModelNotFound), ("defect", LoadFailed)])
def test_load_errors_reach_who_asked(
    name: str, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with client() as engine:
            await engine.load(PairLocation(name, Path(), None), lambda _: None)

    with caplog.at_level("CRITICAL"), pytest.raises(error):
        asyncio.run(story())


def test_a_request_that_cannot_be_prepared_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The window waits for a `RequestError`; at any other it would wait for the reply for ever."""
    real = LoadedEngine.prepare

    def prepare(self: LoadedEngine, asked: GenerationRequest) -> PreparedRun:
        if asked.messages[-1].content == "odd":
            raise ZeroDivisionError("a defect")
        return real(self, asked)

    monkeypatch.setattr(LoadedEngine, "prepare", prepare)

    async def story() -> int:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)
            with pytest.raises(RequestError, match="a defect"):
                await engine.start(request(text="odd"))
            return (await collect(await engine.start(request(max_tokens=3)))).token_count

    with caplog.at_level("CRITICAL"):
        assert asyncio.run(story()) == 3


def test_the_thread_goes_into_the_reply_without_a_look_at_the_loop() -> None:
    """TTFT counts from the request's check: a screen that is busy meanwhile must not enter it."""
    stepped = threading.Event()

    class Told(LoadedEngine):
        def run(self, prepared: PreparedRun, control: Control) -> Iterator[RunEvent]:
            for event in super().run(prepared, control):
                if isinstance(event, StepCommitted):
                    stepped.set()
                yield event

    async def story() -> int:
        async with client(Told()) as engine:
            await engine.load(LOCATION, lambda _: None)
            starting = asyncio.ensure_future(engine.start(request(max_tokens=3)))
            await asyncio.sleep(0)  # the request is handed over; from here on the loop stands still
            assert stepped.wait(10)
            return (await collect(await starting)).token_count

    assert asyncio.run(story()) == 3


def test_a_start_that_nobody_waits_for_is_stopped() -> None:
    async def story() -> int:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)
            starting = asyncio.ensure_future(engine.start(request(max_tokens=400)))
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            return (await collect(await engine.start(request(max_tokens=3)))).token_count

    assert asyncio.run(story()) == 3


def test_a_load_never_comes_between_a_requests_check_and_its_reply() -> None:
    """The ids of a request are those of the pair that it was checked against."""

    async def story() -> tuple[list[type[BaseException] | None], list[type[BaseException] | None]]:
        async with client() as engine:
            await engine.load(LOCATION, lambda _: None)

            async def load() -> None:
                await engine.load(LOCATION, lambda _: None)

            async def chat() -> None:
                await collect(await engine.start(request(max_tokens=3)))

            start_first = await asyncio.gather(chat(), load(), return_exceptions=True)
            load_first = await asyncio.gather(load(), chat(), return_exceptions=True)
            await chat()
            return (
                [type(result) if result is not None else None for result in start_first],
                [type(result) if result is not None else None for result in load_first],
            )

    assert asyncio.run(story()) == ([None, EngineBusy], [None, EngineNotReady])


def test_a_defect_in_the_engine_ends_the_run_with_a_failure_and_keeps_the_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> RunRecord:
        async with client(LoadedEngine(broken=True)) as engine:
            await engine.load(LOCATION, lambda _: None)
            return await collect(await engine.start(request()))

    with caplog.at_level("CRITICAL"):
        record = asyncio.run(story())
    assert record.ended is not None
    assert record.ended.reason is EndReason.FAILED
    assert "a defect" in record.ended.error
    assert len(record.text) == record.steps[-1].visible_chars > 0


def test_close_in_mid_run_cancels_it() -> None:
    async def story() -> RunRecord:
        engine = EngineClient(LoadedEngine)
        await engine.load(LOCATION, lambda _: None)
        run = await engine.start(request(max_tokens=450))
        engine.close()
        return await collect(run)

    record = asyncio.run(story())
    assert record.ended is not None


def test_nothing_starts_again_after_close() -> None:
    async def story() -> None:
        engine = EngineClient(LoadedEngine)
        await engine.load(LOCATION, lambda _: None)
        engine.close()
        await engine.start(request())

    with pytest.raises(EngineNotReady, match="closed"):
        asyncio.run(story())


def test_the_mailbox_wakes_once_per_drain() -> None:
    wakes: list[int] = []
    box: Mailbox[int] = Mailbox(lambda: wakes.append(1))
    for value in range(5):
        box.put(value)
    assert len(wakes) == 1
    assert box.drain() == [0, 1, 2, 3, 4]
    box.put(5)
    assert len(wakes) == 2
    assert box.drain() == [5]
    assert box.drain() == []


def test_the_mailbox_loses_nothing_between_two_threads() -> None:
    woken = threading.Event()
    box: Mailbox[int] = Mailbox(woken.set)

    def write() -> None:
        for value in range(20_000):
            box.put(value)

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[int] = []
    while len(seen) < 20_000:
        assert woken.wait(10), "a wake-up was lost"
        woken.clear()
        seen += box.drain()
    writer.join()
    assert seen == list(range(20_000))


def test_events_after_the_loop_has_gone_are_dropped_quietly() -> None:
    loop = asyncio.new_event_loop()
    from chatapp.engine.control import RunControl

    run = EngineRun(RunControl(5, True), loop)
    loop.close()
    run.mailbox.put(RunEnded(EndReason.CANCELLED, 0, "", 0, 0, 0))
    assert len(run.mailbox.drain()) == 1


def test_a_new_pace_counts_from_the_next_batch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def fake_sleep(seconds: float) -> None:
        slept.append(seconds)

    async def story() -> None:
        from chatapp.engine.control import RunControl

        paces = [1000.0]
        run = EngineRun(RunControl(5, True), asyncio.get_running_loop(), lambda: paces[0])
        batches = run.__aiter__()
        last = RunEnded(EndReason.CANCELLED, 0, "", 0, 0, 0)
        for pace in (1000.0, 5000.0, 9000.0):
            run.mailbox.put(PrefillProgress(1, 2))
            await batches.__anext__()
            paces[0] = pace + 4000.0
        run.mailbox.put(last)
        await batches.__anext__()

    monkeypatch.setattr("chatapp.service.client.asyncio.sleep", fake_sleep)
    asyncio.run(story())
    assert slept[0] == 0.0
    assert slept[1:] == pytest.approx([1000.0, 5000.0, 9000.0], abs=900.0)
