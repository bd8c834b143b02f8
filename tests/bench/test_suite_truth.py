"""Suites that judge: each must see what was planted for it to see."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chatapp.bench import exact, jitter, soak, switches
from chatapp.bench.prompts import varied_prompt
from chatapp.bench.suites import SuiteOptions
from chatapp.domain.events import EndReason, Notice, RunEnded, RunEvent, StepCommitted
from chatapp.domain.request import GenerationRequest, SamplingSettings
from chatapp.engine.contracts import Control
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine
from chatapp.resources import builtin_pair
from tests.helpers.toys import toy_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine(threads=1, device="cpu")
    engine.load(builtin_pair(), lambda _: None)
    return engine


def step(index: int, started_ms: float, ended_ms: float, *, window: int = 5, asked: int = 5) -> StepCommitted:
    return StepCommitted(
        index=index,
        window=window,
        window_asked=asked,
        speculation=True,
        drafted=(),
        tokens=(),
        accepted=0,
        started_ns=int(started_ms * 1e6),
        ended_ns=int(ended_ms * 1e6),
        draft_ns=0,
        verify_ns=0,
        sample_ns=0,
        host_ns=0,
        visible_chars=0,
    )


def ended(at_ms: float) -> RunEnded:
    return RunEnded(EndReason.MAX_TOKENS, int(at_ms * 1e6), "", 0, 0, 0)


# -- exact ----------------------------------------------------------------------------------------------------------


def test_exact_on_the_built_in_pair(capsys: pytest.CaptureFixture[str]) -> None:
    result = exact.run_suite(SuiteOptions(replies=5, max_tokens=12))
    assert [(row["dtype"], row["replies"]) for row in result["rows"]] == [("float32", 3), ("bfloat16", 2)]
    for row in result["rows"]:
        assert row["identical"] == row["replies"]
        assert row["accepted"] > 0
    assert result["bars"][0]["met"]
    assert "5 of 5 compared, 0 differ" in capsys.readouterr().out


def test_exact_sees_one_token_that_differs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: speculation with k = 2 (reply 0's) writes another fifth token."""
    write = exact._write

    def faulty(engine: Engine, request: GenerationRequest, control: Control) -> tuple[list[int], int]:
        ids, kept = write(engine, request, control)
        if isinstance(control, RunControl) and control.speculation:
            ids[4] += 1
        return ids, kept

    monkeypatch.setattr(exact, "_write", faulty)
    found, _ = exact.compare(engine, 0, "bfloat16", 8)
    assert [(difference.how, difference.at) for difference in found] == [("k = 2", 4)]


def test_a_reply_that_differs_is_counted_once_and_fails_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    differences = tuple(exact.Difference(3, "float32", "coupled", how, 7) for how in ("k = 3", "changing"))
    outcomes = [
        exact.Outcome("float32", "float32", 10, 9, 40, differences),
        exact.Outcome("bfloat16", "bfloat16", 10, 10, 40),
    ]
    result = exact.report(outcomes)
    assert result["bars"][0]["value"] == 19
    assert not result["bars"][0]["met"]
    assert "reply 3, float32, coupled, k = 3: parts at token 7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1, 2], [1], 1), ([], [4], 0), ([], [], None)],
)
def test_where_two_replies_part(one: list[int], other: list[int], at: int | None) -> None:
    assert exact.first_difference(one, other) == at


def test_random_switches_reach_every_window_and_both_positions_of_the_toggle() -> None:
    control = exact.RandomSwitches(0, ["fixed"])
    assert {control.window for _ in range(400)} == set(range(1, 17))
    assert {control.speculation for _ in range(100)} == {True, False}


# -- jitter ---------------------------------------------------------------------------------------------------------


def test_jitter_sees_a_planted_slow_step() -> None:
    steps = jitter.Steps()
    steps.add(step(index, 10.0 * index, 10.0 * index + 2.0) for index in range(2, 60))
    assert steps.p99 == pytest.approx(1.0)
    steps.add([step(60, 600.0, 610.0)])
    assert steps.p99 == pytest.approx(5.0)


def test_prefill_and_rare_windows_are_no_jitter() -> None:
    steps = jitter.Steps()
    events: list[RunEvent] = [step(0, 0.0, 500.0), step(1, 500.0, 700.0)]
    events += [step(index, 10.0 * index, 10.0 * index + 2.0) for index in range(2, 10)]
    # Large windows take longer by nature; each is held against its own kind.
    events += [step(index, 10.0 * index, 10.0 * index + 6.0, window=16) for index in range(10, 18)]
    events += [step(18, 180.0, 199.0, window=9), Notice("threads", "one thread fewer", 5)]
    steps.add(events)
    assert steps.p99 == pytest.approx(1.0)
    assert len(steps.relative()) == 16
    assert steps.notices == ["one thread fewer"]


