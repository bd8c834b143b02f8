"""`--suite soak`: many runs in one process, and what of them stays behind: memory, open files, threads, Python objects.

The runs are short and of every kind: stopped in mid-window, left by their reader, ended by a stop string or by their
length, with every acceptor, drafter and window policy, k and the toggle changing. The pair is small and random, since what
could grow is around the models and not in them.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatapp.bench.prompts import varied_prompt
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, SamplingSettings
from chatapp.engine.backends.synthetic import RandomShape, write_random
from chatapp.engine.control import RunControl
from chatapp.engine.registry import ACCEPTORS, DRAFTERS, POLICIES
from chatapp.engine.session import Engine

SMALL = RandomShape(layers=1, hidden=32, heads=2, inner=48, vocabulary=3072)
TOKENS = 10
WARM_UP = 300
"""Runs before the first look: caches of the interpreter, of torch and of the tokenizer fill in these."""
MEMORY_MIB = 16.0
"""Growth of resident memory that is still none: the allocator's arenas settle by some MiB, whatever is freed. A leak of a
run's events alone (10 KB) would be 100 MiB after 10,000 runs."""
OBJECTS = 500
"""Growth of tracked objects that is still none: fewer than one in twenty runs. Bounded caches may still fill up."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of this process. None where the system does not tell."""

    memory_mib: float | None
    files: int | None
    threads: int | None
    objects: int


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        target, draft = (
            write_random(
                Path(folder) / role, SMALL, "float32", tokenizer=options.pair.target, context=512, seed=seed
            )
            for seed, role in enumerate(("target", "draft"))
        )
        engine = Engine(threads=options.threads or 1, device="cpu", may_compile=options.may_compile)
        engine.load(PairLocation("small", target, draft), lambda _: None)
        chance = random.Random(options.seed)
        one = lambda number: run_once(engine, chance, number)  # noqa: E731 - a name for what is repeated
        print(
            f"{options.runs} runs of up to {TOKENS} tokens, after {WARM_UP} to warm up; a random pair of {SMALL}"
        )
        return soak(one, options.runs)


def soak(one: Callable[[int], None], runs: int, warm_up: int = WARM_UP) -> dict[str, Any]:
    """`one` is called with the run's number."""
    for number in range(warm_up):
        one(number)
    before = footprint()
    for number in range(warm_up, warm_up + runs):
        one(number)
    after = footprint()
    return _report(before, after, runs)


def run_once(engine: Engine, chance: random.Random, number: int) -> None:
    """One run of some kind, to its end or to where its reader leaves."""
    greedy = chance.random() < 0.3
    sampling = SamplingSettings(
        temperature=0.0 if greedy else 0.9,
        top_p=chance.choice((1.0, 0.9)),
        top_k=chance.choice((0, 40)),
        repetition_penalty=chance.choice((1.0, 1.1)),
        max_tokens=TOKENS,
        seed=number,
        stop=chance.choice(((), ("e",))),
    )
    request = GenerationRequest(
        # A hundred prompts: what is kept for each of them, if anything is, is kept before the first look.
        varied_prompt(number % 100),
        sampling,
        chance.randint(1, 8),
        acceptor=chance.choice(list(ACCEPTORS)),
        drafter=chance.choice(list(DRAFTERS)),
        policy=chance.choice(list(POLICIES)),
    )
    control = RunControl.of(request)
    events = engine.run(engine.prepare(request), control)
    leaves_after = chance.choice((None, None, 3, 6))
    stops_at = chance.choice((None, None, 2, 5))
    for index, _ in enumerate(itertools.islice(events, leaves_after)):
        if index == stops_at:
            control.cancel()
        control.set_window(chance.randint(1, 8))
        control.set_speculation(chance.random() < 0.8)


def footprint(proc: Path = Path("/proc/self")) -> Footprint:
    """After a full collection."""
    gc.collect()
    memory: float | None = None
    files: int | None = None
    threads: int | None = None
    if proc.is_dir():
        pages = int((proc / "statm").read_text(encoding="ascii").split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        files = len(list((proc / "fd").iterdir()))
        threads = len(list((proc / "task").iterdir()))
    return Footprint(memory, files, threads, len(gc.get_objects()))


def _report(before: Footprint, after: Footprint, runs: int) -> dict[str, Any]:
    limits = {"memory_mib": MEMORY_MIB, "files": 0.0, "threads": 0.0, "objects": float(OBJECTS)}
    print(f"{'':<12}{'before':>12}{'after':>12}{'growth':>10}{'tolerance':>11}")
    bars = []
    for name, limit in limits.items():
        one, two = getattr(before, name), getattr(after, name)
        growth = two - one if one is not None and two is not None else None
        if growth is not None:
            print(f"{name:<12}{one:>12.1f}{two:>12.1f}{growth:>10.1f}{limit:>11g}")
        note = "" if growth is not None else "this system does not tell"
        bars.append(Bar(f"growth of {name} over {runs} runs", growth, limit, note=note))
    return {"runs": runs, "before": asdict(before), "after": asdict(after), "bars": show_bars(bars)}
