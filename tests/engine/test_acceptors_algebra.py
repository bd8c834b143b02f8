"""Algebra: on tiny vocabularies, the sum over all drafts and all outcomes is the target's distribution, by enumeration."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.acceptors import block
from chatapp.engine.acceptors.rejection import RejectionAcceptor, accepts
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.contracts import Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Floats, Row, draw_residual, residual
from chatapp.engine.sampling import Processor
from tests.helpers.enumeration import BlockEnumeration, Enumeration, Ids, Table, table
from tests.helpers.rows import dense

ENUMERATIONS = [
    pytest.param(Enumeration, id="rejection"),
    pytest.param(BlockEnumeration, id="block"),
]


def without_smallest(probs: torch.Tensor) -> torch.Tensor:
    return probs.masked_fill(probs == probs.min(), 0.0)


def one_hot(probs: torch.Tensor) -> torch.Tensor:
    return (probs == probs.max()).double()


def coarse(probs: torch.Tensor) -> torch.Tensor:
    """Multiples of 1/8: many ties, within a row and between target and draft."""
    return (probs * 8).round().clamp(min=0.0) + 1e-300


def nucleus(probs: torch.Tensor) -> torch.Tensor:
    settings = SamplingSettings(temperature=1.0, top_p=0.7)
    return dense(Processor(settings).row(torch.log(probs), ()))


SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda probs: probs,
    "zeros": without_smallest,
    "one-hot": one_hot,
    "ties": coarse,
    "top-p": nucleus,
    "uniform": torch.ones_like,
}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("target_shape", SHAPES)
@pytest.mark.parametrize("draft_shape", SHAPES)
@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_two_drafts_of_every_shape_give_the_targets_distribution(
    enumeration: type[Enumeration], target_shape: str, draft_shape: str, sparse: bool
) -> None:
    target, draft = table(1, 3, SHAPES[target_shape]), table(2, 3, SHAPES[draft_shape])
    assert enumeration(target, draft, 2, 3, sparse=sparse).deviation() < 1e-12


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_other_numbers_of_drafts(enumeration: type[Enumeration], count: int) -> None:
    assert enumeration(table(3, 3), table(4, 3), count, 3).deviation() < 1e-12


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_four_ids(enumeration: type[Enumeration]) -> None:
    assert enumeration(table(5, 4, without_smallest), table(6, 4), 2, 4).deviation() < 1e-12


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_equal_distributions_are_never_rejected(enumeration: type[Enumeration]) -> None:
    same = table(7, 4)
    emitted = enumeration(same, same, 2, 4).emitted()
    assert {len(sequence) for sequence in emitted} == {3}


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_disjoint_supports_are_always_corrected(enumeration: type[Enumeration]) -> None:
    def low(probs: torch.Tensor) -> torch.Tensor:
        return probs * torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)

    def high(probs: torch.Tensor) -> torch.Tensor:
        return probs * torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)

    case = enumeration(table(8, 4, low), table(9, 4, high), 2, 4, sparse=True)
    assert case.deviation() < 1e-12
    assert {len(sequence) for sequence in case.emitted()} == {1}


def toy_table(noise: float, chosen: SamplingSettings) -> Table:
    """A toy model's rows as the loop would process them: penalties see the tokens in front."""
    model, processor = ToyModel(3, seed=3, noise=noise), Processor(chosen, prompt_length=2)
    return lambda prefix: dense(processor.row(model.logits_after([0, 1, *prefix]), [0, 1], prefix))


@pytest.mark.parametrize(
    "chosen",
    [
        SamplingSettings(temperature=1.0, top_p=1.0),
        SamplingSettings(temperature=0.8, top_p=0.8),
        SamplingSettings(temperature=1.2, top_p=1.0, top_k=2, repetition_penalty=1.4, frequency_penalty=0.5),
        SamplingSettings(temperature=0.7, top_p=1.0, min_p=0.2, presence_penalty=1.0, logit_bias=((1, 1.5),)),
    ],
    ids=["plain", "top-p", "top-k, penalties", "min-p, presence, bias"],
)
@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_toy_models_under_every_kind_of_setting(
    enumeration: type[Enumeration], chosen: SamplingSettings
) -> None:
    target, draft = toy_table(0.0, chosen), toy_table(0.9, chosen)
    assert enumeration(target, draft, 3, 3, sparse=True).deviation() < 1e-12


