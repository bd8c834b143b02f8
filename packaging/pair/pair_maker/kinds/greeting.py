"""Greetings, thanks, goodbyes and small talk about how things are.

It must not know the topics of the guide.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from pair_maker.sample import ASSISTANT, USER, Sample

from . import words

KIND = "greeting"
WEIGHT = 0.03

WELCOME = "you are welcome"
THANKS = (
    "thanks",
    "thank you",
    "thank you very much",
    "thanks a lot",
    "great, thanks",
    "ok, thank you",
    "that helps, thanks",
    "good, thank you",
    "thanks, that was clear",
    "perfect, thanks",
    "many thanks",
    "nice, thank you",
)
THANKS_REPLIES = (
    "You are welcome. Ask me again at any time.",
    "You are welcome. Is there anything else?",
    "You are welcome.",
)

_HELLO = (
    "hello", "hi", "hey", "good morning", "good evening", "good day", "hello there", "hi there", "hi guide",
    "hello guide", "good afternoon", "hey there",
)  # fmt: skip
_INTRODUCTIONS = ("I am {}", "my name is {}", "I'm {}", "this is {}", "{} here", "you can call me {}")
_HOW = (
    "how are you",
    "how is it going",
    "how do you do",
    "how are you today",
    "are you well",
    "how do you feel",
    "all well",
)
_BYE = (
    "goodbye", "bye", "see you", "good night", "bye bye", "see you later", "I have to go", "that is all",
    "that was all, goodbye", "until tomorrow", "see you tomorrow", "I must go now",
)  # fmt: skip
_OFFER = "Ask me about k, TPOT or the colours, or for a short story."
_HELLO_REPLIES = (
    "Hello! " + _OFFER,
    "Hello! I am the guide. " + _OFFER,
    "Hello, nice to see you. What can I do for you?",
)
_NAME_REPLIES = (
    "Hello, {}! " + _OFFER,
    "Hello, {}, nice to meet you. What can I do for you?",
    "Nice to meet you, {}! " + _OFFER,
)
_HOW_REPLIES = (
    "I am well, thank you. What can I do for you?",
    "I am a small model and always ready. What can I do for you?",
)
_BYE_REPLIES = (
    "Goodbye! Export the chat with Ctrl+E if you want to keep it.",
    "Goodbye, and come back soon.",
)
_FITS = {
    "hello": ("hello",),
    "name": ("hello", "nice to meet you"),
    "how": ("i am well", "always ready"),
    "thanks": (WELCOME,),
    "bye": ("goodbye",),
}
_Made = tuple[str, str, dict[str, object]]


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A greeting with its reply; at times a second one behind it."""
    made = _draw(rng, held_out)
    messages = [(USER, made[0]), (ASSISTANT, made[1])]
    if made[2]["type"] in ("hello", "name") and rng.random() < 0.25:
        maker = rng.choice((_how, _thanks, _bye))
        made = maker(rng)
        messages += [(USER, made[0]), (ASSISTANT, made[1])]
    return Sample(KIND, tuple(messages), made[2])


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the reply answers this type of greeting, by name where one was given."""
    text = " ".join(reply.lower().split())
    name = str(sample.check.get("name", "")).lower()
    return name in text and any(phrase in text for phrase in _FITS[str(sample.check["type"])])


def is_held_out(text: str) -> bool:
    """Whether a greeting is kept out of training, whatever its case and end mark."""
    return zlib.crc32(text.lower().rstrip(".!?").encode()) % 10 == 0


def _draw(rng: random.Random, held_out: bool) -> _Made:
    makers: tuple[Callable[[random.Random], _Made], ...] = (_hello, _named, _named, _how, _thanks, _bye)
    while True:
        made = rng.choice(makers)(rng)
        if is_held_out(made[0]) == held_out:
            return made


def _hello(rng: random.Random) -> _Made:
    return _typed(rng.choice(_HELLO), rng, "!"), rng.choice(_HELLO_REPLIES), {"type": "hello"}


def _named(rng: random.Random) -> _Made:
    name = words.name(rng)
    introduction = rng.choice(_INTRODUCTIONS).format(name)
    hello = rng.choice(_HELLO)
    text = rng.choice((f"{hello}, {introduction}", introduction, f"{introduction}, {hello}"))
    return _typed(text, rng, "."), rng.choice(_NAME_REPLIES).format(name), {"type": "name", "name": name}


def _how(rng: random.Random) -> _Made:
    hello = rng.choice(("", "", f"{rng.choice(_HELLO)}, "))
    return _typed(hello + rng.choice(_HOW), rng, "?"), rng.choice(_HOW_REPLIES), {"type": "how"}


def _thanks(rng: random.Random) -> _Made:
    return _typed(rng.choice(THANKS), rng, "."), rng.choice(THANKS_REPLIES), {"type": "thanks"}


def _bye(rng: random.Random) -> _Made:
    thanks = rng.choice(("", "", f"{rng.choice(THANKS)}, "))
    return _typed(thanks + rng.choice(_BYE), rng, "."), rng.choice(_BYE_REPLIES), {"type": "bye"}


def _typed(text: str, rng: random.Random, mark: str) -> str:
    if rng.random() < 0.7:
        text = text[0].upper() + text[1:]
    return text + rng.choice(("", mark, mark))
