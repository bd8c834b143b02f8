"""`--suite switches`: how soon a running reply obeys. Switches are set on another thread, at moments of its own, while the
engine's thread runs; the record says which step was the first to show each.

A step that was under way when the switch was set may finish as it began. The bar is that the next one shows it, so that
every switch is in force within one verify step; a stop must let no further step begin.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chatapp.bench.engines import without_end
from chatapp.bench.prompts import prompts_of
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.bench.timing import quantile
from chatapp.domain.events import RunEnded, RunEvent, StepCommitted
from chatapp.domain.request import GenerationRequest
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine

KINDS = ("k", "toggle", "stop")
TOKENS = 160
REPLIES_EACH = 4
"""Replies per prompt, round and kind of switch; each reply gets one switch."""
EARLIEST, LATEST = 0.1, 0.9
"""When a switch is set, as a share of the time that the reply takes without one: anywhere in it, the prefill left out."""


@dataclass(frozen=True, slots=True)
class Obeyed:
    """One switch. `steps` counts verify steps that began after it was set, up to the first that shows it, 1 being the best (a
    stop: steps that began after it, plus 1). `ms` is from the switch to the end of that step (of the run)."""

    kind: str
    steps: int
    ms: float


@dataclass(slots=True)
class Switch:
    """Sets one switch of a reply. `set_ns` is read after the switch was set: whatever begins behind it must obey."""

    kind: str
    control: RunControl
    set_ns: int = 0

    def throw(self) -> None:
        if self.kind == "k":
            self.control.set_window(2 if self.control.window > 2 else 6)
        elif self.kind == "toggle":
            self.control.set_speculation(not self.control.speculation)
        else:
            self.control.cancel()
        self.set_ns = time.perf_counter_ns()

    def shown(self, step: StepCommitted) -> bool:
        if self.kind == "k":
            return step.window_asked == self.control.window
        if self.kind == "toggle":
            return step.speculation == self.control.speculation
        return False


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    engine = Engine(threads=options.threads, device=options.device, may_compile=options.may_compile)
    info = engine.load(options.pair, lambda _: None)
    without_end(engine)
    prompts = [
        prompt for kind in options.kinds or ("guide", "story") for prompt in prompts_of(kind, options.prompts)
    ]
    sampling = options.sampling(max_tokens=TOKENS)
    print(
        f"{info.environment.target.name}, {sampling.max_tokens} tokens, {info.environment.threads} threads; a switch in every "
        f"reply, set on another thread"
    )
    moments = random.Random(options.seed)
    requests = [
        GenerationRequest(prompt, sampling, options.window, acceptor=options.acceptor) for prompt in prompts
    ]
    lasts_s = [_duration_s(engine, request) for request in requests]
    found: list[Obeyed] = []
    step_ms: list[float] = []
    for _ in range(options.rounds * REPLIES_EACH):
        for request, whole_s in zip(requests, lasts_s, strict=True):
            for kind in KINDS:
                after_s = moments.uniform(EARLIEST, LATEST) * whole_s
                events, obeyed = switched_reply(engine, request, kind, after_s)
                found += [obeyed] if obeyed is not None else []
                step_ms += _durations_ms(events)
    return _report(found, statistics.median(step_ms))


def _duration_s(engine: Engine, request: GenerationRequest) -> float:
    """Of the second of two equal replies: the first one reads the prompt."""
    events: list[RunEvent] = []
    for _ in range(2):
        events = list(engine.run(engine.prepare(request), RunControl.of(request)))
    last = events[-1]
    assert isinstance(last, RunEnded)
    return last.ended_ns / 1e9


def switched_reply(
    engine: Engine, request: GenerationRequest, kind: str, after_s: float
) -> tuple[list[RunEvent], Obeyed | None]:
    """A reply with one switch set `after_s` seconds after it began; None where it was over before."""
    control = RunControl.of(request)
    switch = Switch(kind, control)
    prepared = engine.prepare(request)
    timer = threading.Timer(after_s, switch.throw)
    timer.start()
    try:
        events = list(engine.run(prepared, control))
    finally:
        timer.cancel()
        timer.join()
    set_ns = switch.set_ns - prepared.submitted_ns
    return events, obeyed(events, switch.kind, set_ns, switch.shown) if switch.set_ns else None


def obeyed(
    events: Sequence[RunEvent], kind: str, set_ns: int, shown: Callable[[StepCommitted], bool]
) -> Obeyed | None:
    """What the record says of a switch that was set `set_ns` after the request; None where no step could show it any more."""
    steps = [event for event in events if isinstance(event, StepCommitted)]
    after = [step for step in steps if step.started_ns > set_ns]
    ended = events[-1]
    assert isinstance(ended, RunEnded)
    if kind == "stop":
        return (
            Obeyed(kind, len(after) + 1, (ended.ended_ns - set_ns) / 1e6) if ended.ended_ns > set_ns else None
        )
    for count, step in enumerate(after, start=1):
        if shown(step):
            return Obeyed(kind, count, (step.ended_ns - set_ns) / 1e6)
    return Obeyed(kind, len(after) + 1, (ended.ended_ns - set_ns) / 1e6) if after else None


def _durations_ms(events: Sequence[RunEvent]) -> list[float]:
    return [
        (event.ended_ns - event.started_ns) / 1e6
        for event in events
        if isinstance(event, StepCommitted) and event.index > 1
    ]


def _report(found: list[Obeyed], step_ms: float) -> dict[str, Any]:
    print(f"median verify step {step_ms:.2f} ms")
    print(f"{'switch':<10}{'times':>7}{'median ms':>11}{'p99 ms':>9}{'max ms':>9}{'most steps':>12}")
    result: dict[str, Any] = {"median_step_ms": step_ms}
    bars = []
    for kind in KINDS:
        mine = [switch for switch in found if switch.kind == kind]
        times = [switch.ms for switch in mine]
        most = max((switch.steps for switch in mine), default=None)
        result[kind] = {
            "times": len(mine),
            "median_ms": statistics.median(times) if times else None,
            "p99_ms": quantile(times, 0.99) if times else None,
            "max_ms": max(times, default=None),
            "most_steps": most,
        }
        if times:
            print(
                f"{kind:<10}{len(mine):>7}{statistics.median(times):>11.2f}{quantile(times, 0.99):>9.2f}"
                f"{max(times):>9.2f}{most:>12}"
            )
        what = (
            "steps begun after a stop, and one" if kind == "stop" else f"steps until a change of {kind} shows"
        )
        bars.append(Bar(what, most, 1))
    return result | {"bars": show_bars(bars)}
