"""Temperature 0: both models take their most probable token; equal means accepted."""

from __future__ import annotations

import torch

from chatapp.engine.contracts import Proposal, Row, TargetRows, Verdict
from chatapp.engine.randomness import Streams


class GreedyAcceptor:
    name = "greedy"
    lossless = True

    def __init__(self, streams: Streams) -> None:
        del streams  # nothing is random here

    def _choose(self, row: Row) -> int:
        # On the scores: rounding in softmax can tie two tokens that the logits still tell apart.
        return int(torch.argmax(row.scores))

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
