"""Rules whose final token does not depend on the drafts: `coupled` and `greedy`; and target rows that nobody needs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chatapp.engine.acceptors.block import BlockAcceptor
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.contracts import Proposal
from chatapp.engine.distribution import GreedyRow, Row
from chatapp.engine.randomness import Streams
from tests.helpers.enumeration import table
from tests.helpers.rows import row_of


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("rule_class", [CoupledAcceptor, GreedyAcceptor])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_drafted_the_targets_own_choices_stand(
    rule_class: type[CoupledAcceptor] | type[GreedyAcceptor], count: int, seed: int, sparse: bool
) -> None:
    target = table(seed, 4, lambda probs: probs.masked_fill(probs == probs.min(), 0.0))
    draft = table(seed + 50, 4)
    alone: list[int] = []
    for place in range(count + 1):
        rule = rule_class(Streams(seed))
        alone.append(rule.draw_target(row_of(target(tuple(alone)), sparse=sparse), 100 + place))
    for drafts in itertools.product(range(4), repeat=count):
        proposal = Proposal(drafts, tuple(row_of(draft(drafts[:i])) for i in range(count)))

        def rows(index: int, drafts: tuple[int, ...] = drafts) -> Row:
            return row_of(target(drafts[:index]), sparse=sparse)

        verdict = rule_class(Streams(seed)).verify(proposal, rows, 100)
        emitted = [*drafts[: verdict.accepted], verdict.final_id]
        assert emitted == alone[: len(emitted)]
        agreeing = next((i for i in range(count) if drafts[i] != alone[i]), count)
        assert verdict.accepted == agreeing


def test_greedy_tells_logits_apart_that_softmax_ties() -> None:
    scores = np.array([0.0, 1e-9], np.float32)
    tied = GreedyRow(int(scores.argmax()), scores)
    assert tied.probs[0] == tied.probs[1]
    assert GreedyAcceptor(Streams(0)).draw_target(tied, 0) == 1


@pytest.mark.parametrize("rule_class", [RejectionAcceptor, CoupledAcceptor, GreedyAcceptor])
def test_target_rows_behind_a_rejection_are_never_asked_for(
    rule_class: type[RejectionAcceptor] | type[CoupledAcceptor] | type[GreedyAcceptor],
) -> None:
    target, draft = Row(0, np.array([1.0, 0.0])), Row(1, np.array([0.0, 1.0]))
    asked: list[int] = []

    def rows(index: int) -> Row:
        asked.append(index)
        return target

    verdict = rule_class(Streams(1)).verify(Proposal((1, 1, 1), (draft,) * 3), rows, 7)
    assert (verdict.accepted, verdict.final_id, len(verdict.draws)) == (0, 0, 1)
    assert set(asked) == {0}


def test_block_never_asks_for_the_bonus_row_of_a_window_that_it_cuts() -> None:
    target, draft = Row(0, np.array([1.0, 0.0])), Row(1, np.array([0.0, 1.0]))
    asked: set[int] = set()

    def rows(index: int) -> Row:
        asked.add(index)
        return target

    verdict = BlockAcceptor(Streams(1)).verify(Proposal((1, 1, 1), (draft,) * 3), rows, 7)
    assert (verdict.accepted, verdict.final_id) == (0, 0)
    assert 3 not in asked
