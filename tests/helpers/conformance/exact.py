"""Exact enumeration of any rule that draws from its streams by `random()` and compares.

The whole of a verify step (drafts drawn, tested, the rest drawn by the target) is a function of the uniform numbers it asks
for, constant on boxes. The edges are found by bisection to the last bit of a float64, one number after the other, so the
chance of every outcome is known to rounding. Nothing is taken from the rule's formulas.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from chatapp.engine.contracts import Proposal
from chatapp.engine.distribution import Row
from tests.helpers.conformance.common import MakeAcceptor

BELOW_ONE = 1.0 - 2.0**-53
GRID = [*(place / 24 for place in range(24)), BELOW_ONE]
"""A stretch between two edges that is narrower than this might be overlooked; tables here have none."""
COMPLETIONS = [0.0, 0.03, 0.21, 0.39, 0.58, 0.77, 0.97, BELOW_ONE]
MOST_NUMBERS = 12
Ids = tuple[int, ...]
Table = Callable[[Ids], Row]


class NotScriptable(Exception):
    """The rule takes its randomness in another way than by `random()` of its streams."""


class _NeedsMore(Exception):
    """The tape has run out."""


class _Tape:
    """Stands for each `random.Random` of `Streams`: one tape for all of them, in the order of asking."""

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers = iter(numbers)

    def random(self) -> float:
        for number in self._numbers:
            return number
        raise _NeedsMore

    def __getattr__(self, name: str) -> object:
        raise NotScriptable(name)


class _TapedStreams:
    """Stands for `Streams`."""

    def __init__(self, tape: _Tape) -> None:
        self.draft = self.accept = self.target = tape

    def __getattr__(self, name: str) -> object:
        raise NotScriptable(name)


class OneStep:
    """A window of `count` drafts, and then as many target tokens as make `count` + 1 in all."""

    def __init__(self, make: MakeAcceptor, target: Table, draft: Table, count: int, vocabulary: int) -> None:
        self._make = make
        self._target = target
        self._draft = draft
        self._count = count
        self._vocabulary = vocabulary

    def deviation(self) -> float:
        """Largest difference between the chance of `count` + 1 tokens and the target's own. Raises `NotScriptable`."""
        found = self._outcomes(())
        worst = 0.0
        for sequence in itertools.product(range(self._vocabulary), repeat=self._count + 1):
            wanted = math.prod(
                self._target(sequence[:place]).prob(token) for place, token in enumerate(sequence)
            )
            worst = max(worst, abs(found.get(sequence, 0.0) - wanted))
        return worst

    def _run(self, numbers: Sequence[float]) -> Ids | None:
        """What is said when the streams give these numbers; None when it takes more of them."""
        rule = self._make(_TapedStreams(_Tape(numbers)))  # type: ignore[arg-type]  # stands for Streams
        try:
            drafts: Ids = ()
            rows: list[Row] = []
            for place in range(self._count):
                rows.append(self._draft(drafts))
                drafts = (*drafts, rule.draw_draft(rows[-1], place))
            proposal = Proposal(drafts, tuple(rows))
            verdict = rule.verify(proposal, lambda place: self._target(drafts[:place]), 0)
            said = (*drafts[: verdict.accepted], verdict.final_id)
            while len(said) <= self._count:
                said = (*said, rule.draw_target(self._target(said), len(said)))
        except _NeedsMore:
            return None
        return said

    def _outcomes(self, begun: tuple[float, ...]) -> dict[Ids, float]:
        """Chance of everything that can be said after the numbers `begun`."""
        said = self._run(begun)
        if said is not None:
            return {said: 1.0}
        if len(begun) == MOST_NUMBERS:
            raise NotScriptable(f"more than {MOST_NUMBERS} numbers for {self._count} drafts")
        result: dict[Ids, float] = {}
        for low, high in self._boxes(begun):
            for sequence, chance in self._outcomes((*begun, (low + high) / 2)).items():
                result[sequence] = result.get(sequence, 0.0) + chance * (high - low)
        return result

    def _boxes(self, begun: tuple[float, ...]) -> Iterator[tuple[float, float]]:
        """The stretches of the next number within which nothing changes."""
        signatures = [self._signature((*begun, number)) for number in GRID]
        edges = [0.0]
        for (low, before), (high, after) in itertools.pairwise(zip(GRID, signatures, strict=True)):
            edges += self._edges(begun, low, high, before, after)
        yield from itertools.pairwise([*edges, 1.0])

    def _edges(
        self, begun: tuple[float, ...], low: float, high: float, before: object, after: object
    ) -> list[float]:
        if before == after:
            return []
        middle = (low + high) / 2
        if middle in (low, high):
            return [high]
        there = self._signature((*begun, middle))
        return [
            *self._edges(begun, low, middle, before, there),
            *self._edges(begun, middle, high, there, after),
        ]

    def _signature(self, begun: tuple[float, ...]) -> tuple[Ids | None, ...]:
        """What is said at a few points behind these numbers: differs on the two sides of an edge."""
        said = self._run(begun)
        if said is not None:
            return (said,)
        count = MOST_NUMBERS - len(begun)
        shifted = [
            itertools.islice(itertools.cycle(COMPLETIONS[at:] + COMPLETIONS[:at]), count) for at in (0, 2, 5)
        ]
        level = [itertools.repeat(number, count) for number in COMPLETIONS]
        return tuple(self._run((*begun, *rest)) for rest in [*level, *shifted])


def sparse_row(weights: Sequence[float]) -> Row:
    """A row that keeps only the ids that have mass, in float64."""
    probs = np.array(weights, np.float64) / sum(weights)
    ids = np.flatnonzero(probs)
    return Row(int(probs.argmax()), probs[ids], ids, len(probs))


def dense_row(weights: Sequence[float]) -> Row:
    probs = np.array(weights, np.float64) / sum(weights)
    return Row(int(probs.argmax()), probs)
