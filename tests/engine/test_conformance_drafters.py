"""Drafters with the classic faults do not pass the suite, each by the law it breaks."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from chatapp.engine.contracts import Budget, Proposal
from chatapp.engine.distribution import Row, one_hot
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.registry import DraftingContext
from tests.helpers.conformance import (
    Nonconforming,
    check_drafter,
)

pytestmark = pytest.mark.statistical


class Own(ModelDrafter):
    """The draft model, with the context in hand."""

    def __init__(self, context: DraftingContext) -> None:
        assert context.draft is not None
        super().__init__(context.draft, context.processor, context.acceptor, context.ends)
        self.context = context


def cut(proposal: Proposal, count: int) -> Proposal:
    return Proposal(
        proposal.ids[:count], proposal.rows[:count], proposal.sources[:count], proposal.confidences[:count]
    )


class RawDraftProbs(Own):
    """Hands over the distribution of temperature 1; the tokens were drawn at 0.7."""

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        proposal = super().propose(prefix, budget)
        rows = []
        for row in proposal.rows:
            raw = row.probs**0.7
            rows.append(Row(row.best, raw / raw.sum(), row.ids, row.size))
        return Proposal(proposal.ids, tuple(rows), proposal.sources, proposal.confidences)


class DropsUnlikely(Own):
    """Draws a token, finds it too unlikely and keeps it to itself."""

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        proposal = super().propose(prefix, budget)
        keep = itertools.takewhile(lambda value: value > 0.3, proposal.confidences)
        return cut(proposal, len(list(keep)))


class DropsUnlikelyUnasked(Own):
    """The same, without asking the budget about the token: only the statistics can tell."""

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        class Quiet:
            count = budget.count
            cancelled = False

            def more(self, confidence: float, source: str) -> bool:
                return confidence > 0.3 and budget.more(confidence, source)

        proposal = super().propose(prefix, Quiet())
        return proposal if not proposal.ids or proposal.confidences[-1] > 0.3 else cut(proposal, -1)


class BestTokens(Own):
    """Proposes the most probable id and hands over the whole row."""

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        proposal = super().propose(prefix, budget)
        ids = tuple(row.best for row in proposal.rows)
        return Proposal(ids, proposal.rows, proposal.sources, proposal.confidences)


class Peeks(Own):
    """Looks at the number that will test its token: draws where it is low, and else proposes id 0 as certain. Every token does
    come from its row; only whole replies can tell."""

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        proposal = super().propose(prefix, budget)
        streams = getattr(self.context.acceptor(), "_streams", None)
        if not proposal.ids or streams is None or copy.deepcopy(streams.accept).random() < 0.5:
            return proposal
        return Proposal((0,), (one_hot(0, self.context.vocabulary),), ("model",), (1.0,))


class IgnoresCount(Own):
    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        proposal = super().propose(prefix, budget)
        return Proposal(proposal.ids * 9, proposal.rows * 9)


class IgnoresBudget(Own):
    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        class Deaf:
            count = budget.count
            cancelled = False

            def more(self, confidence: float, source: str) -> bool:
                budget.more(confidence, source)
                return True

        return super().propose(prefix, Deaf())


class NeverAsks(Own):
    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        class Silent:
            count = budget.count
            cancelled = False

            def more(self, confidence: float, source: str) -> bool:
                return True

        return super().propose(prefix, Silent())


class ProposesBehindTheEnd(Own):
    def __init__(self, context: DraftingContext) -> None:
        super().__init__(context)
        self._ends = frozenset()


class Scribbles(Own):
    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        computed = super().catch_up(prefix, cancelled)
        prefix.append(0)
        return computed


class ForgetsToRewind(Own):
    def rewind(self, length: int) -> None:
        pass

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        return 0


class Silent(Own):
    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        return Proposal()


class Certain(Own):
    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        proposal = super().propose(prefix, budget)
        return Proposal(proposal.ids, proposal.rows, proposal.sources, tuple(2.0 for _ in proposal.ids))


@pytest.mark.parametrize(
    ("faulty", "law"),
    [
        (RawDraftProbs, "not drawn from the rows"),
        (BestTokens, "not drawn from the rows"),
        (DropsUnlikely, "stays in the proposal"),
        (DropsUnlikelyUnasked, "not drawn from the rows"),
        (Peeks, "does not follow the target"),
        (IgnoresCount, "were allowed"),
        (IgnoresBudget, "ends when its budget says so"),
        (NeverAsks, "budget is asked"),
        (ProposesBehindTheEnd, "behind an end of text"),
        (Scribbles, "prefix is left as it is"),
        (Silent, "proposed nothing"),
        (Certain, "confidences lie in 0..1"),
    ],
)
def test_faulty_drafters_are_seen(faulty: Callable[..., Any], law: str) -> None:
    with pytest.raises(Nonconforming, match=re.escape(law)):
        check_drafter(faulty)


def test_a_drafter_that_forgets_to_rewind_is_seen() -> None:
    """By the draft itself or by the laws of the loop, whichever sees it first."""
    with pytest.raises((AssertionError, ValueError, IndexError)):
        check_drafter(ForgetsToRewind)