def test_jitter_runs_both_sides_and_ends_its_busy_process(capsys: pytest.CaptureFixture[str]) -> None:
    result = jitter.run_suite(SuiteOptions(threads=1, rounds=1, prompts=1, kinds=("story",), max_tokens=40))
    assert result["quiet"]["steps"] > 0
    assert result["disturbed"]["steps"] == result["quiet"]["steps"]
    assert result["bars"][0]["value"] == result["disturbed"]["p99_over_median"]
    assert "one process more" in capsys.readouterr().out


# -- switches -------------------------------------------------------------------------------------------------------


def test_a_step_under_way_may_finish_and_the_next_must_obey() -> None:
    events: list[RunEvent] = [step(1, 0, 10), step(2, 10, 20, asked=2), ended(20)]
    found = switches.obeyed(events, "k", int(4e6), lambda event: event.window_asked == 2)
    assert found == switches.Obeyed("k", 1, 16.0)


def test_a_step_that_ignores_a_switch_is_counted() -> None:
    events: list[RunEvent] = [step(1, 0, 10), step(2, 10, 20), step(3, 20, 30, asked=2), ended(30)]
    found = switches.obeyed(events, "k", int(4e6), lambda event: event.window_asked == 2)
    assert found == switches.Obeyed("k", 2, 26.0)


def test_a_switch_that_is_never_shown_is_no_success() -> None:
    events: list[RunEvent] = [step(1, 0, 10), step(2, 10, 20), ended(20)]
    found = switches.obeyed(events, "k", int(4e6), lambda event: event.window_asked == 2)
    assert found is not None
    assert found.steps == 2


def test_a_stop_lets_no_step_begin() -> None:
    obedient: list[RunEvent] = [step(1, 0, 10), ended(11)]
    deaf: list[RunEvent] = [step(1, 0, 10), step(2, 10, 20), ended(21)]
    assert switches.obeyed(obedient, "stop", int(4e6), lambda _: False) == switches.Obeyed("stop", 1, 7.0)
    assert switches.obeyed(deaf, "stop", int(4e6), lambda _: False) == switches.Obeyed("stop", 2, 17.0)


def test_a_switch_behind_the_last_step_says_nothing() -> None:
    events: list[RunEvent] = [step(1, 0, 10), ended(10)]
    assert switches.obeyed(events, "k", int(12e6), lambda _: True) is None
    assert switches.obeyed(events, "stop", int(12e6), lambda _: True) is None


@pytest.mark.parametrize("kind", switches.KINDS)
def test_the_engine_obeys_a_switch_thrown_from_outside(engine: Engine, kind: str) -> None:
    """The switch falls after the second step; its stamp is read behind it, as the suite does."""
    request = GenerationRequest(varied_prompt(1), SamplingSettings(temperature=0.0, max_tokens=60), window=5)
    control = RunControl.of(request)
    switch = switches.Switch(kind, control)
    prepared = engine.prepare(request)
    events: list[RunEvent] = []
    for event in engine.run(prepared, control):
        events.append(event)
        if isinstance(event, StepCommitted) and event.index == 2:
            switch.throw()
    found = switches.obeyed(events, kind, switch.set_ns - prepared.submitted_ns, switch.shown)
    assert found is not None
    assert found.steps == 1


# -- soak -----------------------------------------------------------------------------------------------------------


def test_soak_sees_what_every_run_leaves_behind(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[list[int]] = []
    result = soak.soak(lambda number: kept.append([number]), runs=2 * soak.OBJECTS, warm_up=1)
    met = {bar["what"].split()[2]: bar["met"] for bar in result["bars"]}
    assert met["objects"] is False
    assert met["files"] is not False
    assert "growth" in capsys.readouterr().out


def test_soak_sees_a_file_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    opened = []

    def leave_open(number: int) -> None:
        opened.append((tmp_path / "file").open())

    try:
        result = soak.soak(leave_open, runs=2, warm_up=1)
    finally:
        for file in opened:
            file.close()
    growth = {bar["what"].split()[2]: bar["value"] for bar in result["bars"]}
    assert growth["files"] in (2, None)


def test_a_run_that_keeps_nothing_leaves_nothing() -> None:
    result = soak.soak(lambda number: None, runs=5, warm_up=1)
    assert all(bar["met"] is not False for bar in result["bars"])


def test_runs_of_the_soak_are_of_every_kind() -> None:
    """On toys: some end by themselves, some are stopped, some are left; none fails."""
    engine = toy_engine()
    ends: list[EndReason | None] = []
    run = engine.run

    def noted(*arguments: object) -> object:
        last = None
        for event in run(*arguments):  # type: ignore[arg-type]  # handed through
            last = event
            yield event
        ends.append(last.reason if isinstance(last, RunEnded) else None)

    engine.run = noted  # type: ignore[method-assign, assignment]  # looks on
    source = random.Random(3)
    for number in range(60):
        soak.run_once(engine, source, number)
    assert {EndReason.MAX_TOKENS, EndReason.STOP_STRING, EndReason.CANCELLED} <= set(ends)
    assert EndReason.FAILED not in ends
    assert len(ends) < 60
