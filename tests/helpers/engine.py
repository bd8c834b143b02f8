"""The engine on toys: a target and a draft as logit tables, scripted switches, laws checked after every event.

`Rig` holds the two cached sequences, as a loaded pair would, over many runs; `Rig.run` makes one reply, and
`checked_events` walks through it while it holds every law of the loop against what is really in the caches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from chatapp.domain.events import EndReason, Prefilled, RunEnded, RunEvent, RunStarted, StepCommitted
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.domain.tokens import CommittedToken, DraftOutcome, TokenKind
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.contracts import Acceptor, Control, Drafter, WindowPolicy
from chatapp.engine.control import RunControl
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import DRAFTERS, DraftingContext, RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.windows.fixed import FixedWindow
from tests.helpers.records import environment

PROMPT = (0, 1, 2)
NEUTRAL = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=40)
GREEDY = SamplingSettings(temperature=0.0, max_tokens=40)
AcceptorFactory = Callable[[Streams], Acceptor]
DrafterFactory = Callable[[CachedSequence, Processor, Callable[[], Acceptor]], Drafter]


def letters(ids: Sequence[int]) -> str:
    """The toy tokenizer: one letter per id."""
    return "".join(chr(ord("a") + token) for token in ids)


class TickClock:
    """Every look at it takes one nanosecond more than the look before."""

    def __init__(self) -> None:
        self._now = 1_000
        self._step = 0

    def now_ns(self) -> int:
        self._step += 1
        self._now += self._step
        return self._now


class Schedule:
    """Implements `Control`: one `(k, speculation)` per look at the switches, over and over."""

    def __init__(
        self, steps: Sequence[tuple[int, bool]], acceptor: str = "rejection", policy: str = "fixed"
    ) -> None:
        self.acceptor = acceptor
        self.policy = policy
        self._steps = tuple(steps)
        self.looks = 0
        self.cancelled = False

    @property
    def window(self) -> int:
        self.looks += 1
        return self._steps[(self.looks - 1) % len(self._steps)][0]

    @property
    def speculation(self) -> bool:
        return self._steps[(self.looks - 1) % len(self._steps)][1]


class CancelAtCall:
    """Implements `Control`: cancelled as soon as the models were called `calls` times."""

    def __init__(self, window: int, counted: Callable[[], int], calls: int) -> None:
        self.window = window
        self.speculation = True
        self.acceptor = "rejection"
        self.policy = "fixed"
        self._counted = counted
        self._calls = calls

    @property
    def cancelled(self) -> bool:
        return self._counted() >= self._calls


class Failing(ToyModel):
    """A toy whose call number `fails_at` (from 0) raises, or gives NaN when `error` is None."""

    fails_at = -1
    error: Exception | None = None

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        logits = super().forward(ids, start, rows)
        if len(self.calls) - 1 != self.fails_at:
            return logits
        if self.error is not None:
            raise self.error
        return torch.full_like(logits, math.nan)


class Stubborn(ToyModel):
    """A draft that is sure of the token that its target likes least."""

    def logits_after(self, ids: Sequence[int]) -> torch.Tensor:
        row = super().logits_after(ids)
        wrong = torch.full_like(row, -math.inf)
        wrong[int(torch.argmin(row))] = 0.0
        return wrong


@dataclass
class Rig:
    """A toy pair whose caches live over many runs."""

    target_model: ToyModel
    draft_model: ToyModel | None
    target: CachedSequence = field(init=False)
    draft: CachedSequence | None = field(init=False)

    def __post_init__(self) -> None:
        self.target = CachedSequence(self.target_model)
        self.draft = CachedSequence(self.draft_model) if self.draft_model is not None else None

    @property
    def calls(self) -> int:
        return len(self.target_model.calls) + (len(self.draft_model.calls) if self.draft_model else 0)

    def run(
        self,
        prompt: Sequence[int] = PROMPT,
        *,
        sampling: SamplingSettings = NEUTRAL,
        acceptor: str | AcceptorFactory = "rejection",
        window: int = 5,
        speculation: bool = True,
        control: Control | None = None,
        eos: Sequence[int] = (),
        drafter: str | DrafterFactory = ModelDrafter,
        policy: WindowPolicy | None = None,
        policies: Mapping[str, WindowPolicy] | None = None,
    ) -> SpeculativeRun:
        """`acceptor` as a name can change with `control.acceptor`; as a factory it is the only rule. `drafter` as a name is
        the registry's; as a factory it needs a draft model."""
        streams = Streams(sampling.seed)
        acceptors = RunAcceptors(streams, greedy=sampling.greedy)
        if isinstance(acceptor, str):
            control = control or RunControl(window, speculation, acceptor)
            rule = acceptors(acceptor)
            rules: Callable[[str], Acceptor] = (
                acceptors if isinstance(control, RunControl) else lambda _: rule
            )
            current = acceptors.current
        else:
            rule = made = acceptor(streams)
            rules, current = (lambda _: made), (lambda: made)
        chosen_policy = policy or FixedWindow()
        processor = Processor(sampling, len(prompt))
        draft = self.draft
        request = GenerationRequest(
            (Message(Role.USER, "toy"),), sampling=sampling, window=window, speculation=speculation
        )
        started = RunStarted(
            "toy", "2026-01-01T00:00:00Z", request, rule.name, rule.lossless, environment(), len(prompt)
        )
        return SpeculativeRun(
            started=started,
            prompt_ids=prompt,
            parts=Parts(
                target=self.target,
                drafter=self._drafter(drafter, processor, current, frozenset(eos)),
                acceptor=rules,
                policy=policies.__getitem__ if policies else lambda _: chosen_policy,
                processor=processor,
                text=Text(letters, lambda token: letters([token]), frozenset(eos)),
                clock=TickClock(),
                draft_cached=(lambda: draft.length) if draft is not None else (lambda: 0),
            ),
            control=control or RunControl(window, speculation),
            submitted_ns=1_000,
        )

    def _drafter(
        self,
        drafter: str | DrafterFactory,
        processor: Processor,
        acceptor: Callable[[], Acceptor],
        ends: frozenset[int],
    ) -> Drafter | None:
        if not isinstance(drafter, str):
            return drafter(self.draft, processor, acceptor) if self.draft is not None else None
        part = DRAFTERS[drafter]
        if part.needs_draft and self.draft is None:
            return None
        vocabulary = self.target_model.vocabulary
        return part.make(DraftingContext(self.draft, processor, acceptor, ends, vocabulary))


