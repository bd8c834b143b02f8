"""`--suite jitter`: how ragged verify steps are while another process keeps a core busy.

Quiet and disturbed replies take turns; the number of threads is the engine's own choice unless one is named, and what its
governor does about raggedness is part of what is measured.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chatapp.bench.prompts import prompts_of
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.bench.timing import quantile
from chatapp.domain.events import Notice, RunEvent, StepCommitted
from chatapp.domain.request import GenerationRequest
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine

KINDS = ("guide", "story")
BUSY = "while True: pass"
FEWEST = 4
"""Windows seen fewer times than this have no median worth the name."""


@dataclass(slots=True)
class Steps:
    """Durations of verify steps by window, in ms, and what the thread governor said."""

    by_window: dict[int, list[float]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def add(self, events: Iterable[RunEvent]) -> None:
        """All but step 0, which is the prefill, and step 1, in which the draft reads the prompt."""
        for event in events:
            if isinstance(event, StepCommitted) and event.index > 1:
                duration_ms = (event.ended_ns - event.started_ns) / 1e6
                self.by_window.setdefault(event.window, []).append(duration_ms)
            elif isinstance(event, Notice) and event.code == "threads":
                self.notices.append(event.message)

    def relative(self) -> list[float]:
        """Every step over the median of its own window: windows take different times by nature."""
        return [
            value / statistics.median(values)
            for values in self.by_window.values()
            if len(values) >= FEWEST
            for value in values
        ]

    @property
    def p99(self) -> float | None:
        """p99 / median."""
        ratios = self.relative()
        return quantile(ratios, 0.99) if ratios else None


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    engine = Engine(threads=options.threads, device="cpu", may_compile=options.may_compile)
    info = engine.load(options.pair, lambda _: None)
    kinds = options.kinds or KINDS
    prompts = [prompt for kind in kinds for prompt in prompts_of(kind, options.prompts)]
    sampling = options.sampling()
    print(
        f"{info.environment.target.name}, k = {options.window}, {info.environment.threads} compute threads at the start, "
        f"{len(prompts)} prompts, {options.rounds} rounds, one process more that never rests"
    )
    sides = {"quiet": Steps(), "disturbed": Steps()}
    for round_index in range(options.rounds + 1):
        for name, steps in sides.items():
            with busy_process(name == "disturbed"):
                for messages in prompts:
                    request = GenerationRequest(messages, sampling, options.window, acceptor=options.acceptor)
                    events = list(engine.run(engine.prepare(request), RunControl.of(request)))
                    if round_index:
                        steps.add(events)
    return _report(sides, options.window)


@contextmanager
def busy_process(wanted: bool) -> Iterator[None]:
    """A process of our own that keeps one core busy for as long as the block lasts."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _report(sides: dict[str, Steps], window: int) -> dict[str, Any]:
    print(
        f"{'side':<12}{'steps':>7}{f'median ms at k={window}':>20}{'p90':>8}{'p99':>8}{'max':>8}  (over the median)"
    )
    result: dict[str, Any] = {}
    for name, steps in sides.items():
        ratios = steps.relative()
        at_window = steps.by_window.get(window, [])
        figures = {
            "steps": len(ratios),
            "median_ms": statistics.median(at_window) if at_window else None,
            "p90_over_median": quantile(ratios, 0.9) if ratios else None,
            "p99_over_median": steps.p99,
            "max_over_median": max(ratios, default=None),
            "governor": steps.notices,
        }
        result[name] = figures
        print(
            f"{name:<12}{len(ratios):>7}{figures['median_ms'] or 0:>20.2f}{figures['p90_over_median'] or 0:>8.2f}"
            f"{steps.p99 or 0:>8.2f}{figures['max_over_median'] or 0:>8.2f}"
        )
        for notice in steps.notices:
            print(f"  {notice}")
    what = "step time p99 / median with one other busy process"
    return result | {"bars": show_bars([Bar(what, sides["disturbed"].p99, 3.0)])}
