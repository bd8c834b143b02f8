"""Everything beside the two models' forwards, per verify step: sampling, acceptance, text, events.

The real loop runs over models that return prepared logits at once. What they take themselves is measured inside them and
taken off; what is left between two step events is the overhead. Logits have the shape of a language model's: a wide floor and
a few peaks, the draft's being the target's with noise.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.domain.events import Environment, RunEvent, RunStarted, StepCommitted
from chatapp.domain.metrics import run_metrics
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.prepared import PreparedModel
from chatapp.engine.clock import MonotonicClock
from chatapp.engine.control import RunControl
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.prompt import Prompt
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.windows.fixed import FixedWindow
from chatapp.resources import builtin_pair

WINDOW = 5
VOCABULARIES = (8_192, 32_000, 128_256)
STEPS = 150
ROWS = 24
"""Different rows in a table: as many as fit in a few dozen megabytes at the largest vocabulary."""
PEAKS = 12
FLOOR, HIGHEST, APART, NOISE = 2.5, 14.0, 0.9, 1.1
"""Logits: standard deviation of the floor, the best peak, the gap between peaks, and by how much a draft differs."""
BARS_MS = {
    ("greedy", 8_192): 0.4,
    ("T 0.7, top-p 0.9", 8_192): 1.0,
    ("T 0.7, top-p 0.9", 128_256): 3.0,
}

MODES: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0},
    "T 0.7, top-p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "T 1": {"temperature": 1.0, "top_p": 1.0},
    "T 0.7, top-k 50": {"temperature": 0.7, "top_p": 1.0, "top_k": 50},
}
RULES = ("rejection", "block", "coupled")


@dataclass(frozen=True, slots=True)
class Overhead:
    """One row of the table. `median_ms` and `p90_ms` are per verify step; `tested_acceptance` says how many target rows that
    was made of."""

    mode: str
    vocabulary: int
    acceptor: str
    median_ms: float
    p90_ms: float
    tested_acceptance: float
    steps: int
    bar_ms: float | None


def overhead_suite(
    *,
    vocabularies: Sequence[int] = VOCABULARIES,
    steps: int = STEPS,
) -> list[Overhead]:
    """Every mode, vocabulary and acceptor with `steps` verify steps of k = 5."""
    prompt = Prompt.load(builtin_pair().target, ())
    result: list[Overhead] = []
    for vocabulary in vocabularies:
        tables = correlated_tables(vocabulary)
        for mode, knobs in MODES.items():
            for acceptor in ("greedy",) if mode == "greedy" else RULES:
                row = _measure(prompt, tables, mode, SamplingSettings(**_settings(knobs)), acceptor, steps)
                result.append(row)
    return result


def _settings(knobs: dict[str, float]) -> dict[str, Any]:
    top_k = {"top_k": int(knobs["top_k"])} if "top_k" in knobs else {}
    return {"max_tokens": 1_000_000, "seed": 1, **knobs, **top_k}


def correlated_tables(vocabulary: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The target's and the draft's logits, `[ROWS, V]` float32 each."""
    generator = np.random.default_rng(seed)
    target = generator.standard_normal((ROWS, vocabulary), np.float32) * np.float32(FLOOR)
    np.minimum(target, np.float32(HIGHEST / 2), out=target)
    for row in target:
        peaks = generator.choice(vocabulary, PEAKS, replace=False)
        row[peaks] = HIGHEST - APART * np.arange(PEAKS) + 0.3 * generator.standard_normal(PEAKS)
    draft = target + np.float32(NOISE) * generator.standard_normal((ROWS, vocabulary), np.float32)
    return target, draft


