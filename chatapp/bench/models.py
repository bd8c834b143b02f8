"""`--suite models`: one token and a verify pass of each size, ours and transformers', on random weights and the built-in target.

Both sides read the same context, then the same few tokens over and over, in turn, in the same dtype, with the same number
of threads. The last column is the share of the bandwidth bound that our one-token pass reaches: its time if memory were
read at the measured speed and nothing else cost anything, over the time it takes.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.bench.timing import Timed, in_turn_ms, paired_ratio, timed
from chatapp.domain.errors import InvalidSetting
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.hf_pass import PeerPasses
from chatapp.engine.backends.loading import load_model
from chatapp.engine.backends.synthetic import SHAPES, set_compute_threads, write_random, write_recast
from chatapp.engine.bandwidth import measure_bandwidth
from chatapp.engine.contracts import CausalModel
from chatapp.engine.threads import default_threads

BUILT_IN = "built-in"
NAMES = (BUILT_IN, *SHAPES)
CONTEXT = 64
WIDTHS = (2, 4, 8, 16)
ROUNDS_EACH = 5
"""Rounds of passes per round of the command line: a pass is short, and a median wants more than three of them."""
OURS, PEER = "chatapp", "transformers"


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one side with one number of threads; `samples[m]` are the rounds' times of a pass over m tokens, in ms."""

    shape: str
    side: str
    numbers: str
    threads: int
    samples: dict[int, list[float]] = field(repr=False)
    bound_ms: float | None = None
    runs_on: str = ""

    def median_ms(self, width: int) -> float:
        return statistics.median(self.samples[width])

    @property
    def verify_8(self) -> float:
        """verify(8) / one token."""
        return paired_ratio(self.samples[8], self.samples[1])

    @property
    def share_of_bound(self) -> float | None:
        return self.bound_ms / self.median_ms(1) if self.bound_ms else None


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """Raises `InvalidSetting` for a shape that does not exist."""
    names = options.shapes or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InvalidSetting("shape", f"There is no shape {unknown[0]!r}; known are {', '.join(NAMES)}.")
    threads = (options.threads,) if options.threads else (1, 2)
    print(
        f"context {CONTEXT} tokens, threads {' and '.join(map(str, threads))}, cpu, random weights but for {BUILT_IN}"
    )
    header = "".join(f"{f'verify({width})':>11}" for width in WIDTHS)
    print(
        f"{'shape':<10}{'side':<14}{'numbers':<24}{'thr':>4}{'one token':>11}{header}{'v8/one':>8}{'bound':>7}"
    )
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        for name in names:
            for dtype in ("float32", "bfloat16"):
                directory = _checkpoint(Path(folder) / f"{name}-{dtype}", name, dtype, options)
                for row in _measure(directory, name, dtype, threads, options.rounds * ROUNDS_EACH):
                    rows.append(row)
                    print(_line(row), flush=True)
    return {"rows": [_as_json(row) for row in rows], "bars": show_bars(_bars(rows, threads))}


def _checkpoint(directory: Path, name: str, dtype: str, options: SuiteOptions) -> Path:
    if name == BUILT_IN:
        return write_recast(options.pair.target, directory, dtype)
    return write_random(directory, SHAPES[name], dtype, tokenizer=options.pair.target)


