"""Drafter-invariant sampling by shared noise (Daliri et al. 2024, Gumbel coupling).

    every absolute position has one noise vector; draft and target both take argmax(probs / noise), Exp(1) noise;
    equal means accepted, and the target's own choice stands in any case.

Each argmax is an exact draw from its distribution, and the emitted token is always the target's: the text for a seed is
the same for every k, every draft, and with speculation off. It costs a few points of acceptance against rejection.
"""

from __future__ import annotations

from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams


class CoupledAcceptor:
    name = "coupled"
    lossless = True
    description = "Draft and target share their random noise: one seed gives one text, for every k and with speculation off."

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def draw_draft(self, row: Row, position: int) -> int:
        return self._streams.race(position, row)

    def draw_target(self, row: Row, position: int) -> int:
        return self._streams.race(position, row)

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        draws: list[float | None] = []
        for index, token in enumerate(proposal.ids):
            draws.append(None)
            choice = self._streams.race(position + index, target_rows(index))
            if choice != token:
                return Verdict(index, choice, tuple(draws))
        count = len(proposal.ids)
        return Verdict(count, self._streams.race(position + count, target_rows(count)), tuple(draws))
