"""Random conversations on emulated NeuronCores whatever was compiled: every text is that of plain greedy on the processor."""

from __future__ import annotations

import random
from collections.abc import Sequence

from chatapp.domain.events import EndReason
from chatapp.domain.ports import PairLocation
from chatapp.engine.backends import emulator
from chatapp.engine.control import RunControl
from tests.engine.neuron.test_tnx_replies import close, on_processor, reply
from tests.helpers.engine import Schedule, end_of, ids_of
from tests.helpers.neuron import after_launch, opened

__all__ = ["close"]

WINDOWS = (2, 3, 4, 5, 7, 8, 11, 16, 20, 32, 64, 100, 128, 256)
"""Longer than the context too: those are left out."""


def compiled(chooser: random.Random) -> dict[str, object]:
    """Settings of a pair: the context tiny or not, windows none, odd or many, buckets anywhere."""
    positions = chooser.choice((2, 3, 5, 8, 17, 31, 64, 100, 128))

    def lengths(most: int) -> tuple[int, ...]:
        return tuple(sorted({chooser.randint(1, positions) for _ in range(chooser.randint(0, most))}))

    return {
        "positions": positions,
        "windows": tuple(sorted(chooser.sample(WINDOWS, chooser.choice((0, 1, 1, 2, 5))))),
        "draft_windows": tuple(sorted(chooser.sample(WINDOWS, chooser.choice((0, 1, 1, 2))))),
        "token_buckets": tuple(sorted({*lengths(2), positions})),
        "context_buckets": lengths(3),
    }


def ids(chooser: random.Random, most: int) -> list[int]:
    return [chooser.randint(10, 400) for _ in range(chooser.randint(1, max(most, 1)))]


def next_prompt(chooser: random.Random, text: Sequence[int], limit: int) -> list[int]:
    """The conversation goes on, is edited somewhere, or a new one begins; cut to what there is room for."""
    kind = chooser.randrange(3)
    if kind == 0:
        prompt = [*text, *ids(chooser, 20)]
    elif kind == 1:
        prompt = [*text[: chooser.randint(0, len(text))], *ids(chooser, 8)]
    else:
        prompt = ids(chooser, limit)
    return prompt[: limit - 1]


def test_random_conversations_are_plain_greedy_whatever_was_compiled(close: PairLocation) -> None:
    processor = on_processor(close)
    ends: set[EndReason] = set()
    for seed in range(25):
        chooser = random.Random(seed)
        with emulator.installed():
            shape = compiled(chooser)
            engine = opened(close, **shape)
            limit = engine.pair.info.capabilities.context_limit
            prompt = ids(chooser, limit - 1)
            for _turn in range(4):
                tokens = chooser.choice((1, 2, 5, 20, 60))
                control: RunControl | Schedule = Schedule(
                    [(chooser.randint(1, 16), chooser.random() < 0.8) for _ in range(60)]
                )
                launch = 0
                if chooser.random() < 0.25:
                    control, launch = RunControl(chooser.randint(1, 16), True), chooser.randint(1, 12)
                with after_launch(launch, getattr(control, "cancel", None)):
                    events = reply(engine, prompt, tokens=tokens, control=control)
                plain = ids_of(reply(processor, prompt, tokens=tokens, control=RunControl(1, False)))
                given, end = ids_of(events), end_of(events)
                assert given == plain[: len(given)], (seed, shape)
                assert end.reason in (
                    EndReason.MAX_TOKENS,
                    EndReason.CONTEXT_FULL,
                    EndReason.CANCELLED,
                ), (seed, shape, end.error)
                if end.reason is EndReason.CONTEXT_FULL:
                    assert len(prompt) + len(given) == limit + 1, (seed, shape)
                ends.add(end.reason)
                if chooser.random() < 0.7:  # else it is generated again
                    prompt = next_prompt(chooser, [*prompt, *given], limit)
    assert len(ends) == 3
