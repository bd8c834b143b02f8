"""Acceptors with the classic faults do not pass the suite, each by the law it breaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.acceptors.independent import IndependentDraws
from chatapp.engine.acceptors.rejection import RejectionAcceptor, accepts
from chatapp.engine.acceptors.typical import TypicalAcceptor
from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Row, draw, draw_residual
from tests.helpers.conformance import (
    Nonconforming,
    check_acceptor,
)

pytestmark = pytest.mark.statistical


class DraftByDraft(IndependentDraws):
    """Rejection, with the correction left to `correct`."""

    name = "faulty"
    lossless = True

    def correct(self, target: Row, draft: Row, index: int) -> int:
        return draw_residual(target, draft, self._streams.target.random())[0]

    def accepts(self, token: int, target: Row, draft: Row) -> bool:
        return accepts(self._streams.accept.random(), target.prob(token), draft.prob(token))

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, (token, row) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            if not self.accepts(token, target_rows(index), row):
                return Verdict(index, self.correct(target_rows(index), row, index), (None,) * (index + 1))
        count = len(proposal.ids)
        return Verdict(count, self.draw_target(target_rows(count), position + count), (None,) * count)


class IndexAligned(DraftByDraft):
    """Subtracts sparse rows place by place, as if place n of both were the same id."""

    def correct(self, target: Row, draft: Row, index: int) -> int:
        subtracted = np.zeros_like(target.probs)
        shared = min(len(target.probs), len(draft.probs))
        subtracted[:shared] = draft.probs[:shared]
        rest = np.maximum(target.probs - subtracted, 0)
        weights = rest if float(rest.sum()) > 0 else target.probs
        return draw(weights, target.ids, self._streams.target.random())


class CorrectsFromTarget(DraftByDraft):
    """Draws the correction from the target instead of the residual."""

    def correct(self, target: Row, draft: Row, index: int) -> int:
        return self.draw_target(target, 0)


class TwoChances(DraftByDraft):
    """DraftByDraft a rejected draft once more."""

    def accepts(self, token: int, target: Row, draft: Row) -> bool:
        return super().accepts(token, target, draft) or super().accepts(token, target, draft)


class UpsideDown(DraftByDraft):
    """Accepts with min(1, draft / target)."""

    def accepts(self, token: int, target: Row, draft: Row) -> bool:
        return super().accepts(token, draft, target)


class ClaimsTooMuch(TypicalAcceptor):
    """Typical acceptance, sold as lossless."""

    lossless = True


class BonusFromLastTest(DraftByDraft):
    """Draws the bonus from the row that tested the last draft."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        last = len(proposal.ids) - 1
        return super().verify(proposal, lambda index: target_rows(min(index, last)), position)


class NoiseByWindowIndex(CoupledAcceptor):
    """Takes the noise of the place in the window: fine in one window, the same few vectors again and again in a reply."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        return super().verify(proposal, target_rows, 0)


class TakesTheBest(GreedyAcceptor):
    """Greedy at any temperature."""


class KeepsOneTooMany(RejectionAcceptor):
    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        verdict = super().verify(proposal, target_rows, position)
        return Verdict(verdict.accepted + 1, verdict.final_id, (*verdict.draws, None))


class SpoilsRows(RejectionAcceptor):
    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        verdict = super().verify(proposal, target_rows, position)
        target_rows(verdict.accepted).probs[:] = 0.25
        return verdict


class AsksTooFar(RejectionAcceptor):
    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        target_rows(len(proposal.ids) + 1)
        return super().verify(proposal, target_rows, position)


OFF = "not the target's distribution"


@pytest.mark.parametrize(
    ("faulty", "law"),
    [
        (IndexAligned, OFF),
        (CorrectsFromTarget, OFF),
        (TwoChances, OFF),
        (UpsideDown, "kept draft is one that the target can give"),
        (BonusFromLastTest, "final token is one that the target can give"),
        (TakesTheBest, OFF),
        (ClaimsTooMuch, OFF),
        (NoiseByWindowIndex, "a reply does not follow the target"),
        (KeepsOneTooMany, "a kept draft is one that the target can give"),
        (SpoilsRows, "rows are left as they are"),
        (AsksTooFar, "asked for the target's row"),
    ],
)
def test_faulty_acceptors_are_seen(faulty: Callable[..., Any], law: str) -> None:
    with pytest.raises(Nonconforming, match=re.escape(law)):
        check_acceptor(faulty)


@pytest.mark.parametrize(("rule", "lossless"), [(TypicalAcceptor, True), (RejectionAcceptor, False)])
def test_what_a_rule_declares_must_be_what_is_checked(rule: Callable[..., Any], lossless: bool) -> None:
    with pytest.raises(Nonconforming, match="declares lossless"):
        check_acceptor(rule, lossless=lossless)
