"""Speculative sampling by rejection (Leviathan et al. 2022, algorithm 1; Chen et al. 2023, algorithm 2).

    accept x ~ draft with probability min(1, target(x) / draft(x));
    else sample from the residual, max(target − draft, 0), normalised.

The sum over both ways is target(x): the output's distribution is the target's, whatever the draft.
"""

from __future__ import annotations

from chatapp.engine.acceptors.independent import IndependentDraws
from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import draw_residual


class RejectionAcceptor(IndependentDraws):
    name = "rejection"
    lossless = True
    description = "Keeps a draft with probability min(1, target / draft), else samples the residual."

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        draws: list[float | None] = []
        for index, (token, draft_row) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            target_row = target_rows(index)
            uniform = self._streams.accept.random()
            draws.append(uniform)
            if accepts(uniform, target_row.prob(token), draft_row.prob(token)):
                continue
            final, fell_back = draw_residual(target_row, draft_row, self._streams.target.random())
            return Verdict(index, final, tuple(draws), int(fell_back))
        count = len(proposal.ids)
        return Verdict(count, self.draw_target(target_rows(count), position + count), tuple(draws))


def accepts(uniform: float, target_prob: float, draft_prob: float) -> bool:
    """uniform < target / draft, without the division; strict, so that a token of target probability 0 never passes."""
    return uniform * draft_prob < target_prob