def toy_rig(
    *,
    vocabulary: int = 8,
    seed: int = 3,
    noise: float = 0.7,
    context_limit: int = 512,
    draft_context_limit: int | None = None,
    order: int = 2,
    sharpness: float = 1.5,
) -> Rig:
    """A pair whose draft agrees with its target to a degree."""
    return Rig(
        ToyModel(vocabulary, seed=seed, context_limit=context_limit, order=order, sharpness=sharpness),
        ToyModel(
            vocabulary,
            seed=seed,
            noise=noise,
            context_limit=draft_context_limit or context_limit,
            order=order,
            sharpness=sharpness,
        ),
    )


def checked_events(rig: Rig, run: SpeculativeRun, prompt: Sequence[int] = PROMPT) -> Iterator[RunEvent]:
    """The run's events; after each, every law that must hold between events is asserted."""
    ids = list(prompt)
    ended = False
    previous_ns = 0
    index = 0
    for event in run.events():
        assert not ended, f"{event} behind RunEnded"
        if isinstance(event, StepCommitted):
            check_step(event)
            assert event.index == index
            assert event.started_ns >= previous_ns
            index, previous_ns = index + 1, event.ended_ns
            ids += [token.id for token in event.tokens]
            check_caches(rig, ids, length=len(ids) - 1)
        elif isinstance(event, Prefilled):
            # The draft reads up to the pending token, which the target has not read yet either.
            assert event.positions + event.reused == len(ids) - (event.model == "draft")
        elif isinstance(event, RunEnded):
            ended = True
            assert event.ended_ns >= previous_ns
            check_caches(rig, ids)
            assert event.target_cached == rig.target.length
            assert event.draft_cached == (rig.draft.length if rig.draft is not None else 0)
            assert bool(event.error) == (event.reason is EndReason.FAILED)
        yield event
    assert ended, "no RunEnded"


def check_caches(rig: Rig, ids: Sequence[int], *, length: int | None = None) -> None:
    """The caches hold a prefix of prompt and reply, at most up to the pending token, and the models agree."""
    if length is not None:
        assert rig.target.length == length
    for sequence, model in ((rig.target, rig.target_model), (rig.draft, rig.draft_model)):
        if sequence is None or model is None:
            continue
        assert sequence.length <= max(len(ids) - 1, 0)
        assert sequence.ids == list(ids[: sequence.length])
        assert model._cache[: sequence.length] == sequence.ids


def check_step(step: StepCommitted) -> None:
    """What one verify step says about itself must agree with itself."""
    parts = (step.draft_ns, step.verify_ns, step.sample_ns, step.host_ns)
    assert all(part >= 0 for part in parts)
    assert sum(parts) == step.ended_ns - step.started_ns
    assert 1 <= len(step.tokens) <= step.accepted + 1 <= step.window <= max(step.window_asked, 1)
    assert len(step.drafted) == step.window - 1
    kinds = [token.kind for token in step.tokens]
    assert kinds[: step.accepted] == [TokenKind.ACCEPTED] * step.accepted
    if len(step.tokens) > step.accepted:
        if not step.drafted:
            assert kinds[-1] is TokenKind.TARGET
        elif step.accepted == len(step.drafted):
            assert kinds[-1] is TokenKind.BONUS
        else:
            assert kinds[-1] is TokenKind.CORRECTION
    for place, draft in enumerate(step.drafted):
        if place < step.accepted:
            assert draft.outcome is DraftOutcome.ACCEPTED
            assert draft.id == step.tokens[place].id
            assert draft.draft_prob == step.tokens[place].draft_prob
            assert draft.target_prob == step.tokens[place].target_prob
        elif place == step.accepted and kinds[-1] is TokenKind.CORRECTION:
            assert draft.outcome is DraftOutcome.REJECTED
        else:
            assert draft.outcome is DraftOutcome.UNTESTED
            assert (draft.target_prob, draft.draw) == (None, None)


def steps_of(events: Sequence[RunEvent]) -> list[StepCommitted]:
    return [event for event in events if isinstance(event, StepCommitted)]


def tokens_of(events: Sequence[RunEvent]) -> list[CommittedToken]:
    return [token for step in steps_of(events) for token in step.tokens]


def ids_of(events: Sequence[RunEvent]) -> list[int]:
    return [token.id for token in tokens_of(events)]


def end_of(events: Sequence[RunEvent]) -> RunEnded:
    last = events[-1]
    assert isinstance(last, RunEnded)
    return last


def finished(rig: Rig, run: SpeculativeRun, prompt: Sequence[int] = PROMPT) -> list[RunEvent]:
    """All events of a run, every law checked."""
    return list(checked_events(rig, run, prompt))
