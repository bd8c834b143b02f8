"""Greedy conversations on emulated NeuronCores, held against transformers' own texts of the same weights, word by word; and
the launches of every reply, held against what it should have taken.

Each conversation has three turns, whose KV is reused from turn to turn; it is led once for every k and once with k and toggle
changing at every step. In float32 the texts must be the same. In bfloat16 they may part where two tokens were as good as
equal: the margin is what transformers, in float32, puts between its token and the other one.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from chatapp.bench.engines import AssembledEngine
from chatapp.bench.exact import first_difference
from chatapp.bench.neuron_launches import ExpectedLaunches
from chatapp.bench.prompts import varied_prompt
from chatapp.domain.events import Prefilled, StepCommitted
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import MAX_WINDOW, GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.hf import TransformersModel
from chatapp.engine.backends.neuron.tnx import TnxModel
from chatapp.engine.contracts import Control
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine

FOLLOW_UPS = ("What is meant by the target model?", "And now count from 3 to 12.")
INSTANCE = "trn1.2xlarge"
CHANGING = 0
"""In place of a k: another one, and the toggle too, at every step."""
BFLOAT16_EPSILON = 2.0**-7
"""Between 1 and the next number of that type: it keeps 8 bits."""
WAYS = (*range(1, MAX_WINDOW + 1), CHANGING)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation and the reference's reply to it."""

    messages: tuple[Message, ...]
    prompt: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parting:
    """A reply that went another way at token `at`: by how much the reference preferred its own token, in units of one
    bfloat16 step at the size of its logit."""

    conversation: int
    turn: int
    k: int
    at: int
    margin: float
    steps: float


@dataclass
class Outcome:
    """What was compared. `off_plan` are replies with launches that should not have been, or that are missing."""

    replies: int = 0
    identical: int = 0
    tokens: int = 0
    accepted: int = 0
    drafted: int = 0
    reused: int = 0
    target_launches: int = 0
    draft_launches: int = 0
    verify_steps: int = 0
    off_plan: list[str] = field(default_factory=list)
    partings: list[Parting] = field(default_factory=list)


class Changing:
    """Implements `contracts.Control`: other switches at every step, drawn from a seed."""

    acceptor = "rejection"
    policy = "fixed"
    cancelled = False

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    @property
    def window(self) -> int:
        return self._random.randint(1, MAX_WINDOW)

    @property
    def speculation(self) -> bool:
        return self._random.random() < 0.85


class Reference(AssembledEngine):
    """The target alone in float32, by transformers and one token at a time."""

    def __init__(self, pair: PairLocation) -> None:
        """Raises `ModelError`."""
        self.model = TransformersModel.reference(pair.target)
        super().__init__(pair, self.model, None, "cpu")

    def conversation(self, number: int, tokens: int) -> list[Turn]:
        """Three turns that begin with `varied_prompt(number)`."""
        messages: tuple[Message, ...] = varied_prompt(number)
        turns: list[Turn] = []
        for follow_up in (*FOLLOW_UPS, ""):
            request = _request(messages, tokens, 1)
            prepared = self.prepare(request)
            ids = [
                token.id
                for event in self.run(prepared, RunControl(1, False))
                if isinstance(event, StepCommitted)
                for token in event.tokens
            ]
            turns.append(Turn(messages, prepared.prompt_ids, tuple(ids)))
            reply = Message(Role.ASSISTANT, self.pair.prompt.decode(ids))
            messages = (*messages, reply, Message(Role.USER, follow_up))
        return turns

    def margin(self, turn: Turn, at: int, other: int) -> tuple[float, float]:
        """How far below the chosen logit the other's lies behind the turn's first `at` ids; also in bfloat16 steps."""
        context = [*turn.prompt, *turn.ids[:at]]
        row = self.model.forward(context, 0, 1)[0]
        best = float(row.max())
        step = BFLOAT16_EPSILON * 2.0 ** math.floor(math.log2(abs(best)))
        return best - float(row[other]), (best - float(row[other])) / step


def emulated(pair: PairLocation, dtype: str, positions: int = 1024) -> Engine:
    """The pair on emulated NeuronCores. Raises `ModelError`."""
    settings = NeuronSettings(dtype=dtype, positions=positions, rehearse=INSTANCE)
    engine = Engine(threads=1)
    engine.load(replace(pair, neuron=settings), lambda _: None)
    return engine


def compare(
    engine: Engine,
    reference: Reference,
    numbers: Sequence[int],
    tokens: int,
    *,
    ways: Sequence[int] = WAYS,
    on_conversation: Callable[[int, Outcome], None] = lambda *_: None,
) -> Outcome:
    """Conversations `numbers` in every way."""
    outcome = Outcome()
    for number in numbers:
        turns = reference.conversation(number, tokens)
        for k in ways:
            engine.forget()
            for place, turn in enumerate(turns):
                control: Control = Changing(1000 * number + place) if k == CHANGING else RunControl(k, k > 1)
                ids = _answer(
                    engine, turn, tokens, control, outcome, f"conversation {number}, turn {place}, k {k}"
                )
                at = first_difference(turn.ids, ids)
                outcome.replies += 1
                outcome.identical += at is None
                if at is not None:
                    other = ids[at] if at < len(ids) else -1
                    margin, steps = reference.margin(turn, at, other)
                    outcome.partings.append(Parting(number, place, k, at, margin, steps))
        on_conversation(number, outcome)
    return outcome


def _request(messages: tuple[Message, ...], tokens: int, k: int) -> GenerationRequest:
    return GenerationRequest(
        messages, SamplingSettings(temperature=0.0, max_tokens=tokens), max(k, 1), k != 1
    )


def _answer(
    engine: Engine, turn: Turn, tokens: int, control: Control, outcome: Outcome, name: str
) -> list[int]:
    """The reply's ids; its launches are counted and held against the events."""
    pair = engine.pair
    target, draft = pair.target.model, pair.draft.model if pair.draft is not None else None
    assert isinstance(target, TnxModel)
    assert isinstance(draft, TnxModel)
    before = Counter(target.launched), Counter(draft.launched)
    expected = ExpectedLaunches(target.graphs, draft.graphs)
    ids: list[int] = []
    for event in engine.run(engine.prepare(_request(turn.messages, tokens, 2)), control):
        assert pair.draft is not None
        expected.see(event, pair.draft.length)
        if isinstance(event, Prefilled):
            outcome.reused += event.reused
        if isinstance(event, StepCommitted):
            ids += [token.id for token in event.tokens]
            outcome.accepted += event.accepted
            outcome.drafted += len(event.drafted)
            outcome.verify_steps += event.index > 0
    taken = target.launched - before[0], draft.launched - before[1]
    outcome.tokens += len(ids)
    outcome.target_launches += taken[0].total()
    outcome.draft_launches += taken[1].total()
    if taken != (expected.of_target, expected.of_draft):
        outcome.off_plan.append(f"{name}: {taken}, expected {(expected.of_target, expected.of_draft)}")
    return ids
