"""Whole replies in a rehearsal: on a clock that only launches move, a record's times are the published ones, launch by launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chatapp import __version__
from chatapp.domain.errors import DeviceUnavailable
from chatapp.domain.events import Notice
from chatapp.domain.metrics import run_metrics
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.record import RunRecord
from chatapp.domain.rehearsal import rehearsed_pair
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends import emulator
from chatapp.engine.backends.emulator import nxdi
from chatapp.engine.backends.emulator.pacing import LaunchPacer
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine
from chatapp.resources import builtin_pair
from tests.helpers.clocks import StandingClock

REHEARSED = NeuronSettings("tnx", rehearse="trn1.32xlarge", rehearse_pair="llama-2-70b+7b")
STORY = (Message(Role.USER, "Tell me a story about a fox"),)
LOOK_MS = 0.03
"""By so much a launch may end late on the standing clock."""


@pytest.fixture(autouse=True)
def fresh_emulator() -> Iterator[None]:
    with emulator.installed():
        yield
    nxdi.uninstall()


@pytest.fixture
def clock() -> StandingClock:
    clock = StandingClock()
    emulator.launches.pacer = LaunchPacer(clock.now_ns, clock.sleep)
    return clock


def opened(clock: StandingClock, settings: NeuronSettings = REHEARSED) -> Engine:
    engine = Engine(threads=1, clock=clock)
    engine.load(replace(builtin_pair(), neuron=settings), lambda _: None)
    return engine


def reply(engine: Engine, window: int, *, tokens: int = 25) -> RunRecord:
    request = GenerationRequest(
        STORY, SamplingSettings(temperature=0.0, max_tokens=tokens), window, speculation=window > 1
    )
    record = RunRecord()
    for event in engine.run(engine.prepare(request), RunControl.of(request)):
        record.apply(event)
    return record


@pytest.mark.parametrize(("pair", "token_ms"), [("llama-2-70b+7b", 20.6), ("llama-3-70b+8b", 21.4)])
def test_plain_decoding_takes_the_published_time_per_token(
    clock: StandingClock, pair: str, token_ms: float
) -> None:
    engine = opened(clock, replace(REHEARSED, rehearse_pair=pair))
    metrics = run_metrics(reply(engine, 1))
    assert metrics.tokens == 25
    assert metrics.tpot_s == pytest.approx(token_ms / 1e3, abs=LOOK_MS / 1e3)


def test_a_verify_step_takes_its_drafts_and_its_window(clock: StandingClock) -> None:
    pair = rehearsed_pair("trn1.32xlarge")
    record = reply(opened(clock), 4)
    steps = [step for step in record.steps[2:] if step.window == 4]
    assert len(steps) > 4
    for step, before in zip(steps[1:], steps, strict=False):
        launches = 3 + (before.accepted == 3)  # a draft that was never fed is fed first
        assert step.draft_ns / 1e6 == pytest.approx(launches * pair.draft.token_ms, abs=launches * LOOK_MS)
        assert step.verify_ns / 1e6 == pytest.approx(pair.target.window_ms(4), abs=LOOK_MS)


def test_speculation_pays_as_its_launches_say(clock: StandingClock) -> None:
    engine = opened(clock)
    plain, speculative = run_metrics(reply(engine, 1, tokens=60)), run_metrics(reply(engine, 4, tokens=60))
    assert plain.tpot_s is not None
    assert speculative.tpot_s is not None
    assert 1.2 < plain.tpot_s / speculative.tpot_s < speculative.mean_acceptance_length  # type: ignore[operator]  # k 4 drafted


def test_every_launch_of_a_run_is_paced(clock: StandingClock) -> None:
    engine = opened(clock)
    before = sum(sum(counts.values()) for counts in emulator.launches._counts.values())
    reply(engine, 5)
    pacer = emulator.launches.pacer
    assert isinstance(pacer, LaunchPacer)
    after = sum(sum(counts.values()) for counts in emulator.launches._counts.values())
    assert pacer.paced.launches == after - before > 20


def test_the_record_says_what_it_is(clock: StandingClock) -> None:
    record = reply(opened(clock), 3, tokens=4)
    assert record.started is not None
    environment = record.started.environment
    assert environment.simulated
    assert environment.device == "rehearsal: simulated trn1.32xlarge, paced as Llama-2-70B + Llama-2-7B"
    assert ("transformers-neuronx", f"emulated by chatapp {__version__}") in environment.versions
    assert record.notices == []


def test_a_slow_computer_is_admitted_in_the_record(clock: StandingClock) -> None:
    engine = opened(clock)
    pacer = emulator.launches.pacer
    assert isinstance(pacer, LaunchPacer)
    slow = LaunchPacer(clock.now_ns, lambda seconds: clock.sleep(seconds + 0.001))
    pacer._sleep = slow._sleep
    [notice] = reply(engine, 1, tokens=5).notices
    assert notice.code == "device"
    assert notice.message.startswith("5 of 5 launches took longer on this computer than was published")
    pacer._sleep = clock.sleep
    assert reply(engine, 1, tokens=5).notices == []


def test_the_other_library_is_paced_too(clock: StandingClock) -> None:
    engine = opened(clock, replace(REHEARSED, library="nxdi", positions=256))
    record = reply(engine, 1, tokens=5)
    window_ms = rehearsed_pair("trn1.32xlarge").target.window_ms(16)
    assert run_metrics(record).tpot_s == pytest.approx(window_ms / 1e3, abs=LOOK_MS / 1e3)
    assert record.started is not None
    assert record.started.environment.device.startswith("rehearsal: simulated trn1.32xlarge")


def test_without_a_pair_the_emulator_runs_as_it_can(clock: StandingClock) -> None:
    record = reply(opened(clock, replace(REHEARSED, rehearse_pair="")), 1, tokens=4)
    assert run_metrics(record).decode_ns == 0
    assert record.started is not None
    assert record.started.environment.device == "emulated NeuronCores"
    assert record.simulated
    assert not any(isinstance(event, Notice) for event in record.notices)


def test_nothing_is_prepared_and_nothing_needs_to_be(clock: StandingClock) -> None:
    told: list[str] = []
    engine = Engine(threads=1, clock=clock)
    engine.load(replace(builtin_pair(), neuron=REHEARSED), lambda progress: told.append(progress.message))
    assert told[-1] == "Ready"


def test_what_was_not_published_is_refused_before_anything_loads(clock: StandingClock) -> None:
    with pytest.raises(
        DeviceUnavailable, match=r"No latencies .* for trn1.2xlarge. There is: .*trn1.32xlarge"
    ):
        opened(clock, replace(REHEARSED, rehearse="trn1.2xlarge"))
