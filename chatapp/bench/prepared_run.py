"""A run of the real loop over models that return prepared logits at once: what suites that time the host's own work share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chatapp.domain.events import Environment, RunStarted
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.clock import MonotonicClock
from chatapp.engine.contracts import Acceptor, CausalModel, Clock
from chatapp.engine.control import RunControl
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.prompt import Prompt
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.windows.fixed import FixedWindow

ROWS = 24
"""Different rows in a table: as many as fit in a few dozen megabytes at the largest vocabulary."""
PEAKS = 12
FLOOR, HIGHEST, APART, NOISE = 2.5, 14.0, 0.9, 1.1
"""Logits: standard deviation of the floor, the best peak, the gap between peaks, and by how much a draft differs."""


def correlated_tables(vocabulary: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The target's and the draft's logits, `[ROWS, V]` float32 each, of a language model's shape: a wide floor and a few
    peaks, the draft's being the target's with noise."""
    generator = np.random.default_rng(seed)
    target = generator.standard_normal((ROWS, vocabulary), np.float32) * np.float32(FLOOR)
    np.minimum(target, np.float32(HIGHEST / 2), out=target)
    for row in target:
        peaks = generator.choice(vocabulary, PEAKS, replace=False)
        row[peaks] = HIGHEST - APART * np.arange(PEAKS) + 0.3 * generator.standard_normal(PEAKS)
    draft = target + np.float32(NOISE) * generator.standard_normal((ROWS, vocabulary), np.float32)
    return target, draft


def prepared_run(
    prompt: Prompt,
    target: CausalModel,
    draft: CausalModel,
    sampling: SamplingSettings,
    acceptor: str,
    window: int,
    *,
    wrapped: Callable[[Acceptor], Acceptor] = lambda rule: rule,
    clock: Clock | None = None,
) -> SpeculativeRun:
    """One reply at a fixed `window`, from a prompt of one id. `wrapped` may stand around the rule that verifies; `clock` stamps
    the events."""
    clock = clock or MonotonicClock()
    acceptors = RunAcceptors(Streams(sampling.seed), greedy=sampling.greedy)
    processor = Processor(sampling, 1)
    policy = FixedWindow()
    words = len(prompt.vocabulary())
    text = Text(
        # Ids behind the tokenizer's own borrow the text of others.
        lambda ids: prompt.decode([token % words for token in ids]),
        lambda token: prompt.piece(token % words),
        frozenset(),
    )
    request = GenerationRequest((Message(Role.USER, "overhead"),), sampling, window)
    rule = acceptors(acceptor)
    verifying = wrapped(rule)
    versions: tuple[tuple[str, str], ...] = ()
    environment = Environment(
        "prepared", "cpu", 1, target.info, draft.info, target.context_limit, target.vocabulary, versions, ""
    )
    started = RunStarted("overhead", "", request, rule.name, rule.lossless, environment, 1)
    return SpeculativeRun(
        started=started,
        prompt_ids=[0],
        parts=Parts(
            target=CachedSequence(target),
            drafter=ModelDrafter(CachedSequence(draft), processor, acceptors.current),
            acceptor=lambda _: verifying,
            policy=lambda _: policy,
            processor=processor,
            text=text,
            clock=clock,
        ),
        control=RunControl(window, True, acceptor),
        submitted_ns=clock.now_ns(),
    )
