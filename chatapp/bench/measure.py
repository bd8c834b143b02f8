"""What one measured reply gives, whoever made it, and how replies are summed up.

Ratios are made per round and their median is taken, so that a machine whose speed drifts does not favour a side.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chatapp.domain.errors import GenerationFailed
from chatapp.domain.metrics import Metrics, Traffic, combined_metrics, run_metrics, run_traffic
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine

MS_PER_S = 1e3


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply's figures. `decode_tokens` tokens took `decode_ns` after the first token (or first chunk) was there."""

    ttft_ns: int
    decode_ns: int
    decode_tokens: int
    tokens: tuple[int, ...]
    metrics: Metrics | None = None
    traffic: Traffic = field(default_factory=Traffic)


@dataclass
class Cell:
    """All replies of one side to one kind of prompt; `rounds[r]` are those of round r."""

    rounds: list[list[Reply]] = field(default_factory=list)

    def replies(self) -> list[Reply]:
        return [reply for one_round in self.rounds for reply in one_round]

    def tpot_ms(self, round_index: int | None = None) -> float | None:
        """Time per output token over all prompts; the median over rounds where none is named."""
        if round_index is None:
            values = [
                value for index in range(len(self.rounds)) if (value := self.tpot_ms(index)) is not None
            ]
            return statistics.median(values) if values else None
        replies = self.rounds[round_index]
        tokens = sum(reply.decode_tokens for reply in replies)
        return sum(reply.decode_ns for reply in replies) / 1e6 / tokens if tokens else None

    def whole_ms(self, round_index: int | None = None) -> float | None:
        """Time per token of whole replies, from the prompt to the last token: a figure that does not ask what the first
        chunk held. The median over rounds where none is named."""
        if round_index is None:
            values = [
                value for index in range(len(self.rounds)) if (value := self.whole_ms(index)) is not None
            ]
            return statistics.median(values) if values else None
        replies = self.rounds[round_index]
        tokens = sum(len(reply.tokens) for reply in replies)
        return sum(reply.ttft_ns + reply.decode_ns for reply in replies) / 1e6 / tokens if tokens else None

    def ttft_ms(self) -> float | None:
        replies = self.replies()
        return statistics.median(reply.ttft_ns for reply in replies) / 1e6 if replies else None

    def metrics(self) -> Metrics:
        return combined_metrics(reply.metrics for reply in self.replies() if reply.metrics is not None)

    def traffic(self) -> Traffic:
        """What all passes together read, and how long they took for it."""
        return sum((reply.traffic for reply in self.replies()), Traffic())


def speed_up(
    fast: Cell, slow: Cell, figure: Callable[[Cell, int], float | None] = Cell.tpot_ms
) -> float | None:
    """Median over rounds of slow TPOT / fast TPOT (or another figure of a round)."""
    ratios = []
    for index in range(min(len(fast.rounds), len(slow.rounds))):
        ours, theirs = figure(fast, index), figure(slow, index)
        if ours and theirs:
            ratios.append(theirs / ours)
    return statistics.median(ratios) if ratios else None


def measure_engine(engine: Engine, request: GenerationRequest) -> Reply:
    """One reply from cold caches through the engine itself, no thread and no window between. Raises `ChatappError`."""
    engine.forget()
    record = RunRecord()
    for event in engine.run(engine.prepare(request), RunControl.of(request)):
        record.apply(event)
    return reply_of(record)


def reply_of(record: RunRecord) -> Reply:
    """The figures of a finished run. Raises `GenerationFailed`."""
    if record.ended is not None and record.ended.error:
        raise GenerationFailed(record.ended.error)
    metrics = run_metrics(record)
    ttft_ns = record.steps[0].ended_ns if record.steps else 0
    tokens = tuple(view.token.id for view in record.tokens())
    return Reply(ttft_ns, metrics.decode_ns, metrics.decode_tokens, tokens, metrics, run_traffic(record))


def in_turn(
    sides: Sequence[Callable[[int], Reply]],
    prompts: int,
    rounds: int,
    on_reply: Callable[[], None] = lambda: None,
) -> list[Cell]:
    """Every side answers every prompt, in turn, `rounds` times after one round that is thrown away. In another order each
    time, the same in every run: a side that always followed the slowest would always find its caches."""
    cells = [Cell() for _ in sides]
    orders, order = random.Random(0), list(range(len(sides)))
    with collector_spared():
        for round_index in range(rounds + 1):
            results: list[list[Reply]] = [[] for _ in sides]
            for prompt in range(prompts):
                orders.shuffle(order)
                for side in order:
                    results[side].append(sides[side](prompt))
                    on_reply()
            if round_index > 0:
                for cell, replies in zip(cells, results, strict=True):
                    cell.rounds.append(replies)
    return cells


@contextmanager
def collector_spared() -> Iterator[None]:
    """As the application has it while a reply runs: what is loaded is out of the collector's sight. A full collection over torch
    and the tokenizers takes 190 ms, and would hit one side alone."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