def _measure(directory: Path, name: str, dtype: str, threads: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """All rows of one checkpoint. The int8 ones are our own only: transformers has none that needs no other package."""
    files = read_checkpoint(directory)
    set_compute_threads(max(threads))
    ours = {"": load_model(files, "cpu", role="target")}
    if dtype == "bfloat16":
        ours |= {
            " draft": load_model(files, "cpu", role="draft", weights="int8"),
            " target": load_model(files, "cpu", role="target", weights="int8"),
        }
    peer = PeerPasses(directory, dtype)
    peer.read(_ids(CONTEXT))
    for count in threads:
        set_compute_threads(count)
        sides: dict[tuple[str, int], Timed] = {}
        for role, model in ours.items():
            model.forward(_ids(CONTEXT), 0, 1)
            sides |= {(OURS + role, width): _our_pass(model, width) for width in (1, *WIDTHS)}
        sides |= {(PEER, width): _peer_pass(peer, width) for width in (1, *WIDTHS)}
        samples = in_turn_ms(sides, rounds)
        bandwidth = measure_bandwidth(count)
        for side in dict.fromkeys(side for side, _ in sides):
            mine = {width: samples[side, width] for width in (1, *WIDTHS)}
            if side == PEER:
                yield Row(name, PEER, dtype, count, mine)
                continue
            role = side.removeprefix(OURS)
            model = ours[role]
            traffic = model.traffic(1, CONTEXT)
            bound_ms = traffic / bandwidth * 1e3 if bandwidth and traffic else None
            yield Row(name, OURS, model.info.dtype + role, count, mine, bound_ms, model.info.runs_on)
    del ours, peer
    gc.collect()


def _ids(count: int) -> list[int]:
    return [(7 * index + 11) % 1000 for index in range(count)]


def _our_pass(model: CausalModel, width: int) -> Timed:
    ids = _ids(width)
    return timed(lambda: model.forward(ids, CONTEXT, width))


def _peer_pass(peer: PeerPasses, width: int) -> Timed:
    ids = _ids(width)
    return lambda: peer.timed(ids)


def _line(row: Row) -> str:
    widths = "".join(f"{row.median_ms(width):>11.3f}" for width in WIDTHS)
    share = f"{row.share_of_bound:>7.0%}" if row.share_of_bound else f"{'-':>7}"
    return (
        f"{row.shape:<10}{row.side:<14}{row.numbers:<24}{row.threads:>4}{row.median_ms(1):>11.3f}{widths}"
        f"{row.verify_8:>8.2f}{share}"
    )


def _as_json(row: Row) -> dict[str, Any]:
    return {
        "shape": row.shape,
        "side": row.side,
        "numbers": row.numbers,
        "threads": row.threads,
        "one_token_ms": row.median_ms(1),
        "verify_ms": {str(width): row.median_ms(width) for width in WIDTHS},
        "verify_8_over_one": row.verify_8,
        "bound_ms": row.bound_ms,
        "share_of_bound": row.share_of_bound,
        "runs_on": row.runs_on,
    }


def _bars(rows: list[Row], threads: tuple[int, ...]) -> list[Bar]:
    two = max(threads)
    few = min(threads, key=lambda count: abs(count - default_threads()))
    bars = []

    def words(count: int) -> str:
        return f"{count} thread{'s' if count > 1 else ''}"

    ours, theirs = _pair(rows, "110M", "bfloat16", two)
    if ours is not None and theirs is not None:
        what = f"110M bfloat16, {words(two)}"
        ratio = paired_ratio(ours.samples[1], theirs.samples[1])
        bars.append(Bar(f"one token, {what}, chatapp / transformers", ratio, 0.6))
        bars.append(Bar(f"verify(8) / one token, {what}", ours.verify_8, 1.25))
    for dtype in ("float32", "bfloat16"):
        ours, theirs = _pair(rows, BUILT_IN, dtype, few)
        if ours is not None and theirs is not None:
            ratio = paired_ratio(ours.samples[1], theirs.samples[1])
            what = f"one token, built-in target in {dtype}, {words(few)}"
            bars.append(Bar(f"{what}, chatapp / transformers", ratio, 0.45))
    return bars


def _pair(rows: list[Row], shape: str, dtype: str, threads: int) -> tuple[Row | None, Row | None]:
    """Our row and the peer's, where both were measured in this dtype."""

    def of(side: str) -> Row | None:
        return next(
            (
                row
                for row in rows
                if (row.shape, row.side, row.numbers, row.threads) == (shape, side, dtype, threads)
            ),
            None,
        )

    return of(OURS), of(PEER)
