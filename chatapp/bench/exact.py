"""`--suite exact`: whether speculation ever changes a text. Every reply is written without speculation, then with a fixed k
(2 … 16 in turn) and once more with k, toggle and window policy changing at random at every step, and the ids are compared.

Half of the replies are greedy, half `coupled` at temperature 0.8; half run in float32, half in bfloat16. An end of text does
not end a reply here, so that all are equally long, and go where no training led.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from chatapp.bench.engines import without_end
from chatapp.bench.prompts import varied_prompt
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.domain.events import StepCommitted
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import MAX_WINDOW, GenerationRequest, SamplingSettings
from chatapp.engine.backends.synthetic import write_recast
from chatapp.engine.contracts import Control
from chatapp.engine.control import RunControl
from chatapp.engine.registry import POLICIES
from chatapp.engine.session import Engine

TOKENS = 128
DTYPES = ("float32", "bfloat16")
CHUNK = 25
"""Replies that a process is given at a time."""
COUPLED_TEMPERATURE = 0.8


@dataclass(frozen=True, slots=True)
class Task:
    """Replies `first` … `first + count - 1` of the pair in one dtype."""

    location: PairLocation
    dtype: str
    first: int
    count: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A reply that speculation changed."""

    reply: int
    dtype: str
    mode: str
    how: str
    at: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one task: replies compared, those that were identical in every way they were written, and what differed."""

    dtype: str
    runs_in: str
    replies: int
    identical: int
    accepted: int
    differences: tuple[Difference, ...] = ()


class RandomSwitches:
    """Implements `contracts.Control`: other settings at every step, drawn from a seed."""

    acceptor = "coupled"
    cancelled = False

    def __init__(self, seed: int, policies: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._policies = tuple(policies)

    @property
    def window(self) -> int:
        return self._random.randint(1, MAX_WINDOW)

    @property
    def speculation(self) -> bool:
        return self._random.random() < 0.8

    @property
    def policy(self) -> str:
        return self._random.choice(self._policies)


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    tokens = options.max_tokens or TOKENS
    print(
        f"{options.replies} replies of {tokens} tokens, half greedy and half coupled at T {COUPLED_TEMPERATURE}, half float32 and "
        f"half bfloat16; {options.jobs} processes of one thread"
    )
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        tasks = [
            task
            for dtype, location in _in_both(options.pair, Path(folder)).items()
            for task in _tasks(location, dtype, _share(options.replies, dtype), tokens)
        ]
        outcomes = []
        for outcome in _carried_out(tasks, options.jobs):
            outcomes.append(outcome)
            print(
                f"  {sum(each.replies for each in outcomes)} of {options.replies} compared, "
                f"{sum(len(each.differences) for each in outcomes)} differ",
                flush=True,
            )
    return report(outcomes)


def _share(replies: int, dtype: str) -> int:
    """Both halves together are all of them, an odd one included."""
    return replies // 2 if dtype == DTYPES[1] else replies - replies // 2


def _in_both(pair: PairLocation, folder: Path) -> dict[str, PairLocation]:
    """The pair in both dtypes."""
    return {
        dtype: replace(
            pair,
            target=write_recast(pair.target, folder / f"target-{dtype}", dtype),
            draft=write_recast(pair.draft, folder / f"draft-{dtype}", dtype)
            if pair.draft is not None
            else None,
        )
        for dtype in DTYPES
    }


def _tasks(location: PairLocation, dtype: str, replies: int, tokens: int) -> list[Task]:
    return [
        Task(location, dtype, first, min(CHUNK, replies - first), tokens)
        for first in range(0, replies, CHUNK)
    ]


def _carried_out(tasks: list[Task], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        for task in tasks:
            yield carry_out(task)
        return
    # Spawned, since a fork copies torch's threads as they stand.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(carry_out, tasks)


def carry_out(task: Task) -> Outcome:
    """One task, in whichever process. Raises `ModelError`."""
    engine = Engine(threads=1, device="cpu")
    info = engine.load(task.location, lambda _: None)
    without_end(engine)
    numbers = info.environment.target.dtype
    found: list[Difference] = []
    accepted = 0
    for reply in range(task.first, task.first + task.count):
        differing, kept = compare(engine, reply, task.dtype, task.tokens)
        found += differing
        accepted += kept
    changed = len({difference.reply for difference in found})
    return Outcome(task.dtype, numbers, task.count, task.count - changed, accepted, tuple(found))


def compare(engine: Engine, reply: int, dtype: str, tokens: int) -> tuple[list[Difference], int]:
    """One reply in three ways; what differed, and how many drafts were kept on the way."""
    greedy = reply % 2 == 0
    sampling = SamplingSettings(
        temperature=0.0 if greedy else COUPLED_TEMPERATURE, top_p=1.0, max_tokens=tokens, seed=reply
    )
    k = 2 + (reply // 2) % (MAX_WINDOW - 1)
    request = GenerationRequest(varied_prompt(reply), sampling, k, acceptor="coupled")
    plain, _ = _write(engine, request, RunControl(1, False, "coupled"))
    mode = "greedy" if greedy else "coupled"
    found: list[Difference] = []
    accepted = 0
    ways: dict[str, Control] = {
        f"k = {k}": RunControl.of(request),
        "everything changing": RandomSwitches(reply, list(POLICIES)),
    }
    for how, control in ways.items():
        text, kept = _write(engine, request, control)
        accepted += kept
        at = first_difference(plain, text)
        if at is not None:
            found.append(Difference(reply, dtype, mode, how, at))
    return found, accepted


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Where two replies part (a missing end counts), None where they do not."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))


def _write(engine: Engine, request: GenerationRequest, control: Control) -> tuple[list[int], int]:
    """The reply's ids, and how many were drafts that the target kept."""
    ids: list[int] = []
    accepted = 0
    for event in engine.run(engine.prepare(request), control):
        if isinstance(event, StepCommitted):
            ids += [token.id for token in event.tokens]
            accepted += event.accepted
    return ids, accepted


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The table, the first differences in words, and the bar: every reply."""
    rows = []
    print(f"{'checkpoint in':<16}{'runs in':<20}{'replies':>9}{'identical':>11}{'drafts kept':>13}")
    for dtype in DTYPES:
        mine = [outcome for outcome in outcomes if outcome.dtype == dtype]
        if not mine:
            continue
        row = {
            "dtype": dtype,
            "runs_in": mine[0].runs_in,
            "replies": sum(outcome.replies for outcome in mine),
            "identical": sum(outcome.identical for outcome in mine),
            "accepted": sum(outcome.accepted for outcome in mine),
        }
        rows.append(row)
        print(
            f"{dtype:<16}{row['runs_in']:<20}{row['replies']:>9}{row['identical']:>11}{row['accepted']:>13}"
        )
    differences = [difference for outcome in outcomes for difference in outcome.differences]
    for each in differences[:10]:
        print(f"  reply {each.reply}, {each.dtype}, {each.mode}, {each.how}: parts at token {each.at}")
    identical = sum(outcome.identical for outcome in outcomes)
    replies = sum(outcome.replies for outcome in outcomes)
    bar = Bar(f"identical replies of {replies}", identical, replies, at_most=False)
    return {
        "rows": rows,
        "differences": [asdict(difference) for difference in differences],
        "bars": show_bars([bar]),
    }
