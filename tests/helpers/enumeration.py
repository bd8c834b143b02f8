"""Enumeration: everything that one verify step can do on a tiny vocabulary, with its probability.

Nothing is taken from formulas: `verify` is run with scripted uniforms, and the length of the interval of uniforms that leads
to each outcome is found by bisection to the last bit of a float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from chatapp.engine.acceptors.block import BlockAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.contracts import Acceptor, Proposal, Verdict
from chatapp.engine.randomness import Streams
from tests.helpers.rows import row_of

BELOW_ONE = 1.0 - 2.0**-53
Ids = tuple[int, ...]
Table = Callable[[Ids], torch.Tensor]
MakeRule = Callable[[Streams], Acceptor]


class Scripted:
    """Stands for `random.Random`: gives what it is told to."""

    def __init__(self) -> None:
        self.script: Iterator[float] = iter(())

    def random(self) -> float:
        return next(self.script)


def scripted_rule(rule: MakeRule) -> tuple[Acceptor, Scripted, Scripted]:
    """An acceptor with its accept and target streams in hand."""
    streams = Streams(0)
    accept, target = Scripted(), Scripted()
    streams.accept, streams.target = accept, target  # type: ignore[assignment]  # they need `random` alone
    return rule(streams), accept, target


def threshold(holds: Callable[[float], bool]) -> float:
    """Length of the interval from 0 on which `holds` is true; true, then false."""
    if holds(BELOW_ONE):
        return 1.0
    if not holds(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        low, high = (middle, high) if holds(middle) else (low, middle)


def finals(final: Callable[[float], int], vocabulary: int) -> Iterator[tuple[int, float]]:
    """The final token as a step function of its uniform."""
    below = 0.0
    for token in range(vocabulary):
        edge = threshold(lambda u, t=token: final(u) <= t)  # type: ignore[misc]  # a default binds the loop's token
        if edge > below:
            yield token, edge - below
            below = edge


@dataclass
class Enumeration:
    """All that one verify step can do. `stops` ends the window early, by the tokens drafted so far; `sparse` hands over rows
    that keep only the ids that have mass."""

    target: Table
    draft: Table
    count: int
    vocabulary: int
    rule: MakeRule = RejectionAcceptor
    stops: Callable[[Ids], bool] = lambda _: False
    sparse: bool = False

    def emitted(self) -> dict[Ids, float]:
        """Probability of every emitted sequence (accepted drafts and the final token)."""
        result: dict[Ids, float] = {}
        for drafts, chance in self.windows():
            for sequence, weight in self.outcomes(drafts):
                result[sequence] = result.get(sequence, 0.0) + chance * weight
        return result

    def windows(self, begun: Ids = (), chance: float = 1.0) -> Iterator[tuple[Ids, float]]:
        """Every window that can be drafted, and how likely it is."""
        if begun and (len(begun) == self.count or self.stops(begun)):
            yield begun, chance
            return
        for token, prob in enumerate(self.draft(begun).tolist()):
            if prob:
                yield from self.windows((*begun, token), chance * prob)

    def outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        """What can be emitted for a window: drafts are tested in order up to the first rejection."""
        passed: list[float] = []
        chance = 1.0
        for place in range(len(drafts)):
            before = tuple(passed)
            rest = [BELOW_ONE] * (len(drafts) - place - 1)

            def share_of(u: float, b: Ids | tuple[float, ...] = before, r: Sequence[float] = rest) -> Verdict:
                return self.verify(drafts, [*b, u, *r], 0.5)

            share = threshold(lambda u, p=place, s=share_of: s(u).accepted > p)  # type: ignore[misc]  # defaults bind the loop's values
            if share < 1.0:
                rejected = [*before, BELOW_ONE, *rest]
                for token, weight in self._finals(drafts, rejected):
                    yield (*drafts[:place], token), chance * (1.0 - share) * weight
            if share == 0.0:
                return
            chance *= share
            passed.append(0.0)
        for token, weight in self._finals(drafts, passed):
            yield (*drafts, token), chance * weight

    def verify(self, drafts: Ids, accept: Sequence[float], final: float) -> Verdict:
        """The rule's verdict on `drafts`, its uniforms given."""
        rows = tuple(row_of(self.draft(drafts[:i]), sparse=self.sparse) for i in range(len(drafts)))
        rule, accepting, drawing = scripted_rule(self.rule)
        accepting.script, drawing.script = iter(accept), iter([final])
        return rule.verify(
            Proposal(drafts, rows), lambda i: row_of(self.target(drafts[:i]), sparse=self.sparse), 0
        )

    def _finals(self, drafts: Ids, accept: Sequence[float]) -> Iterator[tuple[int, float]]:
        return finals(lambda u: self.verify(drafts, accept, u).final_id, self.vocabulary)

    def deviation(self) -> float:
        """Largest difference between the distribution of what follows the prompt and the target's own."""
        emitted = self.emitted()
        worst = 0.0
        for sequence in itertools.product(range(self.vocabulary), repeat=self.count + 1):
            wanted = self._continued((), sequence)
            found = sum(
                emitted.get(sequence[:length], 0.0) * self._continued(sequence[:length], sequence)
                for length in range(1, self.count + 2)
            )
            worst = max(worst, abs(found - wanted))
        return worst

    def mean_length(self) -> float:
        """Expected number of emitted tokens."""
        return sum(len(sequence) * chance for sequence, chance in self.emitted().items())

    def _continued(self, begun: Ids, sequence: Ids) -> float:
        return math.prod(
            float(self.target(sequence[:i])[sequence[i]]) for i in range(len(begun), len(sequence))
        )


@dataclass
class BlockEnumeration(Enumeration):
    """The window is judged from its end: the longest prefix whose own test passes is kept."""

    rule: MakeRule = BlockAcceptor

    def outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        chance = 1.0
        for length in range(len(drafts), -1, -1):
            draws, share = [BELOW_ONE] * len(drafts), 1.0
            if length:
                place = length - 1
                share = threshold(
                    lambda u, d=draws, p=place: (  # type: ignore[misc]  # defaults bind the loop's values
                        self.verify(drafts, [*d[:p], u, *d[p + 1 :]], 0.5).accepted > p
                    )
                )
                draws[place] = 0.0
            if share * chance > 0.0:
                for token, weight in self._finals(drafts, draws):
                    yield (*drafts[:length], token), chance * share * weight
            chance *= 1.0 - share
            if chance == 0.0:
                return


def table(
    seed: int, vocabulary: int, change: Callable[[torch.Tensor], torch.Tensor] = lambda probs: probs
) -> Table:
    """A distribution for every prefix."""
    rows: dict[Ids, torch.Tensor] = {}

    def at(prefix: Ids) -> torch.Tensor:
        if prefix not in rows:
            generator = torch.Generator().manual_seed(hash((seed, *prefix)) % 2**31)
            logits = torch.randn(vocabulary, generator=generator, dtype=torch.float64) * 1.5
            probs = change(torch.softmax(logits, -1))
            rows[prefix] = probs / probs.sum()
        return rows[prefix]

    return at
