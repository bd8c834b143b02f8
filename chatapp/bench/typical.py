"""What windows are worth, apart from how busy the machine was: steps counted at the median cost of their kind.

All sides of a comparison write the same text with the same models. A side's time per token then follows from which windows
it chose and what was accepted; what a drafted token and a pass of each size take is the median over all sides.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from chatapp.bench.measure import Cell, Reply
from chatapp.domain.record import RunRecord

ENOUGH = 5
"""Passes of a size that a median needs; the figures of rarer sizes are interpolated."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """A verify step: its drafts and what they took, everything else, and the tokens it gave."""

    drafts: int
    draft_ns: int
    rest_ns: int
    tokens: int


@dataclass(frozen=True)
class SteppedReply(Reply):
    """A reply with its steps, the first (the prompt's) left out."""

    steps: tuple[StepCost, ...] = ()


def stepped(reply: Reply, record: RunRecord) -> SteppedReply:
    """The figures of a run and its steps."""
    steps = tuple(
        StepCost(
            step.window - 1,
            step.draft_ns,
            step.ended_ns - step.started_ns - step.draft_ns,
            len(step.tokens),
        )
        for step in record.steps[1:]
    )
    return SteppedReply(**{field.name: getattr(reply, field.name) for field in fields(reply)}, steps=steps)


def steps_of(cell: Cell) -> list[StepCost]:
    return [step for reply in cell.replies() if isinstance(reply, SteppedReply) for step in reply.steps]


class TypicalCosts:
    """Medians over every step of every side."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        steps = [step for cell in cells for step in steps_of(cell)]
        by_size: dict[int, list[StepCost]] = defaultdict(list)
        for step in steps:
            by_size[step.drafts].append(step)
        known = sorted(size for size, same in by_size.items() if len(same) >= ENOUGH) or sorted(by_size)
        self._sizes = known
        # By their number: to begin drafting costs as much as some drafts more.
        self._draft_ns = [statistics.median(step.draft_ns for step in by_size[size]) for size in known]
        self._rest_ns = [statistics.median(step.rest_ns for step in by_size[size]) for size in known]

    def tpot_ms(self, cell: Cell) -> float | None:
        """Time per token of a side at these costs; None where it made no step."""
        steps = steps_of(cell)
        if not steps:
            return None
        return self._whole_ns(steps) / 1e6 / sum(step.tokens for step in steps)

    def _whole_ns(self, steps: Sequence[StepCost]) -> float:
        sizes = np.array([step.drafts for step in steps], np.float64)
        costs = np.interp(sizes, self._sizes, self._draft_ns) + np.interp(sizes, self._sizes, self._rest_ns)
        return float(costs.sum())
