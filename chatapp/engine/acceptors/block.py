"""Block verification (Sun et al. 2024, "Block verification accelerates speculative decoding", algorithm 2).

Rejection tests drafts one by one and never looks past the first rejection. Here the window is judged as a whole: with
p_i = min(1, p_{i−1} · target(x_i) / draft(x_i)), p_0 = 1, the kept prefix is the longest one whose test passes,

    test i (of g):  u_i < m_i / (m_i + 1 − p_i),   m_i = Σ_x max(p_i · target_i(x) − draft_i(x), 0);   test g: u_g < p_g
    then sample from max(p_τ · target_τ − draft_τ, 0), normalised; from the target itself when all were kept.

Lossless like rejection, and never keeps fewer tokens in expectation: an unlucky draft in front of lucky ones is forgiven.
"""

from __future__ import annotations

import numpy as np

from chatapp.engine.acceptors.independent import IndependentDraws
from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import draw_residual, residual


class BlockAcceptor(IndependentDraws):
    name = "block"
    lossless = True
    description = "Judges the window as a whole: on average keeps no fewer tokens than rejection, more where k is large."

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        count = len(proposal.ids)
        weights = prefix_weights(proposal, target_rows)
        draws = tuple(self._streams.accept.random() for _ in proposal.ids)
        kept = 0
        for length in range(count, 0, -1):
            if passes(draws[length - 1], length, weights[length], proposal, target_rows):
                kept = length
                break
        if kept == count:
            return Verdict(count, self.draw_target(target_rows(count), position + count), draws)
        uniform = self._streams.target.random()
        final, fell_back = draw_residual(target_rows(kept), proposal.rows[kept], uniform, weights[kept])
        return Verdict(kept, final, draws, int(fell_back))


def prefix_weights(proposal: Proposal, target_rows: TargetRows) -> list[float]:
    """p_0 … p_g: how well target covers draft along the window, never above 1."""
    weights = [1.0]
    for index, (token, draft_row) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
        ratio = target_rows(index).prob(token) / draft_row.prob(token)
        weights.append(min(1.0, weights[-1] * ratio))
    return weights


def passes(uniform: float, length: int, weight: float, proposal: Proposal, target_rows: TargetRows) -> bool:
    """Test `length` of the window; strict, so that a prefix of weight 0 never passes."""
    if length == len(proposal.ids):
        return uniform < weight
    mass = float(residual(target_rows(length), proposal.rows[length], weight).sum(dtype=np.float64))
    return uniform * (mass + 1.0 - weight) < mass