def _measure(
    prompt: Prompt,
    tables: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    mode: str,
    sampling: SamplingSettings,
    acceptor: str,
    steps: int,
) -> Overhead:
    limit = steps * WINDOW + 64
    target, draft = (
        PreparedModel(name, table, limit) for name, table in zip(("target", "draft"), tables, strict=True)
    )
    run = _run(prompt, target, draft, sampling, acceptor)
    record = RunRecord()
    spent: list[float] = []
    events = cast("Generator[RunEvent, None, None]", run.events())
    gc.collect()
    gc.disable()  # as the application does while a reply runs: what is loaded is out of the collector's sight
    try:
        begin_ns, models_ns = time.perf_counter_ns(), target.spent_ns + draft.spent_ns
        for event in events:
            if isinstance(event, StepCommitted):
                now_ns, now_models_ns = time.perf_counter_ns(), target.spent_ns + draft.spent_ns
                if event.index > 4 and event.window == WINDOW:  # the first steps fill caches
                    spent.append((now_ns - begin_ns - (now_models_ns - models_ns)) / 1e6)
                if event.index == steps:
                    break
                record.apply(event)
                begin_ns, models_ns = time.perf_counter_ns(), target.spent_ns + draft.spent_ns
            else:
                record.apply(event)
    finally:
        events.close()
        gc.enable()
    metrics = run_metrics(record)
    return Overhead(
        mode,
        target.vocabulary,
        acceptor,
        statistics.median(spent),
        statistics.quantiles(spent, n=10)[-1],
        metrics.tested_acceptance or 0.0,
        len(spent),
        BARS_MS.get((mode, target.vocabulary)),
    )


def _run(
    prompt: Prompt, target: PreparedModel, draft: PreparedModel, sampling: SamplingSettings, acceptor: str
) -> SpeculativeRun:
    acceptors = RunAcceptors(Streams(sampling.seed), greedy=sampling.greedy)
    processor = Processor(sampling, 1)
    policy = FixedWindow()
    words = len(prompt.vocabulary())
    text = Text(
        # Ids behind the tokenizer's own borrow the text of others.
        lambda ids: prompt.decode([token % words for token in ids]),
        lambda token: prompt.piece(token % words),
        frozenset(),
    )
    request = GenerationRequest((Message(Role.USER, "overhead"),), sampling, WINDOW)
    rule = acceptors(acceptor)
    versions: tuple[tuple[str, str], ...] = ()
    environment = Environment(
        "prepared", "cpu", 1, target.info, draft.info, target.context_limit, target.vocabulary, versions, ""
    )
    started = RunStarted("overhead", "", request, rule.name, rule.lossless, environment, 1)
    sequence = CachedSequence(draft)
    return SpeculativeRun(
        started=started,
        prompt_ids=[0],
        parts=Parts(
            target=CachedSequence(target),
            drafter=ModelDrafter(sequence, processor, acceptors.current),
            acceptor=acceptors,
            policy=lambda _: policy,
            processor=processor,
            text=text,
            clock=MonotonicClock(),
        ),
        control=RunControl(WINDOW, True, acceptor),
        submitted_ns=time.perf_counter_ns(),
    )


HEADER = f"{'vocabulary':>10}  {'sampling':<18}{'acceptor':<11}{'median ms':>10}{'p90 ms':>9}{'tested':>8}"


def line(row: Overhead) -> str:
    """For people."""
    return (
        f"{row.vocabulary:>10,}  {row.mode:<18}{row.acceptor:<11}{row.median_ms:>10.3f}{row.p90_ms:>9.3f}"
        f"{row.tested_acceptance:>8.2f}"
    )


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """For `chatapp bench --suite overhead`. Each row is measured `options.rounds` times, in turn; the median counts."""
    print(
        f"k = {WINDOW}, prepared logits, one thread, {STEPS} steps a round, {options.rounds} rounds; everything beside the "
        f"two models' forwards, per verify step\n{HEADER}"
    )
    rounds = [overhead_suite() for _ in range(options.rounds)]
    rows = [sorted(same, key=lambda row: row.median_ms)[len(same) // 2] for same in zip(*rounds, strict=True)]
    for row in rows:
        print(line(row), flush=True)
    bars = [
        Bar(
            f"overhead ms, {row.mode}, {row.acceptor}, vocabulary {row.vocabulary:,}",
            row.median_ms,
            row.bar_ms,
        )
        for row in rows
        if row.bar_ms is not None
    ]
    return {"bars": show_bars(bars), "rows": [asdict(row) for row in rows]}
