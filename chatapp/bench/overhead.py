"""Everything beside the two models' forwards, per verify step: sampling, acceptance, text, events.

The real loop runs over models that return prepared logits at once. What they take themselves is measured inside them and
taken off; what is left between two step events is the overhead. For what an adapter adds on a device's host, see `host_cost`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from chatapp.bench.measure import collector_spared
from chatapp.bench.prepared_run import correlated_tables, prepared_run
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.domain.events import RunEvent, StepCommitted
from chatapp.domain.metrics import run_metrics
from chatapp.domain.record import RunRecord
from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.prepared import PreparedModel
from chatapp.engine.prompt import Prompt
from chatapp.resources import builtin_pair

WINDOW = 5
VOCABULARIES = (8_192, 32_000, 128_256)
STEPS = 150
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
    run = prepared_run(prompt, target, draft, sampling, acceptor, WINDOW)
    record = RunRecord()
    spent: list[float] = []
    events = cast("Generator[RunEvent, None, None]", run.events())
    with closing(events), collector_spared():
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
