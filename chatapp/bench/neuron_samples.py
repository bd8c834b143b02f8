"""Sampled replies on emulated NeuronCores, held against the distribution that the target alone defines, through everything
between the model's weights and a reply's ids.

Both sides are random Llamas over three ids, so that every text of a few tokens can be asked for its exact probability: by
transformers, one token at a time, along the whole tree. Compared are the ids of neighbouring places, all places together (a
wrong acceptance shows in what follows what), and each place alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chatapp.bench.neuron_texts import CHANGING, INSTANCE, Changing
from chatapp.domain.errors import GenerationFailed
from chatapp.domain.events import Environment, RunEnded, RunStarted, StepCommitted
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.hf import TransformersModel
from chatapp.engine.backends.synthetic import RandomShape, write_spread
from chatapp.engine.clock import MonotonicClock
from chatapp.engine.contracts import CausalModel, Control
from chatapp.engine.control import RunControl
from chatapp.engine.devices import builtin_backend
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import POLICIES, RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence

VOCABULARY = 3
PROMPT = (0, 1, 2, 1)
TOKENS = 10
"""Of a reply, one of them from the prompt's pass. A window of 9 runs in the graph of 16 rows; longer ones never come about."""
WAYS = (*range(1, TOKENS), CHANGING)
SHAPE = RandomShape(layers=1, hidden=16, heads=2, inner=32, vocabulary=VOCABULARY)
SPREAD = 20.0
"""What random weights are multiplied with: distributions that are far from even, and differ from context to context."""
DRAFT_BLUR = 0.3
"""How much of the draft's weights is its own: it agrees with its target to a degree."""
SETTINGS = NeuronSettings(
    dtype="f32", positions=64, context_buckets=(16,), windows=(2, 4, 8, 16), rehearse=INSTANCE
)


@dataclass(frozen=True, slots=True)
class Distance:
    """Total variation between what was drawn and what should have been: of neighbouring ids over all places, and the largest
    over single places. `expected` is what as many perfect draws would give on average, of the former."""

    k: int
    replies: int
    pairs: float
    largest_place: float
    expected: float
    tokens_per_step: float


@dataclass
class World:
    """Target and draft on emulated NeuronCores, and the target's exact distribution."""

    folder: Path
    tokenizer: Path
    tokens: int = TOKENS
    settings: NeuronSettings = SETTINGS
    exact_places: list[np.ndarray] = field(init=False)
    exact_pairs: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Raises `ModelError`."""
        sides = [
            write_spread(
                self.folder / role,
                SHAPE,
                SPREAD,
                blur,
                tokenizer=self.tokenizer,
                context=self.settings.positions,
            )
            for role, blur in (("target", 0.0), ("draft", DRAFT_BLUR))
        ]
        backend = builtin_backend(self.settings, may_compile=False)
        self.target = CachedSequence(
            backend.load(read_checkpoint(sides[0]), "neuron", role="target", weights="auto")
        )
        self.draft = CachedSequence(
            backend.load(read_checkpoint(sides[1]), "neuron", role="draft", weights="auto")
        )
        reference = TransformersModel.reference(sides[0])
        self.exact_places, self.exact_pairs = exact(reference, self.tokens)

    def measure(self, k: int, replies: int, on_reply: Callable[[int], None] = lambda _: None) -> Distance:
        """Replies with seeds 0, 1, 2, … at k, or with k and toggle changing at every step."""
        places = np.zeros((self.tokens, VOCABULARY))
        pairs = np.zeros((VOCABULARY, VOCABULARY))
        steps = 0
        for seed in range(replies):
            ids, took = self._reply(seed, Changing(seed) if k == CHANGING else RunControl(k, k > 1))
            steps += took
            for place, token in enumerate(ids):
                places[place, token] += 1
            np.add.at(pairs, (ids[:-1], ids[1:]), 1)
            on_reply(seed)
        drawn = pairs / pairs.sum()
        noise = np.sqrt(2.0 * self.exact_pairs * (1.0 - self.exact_pairs) / (np.pi * pairs.sum())).sum() / 2.0
        return Distance(
            k,
            replies,
            variation(drawn, self.exact_pairs),
            max(
                variation(found / replies, exact)
                for found, exact in zip(places, self.exact_places, strict=True)
            ),
            float(noise),
            replies * self.tokens / steps,
        )

    def _reply(self, seed: int, control: Control) -> tuple[list[int], int]:
        """Its ids and its verify steps."""
        sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=self.tokens, seed=seed)
        acceptors = RunAcceptors(Streams(seed), greedy=False)
        acceptors(control.acceptor)
        processor = Processor(sampling, len(PROMPT))
        policy = POLICIES["fixed"].make()
        run = SpeculativeRun(
            started=_started(sampling, self.target.model, self.draft.model),
            prompt_ids=PROMPT,
            parts=Parts(
                target=self.target,
                drafter=ModelDrafter(self.draft, processor, acceptors.current),
                acceptor=acceptors,
                policy=lambda _: policy,
                processor=processor,
                text=Text(_letters, lambda token: _letters([token]), frozenset()),
                clock=MonotonicClock(),
            ),
            control=control,
            submitted_ns=0,
        )
        ids: list[int] = []
        steps = 0
        for event in run.events():
            if isinstance(event, StepCommitted):
                ids += [token.id for token in event.tokens]
                steps += 1
            elif isinstance(event, RunEnded) and event.error:
                raise GenerationFailed(event.error)
        return ids, steps


def exact(model: CausalModel, tokens: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Of `tokens` ids behind the prompt: the distribution at every place, and of neighbours over all places."""
    places = [np.zeros(VOCABULARY) for _ in range(tokens)]
    pairs = np.zeros((VOCABULARY, VOCABULARY))

    def descend(text: list[int], weight: float) -> None:
        start = 0 if not text else len(PROMPT) + len(text) - 1
        given = [*PROMPT, *text][start:]
        logits = model.forward(given, start, 1)[0].double().numpy()
        probs = np.exp(logits - logits.max())
        probs *= weight / probs.sum()
        place = len(text)
        places[place] += probs
        if text:
            pairs[text[-1]] += probs
        if place + 1 < tokens:
            for token in range(VOCABULARY):
                descend([*text, token], float(probs[token]))

    descend([], 1.0)
    return places, pairs / max(tokens - 1, 1)


def variation(one: np.ndarray, other: np.ndarray) -> float:
    """Total variation distance."""
    return float(np.abs(one - other).sum() / 2.0)


def _letters(ids: Sequence[int]) -> str:
    return "".join("abc"[token] for token in ids)


def _started(sampling: SamplingSettings, target: CausalModel, draft: CausalModel) -> RunStarted:
    request = GenerationRequest((Message(Role.USER, "three ids"),), sampling)
    environment = Environment(
        "tnx", "", 1, target.info, draft.info, target.context_limit, VOCABULARY, (), "", simulated=True
    )
    return RunStarted("three ids", "", request, "rejection", True, environment, len(PROMPT), "model", "fixed")
