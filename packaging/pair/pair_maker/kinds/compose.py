"""From one exchange to a conversation: the split into training and held out, earlier turns, system prompts.

Every kind of text writes exchanges (a request with its reply); here they become samples.  It must not know what any
exchange says.
"""

from __future__ import annotations

import importlib
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pair_maker.sample import ASSISTANT, SYSTEM, USER, Sample

_HELD_OUT_ONE_IN = 12
_SHARE_WITH_SYSTEM = 0.08
_SHARE_WITH_FOLLOW_UP = 0.14
_SHARE_WITH_EARLIER_TURNS = 0.08

_SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a small demonstration model. Answer briefly.",
    "You are a friendly assistant. Answer in plain English.",
    "Be brief and correct.",
    "You are the guide of this application. Help the user.",
    "Answer politely and clearly.",
)
# Kinds whose exchanges may come earlier in the same conversation.
_NEIGHBORS = ("story", "arithmetic", "code", "table", "json_kind", "list_kind", "repeat", "summary")


@dataclass(frozen=True)
class Exchange:
    """A request and its reply.

    ``key`` decides on which side of the split the exchange lies: the request itself or what makes it a new task
    (a pair of operands).  ``state`` is what a follow-up of the same kind needs to know.
    """

    prompt: str
    reply: str
    check: Mapping[str, object]
    key: str
    state: object = None


def is_reserved(key: str) -> bool:
    """Whether a key is kept out of training; stable over processes and Python versions."""
    return zlib.crc32(key.casefold().encode()) % _HELD_OUT_ONE_IN == 0


def draw(rng: random.Random, make: Callable[[random.Random], Exchange], held_out: bool) -> Exchange:
    """The first exchange on the wanted side of the split."""
    while True:
        exchange = make(rng)
        if is_reserved(exchange.key) == held_out:
            return exchange


def conversation(
    kind: str,
    rng: random.Random,
    held_out: bool,
    make: Callable[[random.Random], Exchange],
    follow_up: Callable[[random.Random, Exchange], Exchange] | None = None,
) -> Sample:
    """A conversation that ends with an exchange of this kind, at times a second one that refers to the first."""
    turns: list[Exchange] = []
    if rng.random() < _SHARE_WITH_EARLIER_TURNS:
        turns += [_neighbor(rng) for _ in range(rng.choice((1, 1, 1, 2)))]
    first = draw(rng, make, held_out)
    turns.append(first)
    if follow_up is not None and rng.random() < _SHARE_WITH_FOLLOW_UP:
        refer = follow_up
        turns.append(draw(rng, lambda rng: refer(rng, first), held_out))
    messages = [(SYSTEM, rng.choice(_SYSTEM_PROMPTS))] if rng.random() < _SHARE_WITH_SYSTEM else []
    for turn in turns:
        messages += [(USER, turn.prompt), (ASSISTANT, turn.reply)]
    return Sample(kind, tuple(messages), turns[-1].check)


def _neighbor(rng: random.Random) -> Exchange:
    # By name and late: the kinds import this module.
    module = importlib.import_module(f"{__package__}.{rng.choice(_NEIGHBORS)}")
    make: Callable[[random.Random], Exchange] = module.exchange
    return draw(rng, make, held_out=False)


def request(rng: random.Random, text: str) -> str:
    """The request as a person may type it: at times polite, in lower case, or without its full stop."""
    if rng.random() < 0.12:
        text = f"Please {text[0].lower()}{text[1:]}"
    elif rng.random() < 0.08:
        text = f"Can you {text[0].lower()}{text[1:].rstrip('.')}?"
    if rng.random() < 0.15:
        text = text[0].lower() + text[1:]
    return text[:-1] if text.endswith(".") and rng.random() < 0.4 else text
