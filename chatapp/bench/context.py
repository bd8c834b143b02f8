"""`--suite context`: what a long context costs. TPOT behind 4,000 tokens over TPOT behind 400, plain and with speculation.

Synthetic: random weights, and a draft rigged to full acceptance, so that both lengths have the same windows. The prompts
are read once; every measured reply finds their KV where it was.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatapp.bench.engines import SyntheticEngine, ids_of
from chatapp.bench.measure import Cell, Reply, in_turn, reply_of, speed_up
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.engine.backends.synthetic import set_compute_threads, shape_named, write_random
from chatapp.engine.threads import default_threads

SHORT, LONG = 400, 4_000
WINDOWS = (1, 8)
TOKENS = 33
TARGET, DRAFT = "110M", "5M"


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    return measure_contexts(options, (SHORT, LONG))


def measure_contexts(options: SuiteOptions, lengths: tuple[int, int]) -> dict[str, Any]:
    """`lengths` in tokens, the shorter first."""
    threads = options.threads or default_threads()
    tokens = options.max_tokens or TOKENS
    shapes = (options.shapes or (TARGET, DRAFT))[:2]
    print(
        f"synthetic: random {shapes[0]} bfloat16 target, random {shapes[-1]} draft rigged to full acceptance; "
        f"{tokens} tokens, greedy, {threads} threads, {options.rounds} rounds"
    )
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        target, draft = (
            write_random(
                Path(folder) / role,
                shape_named(shape),
                "bfloat16",
                tokenizer=options.pair.target,
                context=lengths[1] + tokens + max(WINDOWS),
                seed=seed,
            )
            for seed, (role, shape) in enumerate((("target", shapes[0]), ("draft", shapes[-1])))
        )
        set_compute_threads(threads)
        # One engine for each length: what one of them reads would push the other's KV out.
        sides = {
            (length, window): side
            for length in lengths
            for window, side in _sides(SyntheticEngine(target, draft), length, tokens).items()
        }
    cells = dict(zip(sides, in_turn(list(sides.values()), 1, options.rounds), strict=True))
    return _report(cells, lengths)


def _sides(engine: SyntheticEngine, length: int, tokens: int) -> dict[int, Callable[[int], Reply]]:
    prompt = [(31 * index + 7) % 1000 for index in range(length)]
    engine.rigged.story = [*prompt, *ids_of(engine.answer(prompt, window=1, tokens=tokens))]

    def side(window: int) -> Callable[[int], Reply]:
        return lambda _: reply_of(engine.answer(prompt, window=window, tokens=tokens))

    return {window: side(window) for window in WINDOWS}


def _report(cells: dict[tuple[int, int], Cell], lengths: tuple[int, int]) -> dict[str, Any]:
    short, long = lengths
    print(
        f"{'k':>3}{f'TPOT ms at {short}':>20}{f'TPOT ms at {long}':>20}{'ratio':>8}{'tokens per verify step':>25}"
    )
    rows: list[dict[str, Any]] = []
    bars = []
    for window in WINDOWS:
        near, far = cells[short, window], cells[long, window]
        ratio = speed_up(near, far)
        accepted = [cell.metrics().mean_acceptance_length or 0.0 for cell in (near, far)]
        rows.append(
            {
                "k": window,
                "tpot_short_ms": near.tpot_ms(),
                "tpot_long_ms": far.tpot_ms(),
                "mean_acceptance_lengths": accepted,
            }
        )
        print(
            f"{window:>3}{near.tpot_ms() or 0:>20.3f}{far.tpot_ms() or 0:>20.3f}{ratio or 0:>8.2f}"
            f"{statistics.mean(accepted):>25.2f}"
        )
        words = "plain" if window == 1 else f"k = {window}"
        bars.append(Bar(f"TPOT at {long} tokens of context / at {short}, {words}", ratio, 1.5))
    return {"synthetic": True, "lengths": list(lengths), "rows": rows, "bars": show_bars(bars)}
