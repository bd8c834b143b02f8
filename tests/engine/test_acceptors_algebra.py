"""Algebra: on tiny vocabularies, the sum over all drafts and all outcomes is the target's distribution, by enumeration.

Nothing is taken from the formulas: `verify` is run with scripted uniforms, and the length of the interval of uniforms that
leads to each outcome is found by bisection to the last bit of a float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.request import SamplingSettings
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor, accepts, residual_probs
from chatapp.engine.contracts import Proposal, Row, Verdict
from chatapp.engine.randomness import Streams, draw
from chatapp.engine.sampling import Processor

BELOW_ONE = 1.0 - 2.0**-53
Ids = tuple[int, ...]
Table = Callable[[Ids], torch.Tensor]


class Scripted:
    """Stands for `random.Random`: gives what it is told to."""

    def __init__(self) -> None:
        self.script: Iterator[float] = iter(())

    def random(self) -> float:
        return next(self.script)


def scripted_rule(
    rule: type[RejectionAcceptor] = RejectionAcceptor,
) -> tuple[RejectionAcceptor, Scripted, Scripted]:
    """An acceptor with its accept and target streams in hand."""
    streams = Streams(0)
    accept, target = Scripted(), Scripted()
    streams.accept, streams.target = accept, target  # type: ignore[assignment]  # they need `random` alone
    return rule(streams), accept, target


def row(probs: torch.Tensor) -> Row:
    return Row(torch.log(probs), probs)


def threshold(holds: Callable[[float], bool]) -> float:
    """Length of the interval from 0 on which `holds` is true; true, then false."""
    if holds(BELOW_ONE):
        return 1.0
    if not holds(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        low, high = (middle, high) if holds(middle) else (low, middle)


@dataclass
class Enumeration:
    """All that one verify step can do, with its probability: `outcomes[(drafts, emitted)]`."""

    target: Table
    draft: Table
    count: int
    vocabulary: int
    rule: type[RejectionAcceptor] = RejectionAcceptor

    def emitted(self) -> dict[Ids, float]:
        """Probability of every emitted sequence (accepted drafts and the final token)."""
        result: dict[Ids, float] = {}
        for drafts in itertools.product(range(self.vocabulary), repeat=self.count):
            chance = math.prod(float(self.draft(drafts[:i])[token]) for i, token in enumerate(drafts))
            if chance:
                for sequence, weight in self._outcomes(drafts):
                    result[sequence] = result.get(sequence, 0.0) + chance * weight
        return result

    def _outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        proposal = Proposal(drafts, tuple(row(self.draft(drafts[:i])) for i in range(self.count)))

        def verify(accept: Sequence[float], final: float) -> Verdict:
            rule, accepting, drawing = scripted_rule(self.rule)
            accepting.script, drawing.script = iter(accept), iter([final])
            return rule.verify(proposal, lambda i: row(self.target(drafts[:i])), 0)

        passed: list[float] = []
        chance = 1.0
        for place in range(self.count):
            before = tuple(passed)
            rest = [BELOW_ONE] * (self.count - place - 1)
            share = threshold(lambda u, b=before, r=rest, p=place: verify([*b, u, *r], 0.5).accepted > p)  # type: ignore[misc]  # defaults bind the loop's values
            if share < 1.0:
                rejected = [*before, BELOW_ONE, *rest]
                for token, weight in self._finals(lambda u, s=rejected: verify(s, u).final_id):  # type: ignore[misc]  # as above
                    yield (*drafts[:place], token), chance * (1.0 - share) * weight
            if share == 0.0:
                return
            chance *= share
            passed.append(0.0)
        for token, weight in self._finals(lambda u: verify(passed, u).final_id):
            yield (*drafts, token), chance * weight

    def _finals(self, final: Callable[[float], int]) -> Iterator[tuple[int, float]]:
        """The final token as a step function of its uniform."""
        below = 0.0
        for token in range(self.vocabulary):
            edge = threshold(lambda u, t=token: final(u) <= t)  # type: ignore[misc]  # a default binds the loop's token
            if edge > below:
                yield token, edge - below
                below = edge

    def deviation(self) -> float:
        """Largest difference between the distribution of what follows the prompt and the target's own."""
        emitted = self.emitted()
        worst = 0.0
        for sequence in itertools.product(range(self.vocabulary), repeat=self.count + 1):
            wanted = self._continued((), sequence)
            found = sum(
                emitted.get(sequence[:length], 0.0) * self._continued(sequence[:length], sequence)
                for length in range(1, self.count + 2)
            )
            worst = max(worst, abs(found - wanted))
        return worst

    def _continued(self, begun: Ids, sequence: Ids) -> float:
        return math.prod(
            float(self.target(sequence[:i])[sequence[i]]) for i in range(len(begun), len(sequence))
        )


def table(
    seed: int, vocabulary: int, change: Callable[[torch.Tensor], torch.Tensor] = lambda probs: probs
) -> Table:
    """A distribution for every prefix."""
    rows: dict[Ids, torch.Tensor] = {}

    def at(prefix: Ids) -> torch.Tensor:
        if prefix not in rows:
            generator = torch.Generator().manual_seed(hash((seed, *prefix)) % 2**31)
            logits = torch.randn(vocabulary, generator=generator, dtype=torch.float64) * 1.5
            probs = change(torch.softmax(logits, -1))
            rows[prefix] = probs / probs.sum()
        return rows[prefix]

    return at


