"""Typical acceptance (Cai et al. 2024, Medusa): keep what the target finds plausible, without the ratio test.

    keep x if target(x) > min(ε, √ε · exp(−H(target))), H the entropy in nats; else the target's own sample.

**Lossy**: where the target hesitates, the draft's taste gets into the text. More is kept at high temperatures; the output is
no longer distributed as the target alone would have it.
"""

from __future__ import annotations

import math

import numpy as np

from chatapp.engine.acceptors.independent import IndependentDraws
from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Row, total

EPSILON = 0.09
"""Medusa's threshold; its factor of exp(−entropy) is the square root."""


class TypicalAcceptor(IndependentDraws):
    name = "typical"
    lossless = False
    description = "Lossy: keeps every draft that the target finds plausible. Faster where it hesitates, and not its distribution."

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, token in enumerate(proposal.ids):
            row = target_rows(index)
            if row.prob(token) <= threshold(row):
                return Verdict(index, self.draw_target(row, position + index), (None,) * (index + 1))
        count = len(proposal.ids)
        return Verdict(count, self.draw_target(target_rows(count), position + count), (None,) * count)


def threshold(row: Row) -> float:
    """The probability above which a token is typical of `row`."""
    probs = row.probs
    # 0 · log 0 is 0 here; the smallest normal number changes no other probability.
    entropy = -total(probs * np.log(probs + np.finfo(probs.dtype).tiny))
    return min(EPSILON, math.sqrt(EPSILON) * math.exp(-entropy))
