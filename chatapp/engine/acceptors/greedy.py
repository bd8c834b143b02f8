"""Temperature 0: both models take their most probable token; equal means accepted."""

from __future__ import annotations

from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams


class GreedyAcceptor:
    name = "greedy"
    lossless = True

    def __init__(self, streams: Streams) -> None:
        del streams  # nothing is random here

    def _choose(self, row: Row) -> int:
        # The best score, not the best probability: rounding can tie two tokens that the logits still tell apart.
        return row.best

    def draw_draft(self, row: Row, position: int) -> int:  # noqa: ARG002 - the contract's signature
        return self._choose(row)

    def draw_target(self, row: Row, position: int) -> int:  # noqa: ARG002 - the contract's signature
        return self._choose(row)

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:  # noqa: ARG002 - as above
        for index, token in enumerate(proposal.ids):
            choice = self._choose(target_rows(index))
            if choice != token:
                return Verdict(index, choice, (None,) * (index + 1))
        count = len(proposal.ids)
        return Verdict(count, self._choose(target_rows(count)), (None,) * count)