def without_smallest(probs: torch.Tensor) -> torch.Tensor:
    return probs.masked_fill(probs == probs.min(), 0.0)


def one_hot(probs: torch.Tensor) -> torch.Tensor:
    return (probs == probs.max()).double()


def coarse(probs: torch.Tensor) -> torch.Tensor:
    """Multiples of 1/8: many ties, within a row and between target and draft."""
    return (probs * 8).round().clamp(min=0.0) + 1e-300


def nucleus(probs: torch.Tensor) -> torch.Tensor:
    settings = SamplingSettings(temperature=1.0, top_p=0.7)
    return Processor(settings).row(torch.log(probs), ()).probs


SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda probs: probs,
    "zeros": without_smallest,
    "one-hot": one_hot,
    "ties": coarse,
    "top-p": nucleus,
    "uniform": torch.ones_like,
}


@pytest.mark.parametrize("target_shape", SHAPES)
@pytest.mark.parametrize("draft_shape", SHAPES)
def test_two_drafts_of_every_shape_give_the_targets_distribution(target_shape: str, draft_shape: str) -> None:
    target, draft = table(1, 3, SHAPES[target_shape]), table(2, 3, SHAPES[draft_shape])
    assert Enumeration(target, draft, 2, 3).deviation() < 1e-12


@pytest.mark.parametrize("count", [1, 3])
def test_other_numbers_of_drafts(count: int) -> None:
    assert Enumeration(table(3, 3), table(4, 3), count, 3).deviation() < 1e-12


def test_four_ids() -> None:
    assert Enumeration(table(5, 4, without_smallest), table(6, 4), 2, 4).deviation() < 1e-12


def test_equal_distributions_are_never_rejected() -> None:
    same = table(7, 4)
    emitted = Enumeration(same, same, 2, 4).emitted()
    assert {len(sequence) for sequence in emitted} == {3}


# -- negative controls: the enumeration sees faulty rules ---------------------------------------------------------


class CorrectsFromTarget(RejectionAcceptor):
    """Draws the correction from the target itself instead of the residual."""

    def verify(self, proposal: Proposal, target_rows: Callable[[int], Row], position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index)
            if not accepts(self._streams.accept.random(), float(p.probs[token]), float(q.probs[token])):
                return Verdict(index, self.draw_target(p, position), ())
        return Verdict(len(proposal.ids), self.draw_target(target_rows(len(proposal.ids)), position), ())


class MisalignedResidual(RejectionAcceptor):
    """Subtracts the first draft row from every target row."""

    def verify(self, proposal: Proposal, target_rows: Callable[[int], Row], position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index)
            if not accepts(self._streams.accept.random(), float(p.probs[token]), float(q.probs[token])):
                residual, _ = residual_probs(p.probs, proposal.rows[0].probs)
                return Verdict(index, draw(residual, self._streams.target.random()), ())
        return Verdict(len(proposal.ids), self.draw_target(target_rows(len(proposal.ids)), position), ())


class BonusFromLastTest(RejectionAcceptor):
    """Draws the bonus from the row that tested the last draft."""

    def verify(self, proposal: Proposal, target_rows: Callable[[int], Row], position: int) -> Verdict:
        return super().verify(proposal, lambda i: target_rows(min(i, len(proposal.ids) - 1)), position)


class RatioUpsideDown(RejectionAcceptor):
    """Accepts with min(1, draft / target)."""

    def verify(self, proposal: Proposal, target_rows: Callable[[int], Row], position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index)
            if not accepts(self._streams.accept.random(), float(q.probs[token]), float(p.probs[token])):
                residual, _ = residual_probs(p.probs, q.probs)
                return Verdict(index, draw(residual, self._streams.target.random()), ())
        return Verdict(len(proposal.ids), self.draw_target(target_rows(len(proposal.ids)), position), ())


@pytest.mark.parametrize(
    "faulty", [CorrectsFromTarget, MisalignedResidual, BonusFromLastTest, RatioUpsideDown]
)
def test_the_enumeration_sees_a_faulty_rule(faulty: type[RejectionAcceptor]) -> None:
    assert Enumeration(table(1, 3), table(2, 3), 2, 3, faulty).deviation() > 1e-3


# -- the pieces ---------------------------------------------------------------------------------------------------

UNIT = st.floats(0.0, 1.0, allow_subnormal=True)
UNIFORM = st.floats(0.0, BELOW_ONE)


@given(draft_prob=UNIT)
def test_a_token_that_the_target_cannot_give_is_never_accepted(draft_prob: float) -> None:
    for uniform in (0.0, 5e-324, 0.5, BELOW_ONE):
        assert not accepts(uniform, 0.0, draft_prob)


