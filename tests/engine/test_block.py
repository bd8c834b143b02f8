"""Block verification: exact by enumeration, never shorter than rejection in expectation, equal to it for one draft."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from chatapp.engine.acceptors import block
from chatapp.engine.acceptors.block import BlockAcceptor
from chatapp.engine.contracts import Proposal, Verdict
from tests.engine.test_acceptors_algebra import (
    BELOW_ONE,
    SHAPES,
    Enumeration,
    Ids,
    row,
    scripted_rule,
    table,
    threshold,
)


class BlockEnumeration(Enumeration):
    """The window is judged from its end: the longest prefix whose own test passes is kept."""

    def _outcomes(self, drafts: Ids) -> Iterator[tuple[Ids, float]]:
        proposal = Proposal(drafts, tuple(row(self.draft(drafts[:i])) for i in range(self.count)))

        def verify(accept: list[float], final: float) -> Verdict:
            rule, accepting, drawing = scripted_rule(BlockAcceptor)  # type: ignore[arg-type]  # it has the same two streams
            accepting.script, drawing.script = iter(accept), iter([final])
            return rule.verify(proposal, lambda i: row(self.target(drafts[:i])), 0)

        chance = 1.0
        for length in range(self.count, -1, -1):
            draws, share = [BELOW_ONE] * self.count, 1.0
            if length:
                place = length - 1
                share = threshold(
                    lambda u, d=draws, p=place: verify([*d[:p], u, *d[p + 1 :]], 0.5).accepted > p  # type: ignore[misc]  # defaults bind the loop's values
                )
                draws[place] = 0.0
            if share * chance > 0.0:
                for token, weight in self._finals(lambda u, d=draws: verify(d, u).final_id):  # type: ignore[misc]  # as above
                    yield (*drafts[:length], token), chance * share * weight
            chance *= 1.0 - share
            if chance == 0.0:
                return

    def mean_length(self) -> float:
        return sum(len(sequence) * chance for sequence, chance in self.emitted().items())


@pytest.mark.parametrize("target_shape", SHAPES)
@pytest.mark.parametrize("draft_shape", SHAPES)
def test_two_drafts_of_every_shape_give_the_targets_distribution(target_shape: str, draft_shape: str) -> None:
    target, draft = table(1, 3, SHAPES[target_shape]), table(2, 3, SHAPES[draft_shape])
    assert BlockEnumeration(target, draft, 2, 3).deviation() < 1e-12


@pytest.mark.parametrize("count", [1, 3])
def test_other_numbers_of_drafts(count: int) -> None:
    assert BlockEnumeration(table(3, 3), table(4, 3), count, 3).deviation() < 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_it_keeps_at_least_as_much_as_rejection_and_more_somewhere(seed: int) -> None:
    target, draft = table(seed, 3), table(seed + 40, 3)
    one = Enumeration(target, draft, 1, 3), BlockEnumeration(target, draft, 1, 3)
    three = Enumeration(target, draft, 3, 3), BlockEnumeration(target, draft, 3, 3)
    assert _length(one[0]) == pytest.approx(one[1].mean_length(), abs=1e-12)
    assert three[1].mean_length() > _length(three[0]) + 1e-3


def _length(enumeration: Enumeration) -> float:
    return sum(len(sequence) * chance for sequence, chance in enumeration.emitted().items())


def unweighted(weight: float, target_probs: torch.Tensor, draft_probs: torch.Tensor) -> torch.Tensor:
    """The residual of plain rejection, whatever the prefix weighs."""
    del weight
    return torch.clamp(target_probs - draft_probs, min=0)


def test_the_enumeration_sees_a_faulty_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "block_residual", unweighted)
    assert BlockEnumeration(table(1, 3), table(2, 3), 2, 3).deviation() > 1e-3
