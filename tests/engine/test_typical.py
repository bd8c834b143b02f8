"""`typical`: what it does, by enumeration; and that it is as lossy as its label says."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from chatapp.bench.chi_square import chi_square_p
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.acceptors.typical import EPSILON, TypicalAcceptor, threshold
from chatapp.engine.contracts import Acceptor, Proposal
from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import ACCEPTORS
from tests.helpers.enumeration import Enumeration, Ids, finals, scripted_rule, table
from tests.helpers.rows import row_of

TARGET, DRAFT = table(21, 4), table(22, 4)


def cut(probs: list[float]) -> float:
    """The definition: min(ε, √ε · exp(−H))."""
    entropy = -math.fsum(p * math.log(p) for p in probs if p)
    return min(EPSILON, math.sqrt(EPSILON) * math.exp(-entropy))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sparse", [False, True])
def test_the_threshold_is_the_definitions(seed: int, sparse: bool) -> None:
    probs = table(seed, 6, lambda probs: probs.masked_fill(probs == probs.min(), 0.0))(())
    assert threshold(row_of(probs, sparse=sparse)) == pytest.approx(cut(probs.tolist()), rel=1e-12)


def test_the_threshold_of_a_sure_and_of_a_hesitant_row() -> None:
    assert threshold(Row(0, np.array([1.0, 0.0]))) == EPSILON, "no entropy: the hard threshold is the smaller"
    even = Row(0, np.full(100, 0.01, np.float32))
    assert threshold(even) == pytest.approx(math.sqrt(EPSILON) / 100, rel=1e-5)


def test_the_threshold_of_a_long_row() -> None:
    probs = np.random.default_rng(1).dirichlet(np.full(20_000, 0.05))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        assert threshold(Row(0, probs.astype(dtype))) == pytest.approx(cut(probs.tolist()), rel=tolerance)


@pytest.mark.parametrize("drafts", list(itertools.product(range(4), repeat=2)))
def test_it_keeps_what_is_plausible_and_else_takes_the_targets_own_sample(drafts: Ids) -> None:
    proposal = Proposal(drafts, tuple(row_of(DRAFT(drafts[:i])) for i in range(2)))
    kept = 0
    while kept < 2 and float(TARGET(drafts[:kept])[drafts[kept]]) > cut(TARGET(drafts[:kept]).tolist()):
        kept += 1
    rule, _, drawing = scripted_rule(TypicalAcceptor)

    def final(uniform: float) -> int:
        drawing.script = iter([uniform])
        verdict = rule.verify(proposal, lambda i: row_of(TARGET(drafts[:i])), 0)
        assert verdict.accepted == kept
        assert set(verdict.draws) == {None}
        return verdict.final_id

    shares = dict(finals(final, 4))
    assert [shares.get(token, 0.0) for token in range(4)] == pytest.approx(TARGET(drafts[:kept]).tolist())


class TypicalEnumeration(Enumeration):
    """No uniform tests a draft: whether it is kept is certain."""

    def outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        kept = drafts[: self.verify(drafts, [], 0.5).accepted]
        for token, weight in finals(lambda u: self.verify(drafts, [], u).final_id, self.vocabulary):
            yield (*kept, token), weight


def test_by_enumeration_it_is_lossy() -> None:
    deviation = TypicalEnumeration(TARGET, DRAFT, 2, 4, TypicalAcceptor).deviation()
    assert deviation > 1e-2


def first_tokens(rule: Acceptor, samples: int) -> Counter[int]:
    seen: Counter[int] = Counter()
    draft, target = row_of(DRAFT(())), row_of(TARGET(()))
    for position in range(samples):
        token = rule.draw_draft(draft, position)
        verdict = rule.verify(Proposal((token,), (draft,)), lambda _: target, position)
        seen[token if verdict.accepted else verdict.final_id] += 1
    return seen


@pytest.mark.statistical
def test_the_statistics_that_pass_a_lossless_rule_fail_it() -> None:
    """A correct rule would fall below 1e-4 with that chance; `typical` lies many orders below it."""
    samples = 20_000
    expected = [samples * prob for prob in TARGET(()).tolist()]
    exact = first_tokens(RejectionAcceptor(Streams(5)), samples)
    lossy = first_tokens(TypicalAcceptor(Streams(5)), samples)
    assert chi_square_p([exact[token] for token in range(4)], expected) > 1e-4
    assert chi_square_p([lossy[token] for token in range(4)], expected) < 1e-20


def test_it_says_so() -> None:
    assert not TypicalAcceptor.lossless
    assert not ACCEPTORS["typical"].lossless
    assert "Lossy" in ACCEPTORS["typical"].description