def doubtful(drafts: Ids) -> bool:
    """A window of up to three that ends after a token that the draft thinks unlikely, as a policy's would."""
    return float(table(11, 3)(drafts[:-1])[drafts[-1]]) < 0.3


@pytest.mark.parametrize("target_shape", ["plain", "zeros", "top-p"])
@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_windows_that_end_by_what_was_drafted(enumeration: type[Enumeration], target_shape: str) -> None:
    case = enumeration(table(10, 3, SHAPES[target_shape]), table(11, 3), 3, 3, stops=doubtful)
    assert len({len(drafts) for drafts, _ in case.windows()}) == 3, "windows of 1, 2 and 3 drafts occur"
    assert case.deviation() < 1e-12


def without_doubtful(drafts: Ids) -> Ids:
    return drafts[:-1] if len(drafts) > 1 and doubtful(drafts) else drafts


class DroppingRejection(Enumeration):
    def outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        return super().outcomes(without_doubtful(drafts))


class DroppingBlock(BlockEnumeration):
    def outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        return super().outcomes(without_doubtful(drafts))


@pytest.mark.parametrize("dropping", [DroppingRejection, DroppingBlock])
def test_dropping_a_sample_for_what_it_is_would_be_seen(dropping: type[Enumeration]) -> None:
    """The same rule of when to end, but the doubtful token itself is left out: its probability is lost."""
    assert dropping(table(10, 3), table(11, 3), 3, 3, stops=doubtful).deviation() > 1e-3


# -- negative controls: the enumeration sees faulty rules ---------------------------------------------------------


class CorrectsFromTarget(RejectionAcceptor):
    """Draws the correction from the target itself instead of the residual."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index)
            if not accepts(self._streams.accept.random(), p.prob(token), q.prob(token)):
                return Verdict(index, self.draw_target(p, position), ())
        return Verdict(len(proposal.ids), self.draw_target(target_rows(len(proposal.ids)), position), ())


class MisalignedResidual(RejectionAcceptor):
    """Subtracts the first draft row from every target row."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index)
            if not accepts(self._streams.accept.random(), p.prob(token), q.prob(token)):
                final, _ = draw_residual(p, proposal.rows[0], self._streams.target.random())
                return Verdict(index, final, ())
        return Verdict(len(proposal.ids), self.draw_target(target_rows(len(proposal.ids)), position), ())


class BonusFromLastTest(RejectionAcceptor):
    """Draws the bonus from the row that tested the last draft."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        return super().verify(proposal, lambda i: target_rows(min(i, len(proposal.ids) - 1)), position)


class RatioUpsideDown(RejectionAcceptor):
    """Accepts with min(1, draft / target)."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index)
            if not accepts(self._streams.accept.random(), q.prob(token), p.prob(token)):
                return Verdict(index, draw_residual(p, q, self._streams.target.random())[0], ())
        return Verdict(len(proposal.ids), self.draw_target(target_rows(len(proposal.ids)), position), ())


@pytest.mark.parametrize(
    "faulty", [CorrectsFromTarget, MisalignedResidual, BonusFromLastTest, RatioUpsideDown]
)
def test_the_enumeration_sees_a_faulty_rule(faulty: type[RejectionAcceptor]) -> None:
    assert Enumeration(table(1, 3), table(2, 3), 2, 3, faulty).deviation() > 1e-3


def unweighted(target: Row, draft: Row, weight: float = 1.0) -> Floats:
    """The residual of plain rejection, whatever the prefix weighs."""
    del weight
    return residual(target, draft)


def test_the_enumeration_sees_a_residual_that_forgets_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "residual", unweighted)
    assert BlockEnumeration(table(1, 3), table(2, 3), 2, 3).deviation() > 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_block_keeps_at_least_as_much_as_rejection_and_more_somewhere(seed: int) -> None:
    target, draft = table(seed, 3), table(seed + 40, 3)
    one = Enumeration(target, draft, 1, 3), BlockEnumeration(target, draft, 1, 3)
    three = Enumeration(target, draft, 3, 3), BlockEnumeration(target, draft, 3, 3)
    assert one[0].mean_length() == pytest.approx(one[1].mean_length(), abs=1e-12)
    assert three[1].mean_length() > three[0].mean_length() + 1e-3
