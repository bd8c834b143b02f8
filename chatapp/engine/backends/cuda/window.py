"""One reply's windows on the device: what the host adds to them, and what it reads out of their packets.

Random numbers come from the reply's own streams, and only those that a test or a draw really used count as drawn: the same
seed takes the same decisions here as on the host, up to the last bit of an exponential or a logarithm.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.cuda.distributions import knob_values, signed, truncates
from chatapp.engine.backends.cuda.kernels import (
    COUPLED,
    REJECTION,
    SERVED,
    DraftLaunchFailed,
    WindowInputs,
    WindowKernels,
    WindowResult,
)
from chatapp.engine.contracts import FusedDraftFailed, FusedStep, FusingContext, Proposal, Verdict
from chatapp.engine.distribution import Row
from chatapp.engine.drafters.model import SOURCE
from chatapp.engine.sampling import NotFinite


def fits(settings: SamplingSettings) -> bool:
    """Whether the device can process these settings: penalties and biases look at the text, which is the host's."""
    penalties = (settings.presence_penalty, settings.frequency_penalty)
    return settings.repetition_penalty == 1.0 and not any(penalties) and not settings.logit_bias


class KnownRow(Row):
    """A row of which the record's probabilities came to the host and nothing else."""

    __slots__ = ()

    def __init__(self, known: dict[int, float]) -> None:
        self._known = known

    def _prob(self, token: int) -> float:
        """Raises `LookupError`: this probability stayed on the device."""
        raise LookupError(f"the probability of id {token} is not known here")


class Lookahead:
    """A stream of uniform numbers that can be looked at before it is known how many of them are used."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._ahead: list[float] = []

    def peek(self, count: int) -> Sequence[float]:
        while len(self._ahead) < count:
            self._ahead.append(self._source.random())
        return self._ahead[:count]

    def use(self, count: int) -> None:
        del self._ahead[:count]


class DeviceWindow:
    """Implements `contracts.FusedWindow`."""

    def __init__(self, kernels: WindowKernels, context: FusingContext) -> None:
        self._kernels = kernels
        self._target, self._draft = context.target, context.draft
        self._streams, self._ends = context.streams, context.ends
        self._knobs = knob_values(context.settings, context.vocabulary)
        self._truncating = truncates(context.settings)
        self._for_drafts = Lookahead(context.streams.draft)
        self._for_tests = Lookahead(context.streams.accept)
        self._for_target = Lookahead(context.streams.target)

    def serves(self, acceptor: str) -> bool:
        return acceptor in SERVED

    def step(self, acceptor: str, prefix: Sequence[int], count: int) -> FusedStep:
        start = len(prefix) - 1
        count = self._room(start, count)
        try:
            with torch.inference_mode():
                inputs = self._inputs(acceptor, prefix, count)
                result = self._kernels.run(acceptor, inputs, count, truncating=self._truncating)
        except DraftLaunchFailed as failure:
            raise FusedDraftFailed(str(failure)) from failure
        step = self._decided(acceptor, result)
        self._note(prefix, result)
        return step

    def _room(self, start: int, count: int) -> int:
        """Drafts for which there is a draft model with room, and a target's pass that ends within one reach."""
        if self._draft is None:
            return 0
        draft_room = self._draft.model.context_limit - start
        return max(0, min(count, draft_room, self._kernels.target.reach(start) - 1 - start))

    def _inputs(self, acceptor: str, prefix: Sequence[int], count: int) -> WindowInputs:
        start = len(prefix) - 1
        feed = (prefix[-2], prefix[-1])
        if acceptor == REJECTION:
            return WindowInputs(
                start,
                feed,
                self._knobs,
                draft_uniforms=self._for_drafts.peek(count),
                accept_uniforms=self._for_tests.peek(count),
                target_uniform=self._for_target.peek(1)[0],
            )
        if acceptor == COUPLED:
            bases = [signed(self._streams.noise_base(len(prefix) + index)) for index in range(count + 1)]
            return WindowInputs(start, feed, self._knobs, bases=bases)
        return WindowInputs(start, feed, self._knobs)

    def _decided(self, acceptor: str, result: WindowResult) -> FusedStep:
        """Raises `FusedDraftFailed` and `NotFinite`; where it does, no random number was used."""
        ends = (place + 1 for place, token in enumerate(result.tokens) if token in self._ends)
        # Behind a drafted end of text nothing can be kept: it counts as not proposed.
        count = next(ends, len(result.tokens))
        if not all(result.draft_finite[:count]):
            raise FusedDraftFailed("the draft model gave logits that are not finite")
        accepted = min(result.accepted, count)
        if not all(result.target_finite[: accepted + 1]):
            raise NotFinite("logits that are not finite")
        tests = min(accepted + 1, count)
        draws: tuple[float | None, ...] = (None,) * tests
        if acceptor == REJECTION:
            draws = tuple(self._for_tests.peek(tests))
            self._for_drafts.use(count)
            self._for_tests.use(tests)
            self._for_target.use(1)
        tokens = result.tokens[:count]
        drafted = [{token: prob} for token, prob in zip(tokens, result.draft_probs, strict=False)]
        rows = [*({token: prob} for token, prob in zip(tokens, result.target_probs, strict=False)), {}]
        rows[accepted].setdefault(result.final_id, result.final_prob)
        if accepted < count:
            drafted[accepted].setdefault(result.final_id, result.final_draft_prob)
        return FusedStep(
            Proposal(tokens, tuple(map(KnownRow, drafted)), (SOURCE,) * count, result.draft_probs[:count]),
            Verdict(accepted, result.final_id, draws, int(result.fell_back)),
            {index: KnownRow(row) for index, row in enumerate(rows)},
            result.timings_ns,
        )

    def _note(self, prefix: Sequence[int], result: WindowResult) -> None:
        """Tell the sequences what KV the device now holds."""
        start, count = len(prefix) - 1, len(result.tokens)
        target = self._target
        target.note([prefix[-1], *result.tokens], target.model.traffic(count + 1, start))
        if self._draft is not None and count:
            draft = self._draft
            read = draft.model.traffic(2, start - 1)
            read += sum(draft.model.traffic(1, start + index) for index in range(1, count))
            draft.rewind(start - 1)
            draft.note([*prefix[-2:], *result.tokens[:-1]], read)
