"""The pacer alone, on a clock of the test: how long launches last, what is waited for, what counts as late."""

from __future__ import annotations

import pytest

from chatapp.domain.rehearsal import rehearsed_pair
from chatapp.engine.backends.emulator import Launch, LaunchLog
from chatapp.engine.backends.emulator.pacing import LATE_NS, LaunchPacer, PacedLaunches, pacer_of
from tests.helpers.clocks import StandingClock

PAIR = rehearsed_pair("trn1.32xlarge")
TOKEN = Launch("token", 1, 512)
NS_PER_MS = 1_000_000


class Model:
    """What a launch is charged to."""


@pytest.mark.parametrize(
    ("launch", "ms"),
    [
        (TOKEN, 20.6),
        (Launch("spec", 8, 512), 20.6 + 33.3 * 7 / 63),
        (Launch("spec", 64, 512), 53.9),
        (Launch("context", 128, 128), 53.9),
        (Launch("context", 2048, 2048), 691.0),
    ],
)
@pytest.mark.parametrize("computing_ms", [0.0, 5.0, 20.0])
def test_a_launch_lasts_as_long_as_published_whatever_it_computes(
    launch: Launch, ms: float, computing_ms: float
) -> None:
    clock, model = StandingClock(), Model()
    pacer = LaunchPacer(clock.now_ns, clock.sleep)
    pacer.assign(model, PAIR.target)
    with pacer(launch, model):
        clock.pass_ms(computing_ms)
    assert clock.now_ns() / NS_PER_MS == pytest.approx(ms, abs=0.02)
    assert pacer.paced == PacedLaunches(1, 0, 0)
    assert sum(clock.slept) * 1e3 == pytest.approx(ms - computing_ms - 0.25, abs=0.05)


def test_a_late_launch_is_counted_and_not_waited_for() -> None:
    clock, model = StandingClock(), Model()
    pacer = LaunchPacer(clock.now_ns, clock.sleep)
    pacer.assign(model, PAIR.draft)
    told = pacer.watch()
    for computing_ms in (1.0, 5.7, 3.7, 4.7, 3.7 + LATE_NS / NS_PER_MS):
        with pacer(TOKEN, model):
            clock.pass_ms(computing_ms)
    assert pacer.paced == PacedLaunches(5, 2, 3 * NS_PER_MS)
    assert told().startswith(
        "2 of 5 launches took longer on this computer than was published, by 1.5 ms on average"
    )
    assert pacer.watch()() == ""


def test_who_has_no_pace_is_not_held() -> None:
    clock = StandingClock()
    pacer = LaunchPacer(clock.now_ns, clock.sleep)
    pacer.assign(Model(), PAIR.target)
    with pacer(TOKEN, Model()):
        pass
    assert clock.now_ns() == 0
    assert pacer.paced == PacedLaunches()


def test_a_launch_that_fails_is_not_waited_for() -> None:
    clock, model = StandingClock(), Model()
    pacer = LaunchPacer(clock.now_ns, clock.sleep)
    pacer.assign(model, PAIR.target)
    with pytest.raises(RuntimeError), pacer(TOKEN, model):
        raise RuntimeError
    assert clock.now_ns() == 0


def test_a_log_has_one_pacer() -> None:
    log, model = LaunchLog(), Model()
    pacer = pacer_of(log)
    assert pacer_of(log) is log.pacer is pacer
    with log.launched(model, TOKEN):
        pass
    assert log.count(model) == 1
