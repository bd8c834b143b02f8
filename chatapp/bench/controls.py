"""Faulty rules and drafters, each a mistake that some engine has shipped: a test of a distribution must see every one.

Nothing here is ever registered; a run with one of these is not lossless, whatever its `lossless` says.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chatapp.domain.request import SamplingSettings
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor, accepts
from chatapp.engine.contracts import Acceptor, Budget, Drafter, Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Floats, Row, draw
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import DraftingContext
from chatapp.engine.sampling import Processor


class RawDraftRows(ModelDrafter):
    """Hands over the distribution before temperature and truncation, while the tokens were drawn from the one after."""

    def __init__(self, context: DraftingContext) -> None:
        assert context.draft is not None
        self._raw = _RawProcessor(context.processor)
        super().__init__(context.draft, self._raw, context.acceptor, context.ends)

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        self._raw.rows.clear()
        proposal = super().propose(prefix, budget)
        return replace(proposal, rows=tuple(self._raw.rows))


class _RawProcessor(Processor):
    """Gives the processed row and notes the raw one."""

    def __init__(self, real: Processor) -> None:
        super().__init__(SamplingSettings(temperature=1.0, top_p=1.0))
        self._real = real
        self.rows: list[Row] = []

    def row(self, logits: Any, context: Sequence[int], drafts: Sequence[int] = ()) -> Row:
        self.rows.append(super().row(logits, context, drafts))
        return self._real.row(logits, context, drafts)


class DropsDoubtfulSamples(ModelDrafter):
    """Samples a token, and leaves it out of the window when the draft thinks it unlikely."""

    doubtful = 0.25

    def __init__(self, context: DraftingContext) -> None:
        assert context.draft is not None
        super().__init__(context.draft, context.processor, context.acceptor, context.ends)

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        whole = super().propose(prefix, budget)
        doubts = [index for index, sure in enumerate(whole.confidences) if sure < self.doubtful]
        end = doubts[0] if doubts else len(whole.ids)
        return Proposal(whole.ids[:end], whole.rows[:end], whole.sources[:end], whole.confidences[:end])


class _FaultyResidual(RejectionAcceptor, ABC):
    """Tests as it should; what it draws after a rejection is up to the faults below."""

    @abstractmethod
    def correction(self, target: Row, proposal: Proposal, index: int) -> int:
        """The token in place of draft `index`."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, (token, draft) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            target, uniform = target_rows(index), self._streams.accept.random()
            if not accepts(uniform, target.prob(token), draft.prob(token)):
                return Verdict(index, self.correction(target, proposal, index), (uniform,) * (index + 1))
        count = len(proposal.ids)
        return Verdict(count, self.draw_target(target_rows(count), position), (0.0,) * count)

    def _drawn(self, target: Row, rest: Floats) -> int:
        uniform = self._streams.target.random()
        return draw(rest, target.ids, uniform) if rest.any() else target.draw(uniform)


class CorrectsFromTarget(_FaultyResidual):
    """Draws the correction from the target itself instead of the residual."""

    def correction(self, target: Row, proposal: Proposal, index: int) -> int:  # noqa: ARG002 - that is the fault
        return target.draw(self._streams.target.random())


class MisalignedResidual(_FaultyResidual):
    """Takes the residual against the window's first draft row, whichever was rejected."""

    def correction(self, target: Row, proposal: Proposal, index: int) -> int:  # noqa: ARG002 - that is the fault
        rest = np.maximum(target.probs - proposal.rows[0].at(target.ids), target.probs.dtype.type(0))
        return self._drawn(target, rest)


class IndexAlignedResidual(_FaultyResidual):
    """Subtracts the draft's sparse list from the target's place by place, though they hold different ids."""

    def correction(self, target: Row, proposal: Proposal, index: int) -> int:
        draft = np.zeros_like(target.probs)
        shared = min(len(draft), len(proposal.rows[index].probs))
        draft[:shared] = proposal.rows[index].probs[:shared]
        return self._drawn(target, np.maximum(target.probs - draft, target.probs.dtype.type(0)))


class TwoChances(RejectionAcceptor):
    """Tests a rejected draft once more with a fresh uniform."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        real = self._streams.accept
        self._streams.accept = _Lower(real)  # type: ignore[assignment]  # it needs `random` alone
        try:
            return super().verify(proposal, target_rows, position)
        finally:
            self._streams.accept = real


class _Lower:
    def __init__(self, stream: random.Random) -> None:
        self._draw = stream.random

    def random(self) -> float:
        return min(self._draw(), self._draw())


class NoiseByWindowIndex(CoupledAcceptor):
    """Uses the noise of the place in the window: the same few vectors again and again."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:  # noqa: ARG002 - that is the fault
        return super().verify(proposal, target_rows, 0)


class GreedyDrafts(RejectionAcceptor):
    """Takes the draft's most probable token and reports the whole distribution."""

    def draw_draft(self, row: Row, position: int) -> int:  # noqa: ARG002 - the contract's signature
        return row.best


@dataclass(frozen=True, slots=True)
class Control:
    """A fault, and the window at which it shows. None: the rule `rejection`, the drafter `model`."""

    name: str
    window: int
    acceptor: Callable[[Streams], Acceptor] | None = None
    drafter: Callable[[DraftingContext], Drafter] | None = None


CONTROLS = {
    control.name: control
    for control in (
        Control("raw q", 4, drafter=RawDraftRows),
        Control("dropped sample", 4, drafter=DropsDoubtfulSamples),
        Control("index-aligned residual", 4, acceptor=IndexAlignedResidual),
        Control("misaligned residual", 8, acceptor=MisalignedResidual),
        Control("correction from the target", 3, acceptor=CorrectsFromTarget),
        Control("noise by window index", 4, acceptor=NoiseByWindowIndex),
        Control("two chances", 4, acceptor=TwoChances),
        Control("greedy drafts with a sampled q", 4, acceptor=GreedyDrafts),
    )
}