@given(uniform=UNIFORM, prob=st.floats(2.0**-126, 1.0), more=st.floats(1.0, 10.0))
def test_a_token_that_the_target_likes_as_much_is_always_accepted(
    uniform: float, prob: float, more: float
) -> None:
    assert accepts(uniform, prob * more, prob)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_residual_without_mass_falls_back_to_the_target(dtype: torch.dtype) -> None:
    target = torch.tensor([0.25, 0.75], dtype=dtype)
    residual, fell_back = residual_probs(target, target)
    assert fell_back
    assert torch.equal(residual, target)


@given(weights=st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(any), data=st.data())
def test_the_residual_is_what_the_target_has_more(weights: list[int], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.integers(0, 5), min_size=len(weights), max_size=len(weights)).filter(any))
    target = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    draft = torch.tensor(others, dtype=torch.float64) / sum(others)
    residual, fell_back = residual_probs(target, draft)
    distance = 0.5 * float((target - draft).abs().sum())
    assert fell_back == (distance < 1e-12)
    if not fell_back:
        assert float(residual.sum()) == pytest.approx(1.0, abs=1e-12)
        assert bool((residual[target <= draft] == 0).all())


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 1e-8, 0.1, 1.0, 3.0]), min_size=1, max_size=9).filter(any)
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draw_owns_an_interval_for_each_id_and_none_for_impossible_ones(
    weights: list[float], dtype: torch.dtype
) -> None:
    probs = torch.tensor(weights, dtype=dtype)
    edges = [threshold(lambda u, i=i: draw(probs, u) <= i) for i in range(len(weights))]  # type: ignore[misc]  # a default binds i
    shares = [high - low for low, high in zip([0.0, *edges], edges, strict=False)]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    assert shares == pytest.approx([float(p) for p in probs.double() / probs.double().sum()], abs=tolerance)
    for uniform in (0.0, 5e-324, 2.0**-53, 0.5, BELOW_ONE):
        assert weights[draw(probs, uniform)] > 0


@given(seed=st.integers(0, 2**32), size=st.integers(2, 5000))
def test_draw_at_the_ends_of_the_unit_interval(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probs = torch.softmax(torch.randn(size, generator=generator) * 8, -1)
    probs = probs.masked_fill(torch.rand(size, generator=generator) < 0.5, 0.0)
    probs[int(torch.randint(size, (1,), generator=generator))] += 1e-3
    for uniform in (0.0, 2.0**-53, BELOW_ONE):
        assert probs[draw(probs, uniform)] > 0


# -- rules whose final token does not depend on the drafts --------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("rule_class", [CoupledAcceptor, GreedyAcceptor])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_drafted_the_targets_own_choices_stand(
    rule_class: type[CoupledAcceptor] | type[GreedyAcceptor], count: int, seed: int
) -> None:
    target, draft = table(seed, 4, without_smallest), table(seed + 50, 4)
    alone: list[int] = []
    for place in range(count + 1):
        alone.append(rule_class(Streams(seed)).draw_target(row(target(tuple(alone))), 100 + place))
    for drafts in itertools.product(range(4), repeat=count):
        proposal = Proposal(drafts, tuple(row(draft(drafts[:i])) for i in range(count)))
        verdict = rule_class(Streams(seed)).verify(proposal, lambda i, d=drafts: row(target(d[:i])), 100)  # type: ignore[misc]  # a default binds d
        emitted = [*drafts[: verdict.accepted], verdict.final_id]
        assert emitted == alone[: len(emitted)]
        agreeing = next((i for i in range(count) if drafts[i] != alone[i]), count)
        assert verdict.accepted == agreeing


def test_greedy_tells_logits_apart_that_softmax_ties() -> None:
    scores = torch.tensor([0.0, 1e-9])
    tied = Row(scores, torch.softmax(scores, -1))
    assert tied.probs[0] == tied.probs[1]
    assert GreedyAcceptor(Streams(0)).draw_target(tied, 0) == 1


def test_target_rows_behind_a_rejection_are_never_asked_for() -> None:
    target, draft = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for rule in (RejectionAcceptor(Streams(1)), CoupledAcceptor(Streams(1)), GreedyAcceptor(Streams(1))):
        asked: list[int] = []

        def rows(index: int, asked: list[int] = asked) -> Row:
            asked.append(index)
            return row(target)

        verdict = rule.verify(Proposal((1, 1, 1), (row(draft),) * 3), rows, 7)
        assert (verdict.accepted, verdict.final_id, len(verdict.draws)) == (0, 0, 1)
        assert set(asked) == {0}


def test_noise_is_a_function_of_seed_and_position_alone() -> None:
    like = torch.zeros(64)
    forward, backward = Streams(5), Streams(5)
    ahead = {position: forward.exponential(position, like).clone() for position in range(200)}
    for position in reversed(range(200)):
        assert torch.equal(backward.exponential(position, like), ahead[position])
    assert len({float(noise[0]) for noise in ahead.values()}) == 200
    assert not torch.equal(Streams(6).exponential(0, like), ahead[0])


def test_no_global_random_state_is_touched() -> None:
    before = torch.random.get_rng_state()
    streams = Streams(5)
    streams.exponential(3, torch.zeros(8))
    streams.draft.random()
    assert torch.equal(torch.random.get_rng_state(), before)
