"""A given sentence repeated, said twice, turned around or taken apart."""

from __future__ import annotations

import random

from pair_maker.kinds.compose import Exchange, conversation
from pair_maker.kinds.words import COLORS, CREATURES, FOODS, OBJECTS, PLACES, article, name, two_names
from pair_maker.sample import Sample

KIND = "repeat"
WEIGHT = 0.08

_SENTENCES = (
    "{n} has {ao}.",
    "The {k} sits {at}.",
    "{n} and {m} are {at}.",
    "The {o} is {c}.",
    "{n} likes {food} and {c} {o2}s.",
    "The {c} {o} is {at}.",
    "{n} gave {m} {ao}.",
    "My {k} is named {n}.",
    "There are {d} {k}s {at}.",
    "{n} is looking for the {c} {o}.",
    "We meet {n} {at} at {d}.",
    "The {k} found {ao} and {d} coins.",
)
_MULTI = tuple(noun for noun in OBJECTS if not noun.endswith(("s", "x", "y", "ch")))
_BEASTS = tuple(noun for noun in CREATURES if noun not in ("fox", "mouse", "wolf"))
_TASKS: dict[str, tuple[str, ...]] = {
    "same": (
        "Repeat: {t}", "Repeat this: {t}", "Copy this: {t}", "Say this: {t}", 'Repeat "{t}"', "Please repeat this sentence: {t}",
        "Write this again: {t}", "Copy exactly: {t}", "Say exactly this: {t}",
    ),
    "twice": ("Say this twice: {t}", "Repeat this twice: {t}", "Write this two times: {t}", "Copy this twice: {t}"),
    "three times": ("Say this three times: {t}", "Repeat this three times: {t}", "Write this three times: {t}"),
    "backwards": ("Reverse the words: {t}", "Say the words backwards: {t}", "Turn the words around: {t}"),
    "one per line": ("Write one word per line: {t}", "Put each word on its own line: {t}"),
    "last": ("What is the last word here? {t}", "Give me the last word of this: {t}"),
    "first": ("What is the first word here? {t}", "Give me the first word of this: {t}"),
}  # fmt: skip
_SHARES = (("same", 40), ("twice", 16), ("three times", 7), ("backwards", 10), ("one per line", 7),
           ("last", 6), ("first", 6))  # fmt: skip


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a changed or unchanged copy; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _again)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the wanted text occurs in the reply; a single word must be the whole reply."""
    text = str(sample.check["text"])
    return text in reply if " " in text or "\n" in text else text == reply.strip(" .")


def exchange(rng: random.Random) -> Exchange:
    """A sentence with a task, and the result."""
    sentence = _sentence(rng)
    task = rng.choices([task for task, _ in _SHARES], [share for _, share in _SHARES])[0]
    prompt = rng.choice(_TASKS[task]).format(t=sentence)
    text = _done(task, sentence)
    return Exchange(prompt, text, {"text": text, "sentence": sentence}, prompt)


def _sentence(rng: random.Random) -> str:
    first, second = two_names(rng)
    preposition, place = rng.choice(PLACES)
    thing = rng.choice(_MULTI)
    if rng.random() < 0.15:
        return " ".join(rng.sample((*COLORS, *FOODS, *_BEASTS, *_MULTI, name(rng)), rng.randint(3, 6)))
    return rng.choice(_SENTENCES).format(
        n=first, m=second, k=rng.choice(_BEASTS), o=thing, ao=article(thing), o2=rng.choice(_MULTI), c=rng.choice(COLORS),
        at=f"{preposition} the {place}", food=rng.choice(FOODS), d=rng.randint(2, 12),
    )  # fmt: skip


def _done(task: str, sentence: str) -> str:
    words = sentence.rstrip(".").split()
    return {
        "same": sentence,
        "twice": f"{sentence}\n{sentence}",
        "three times": f"{sentence}\n{sentence}\n{sentence}",
        "backwards": " ".join(reversed(words)),
        "one per line": "\n".join(words),
        "last": words[-1],
        "first": words[0],
    }[task]


def _again(rng: random.Random, first: Exchange) -> Exchange:
    frames = {
        "Again.": "same",
        "Now twice.": "twice",
        "Now three times.": "three times",
    }
    prompt = rng.choice(tuple(frames))
    sentence = str(first.check["sentence"])
    text = _done(frames[prompt], sentence)
    if prompt == "Again.":
        text = first.reply
    return Exchange(prompt, text, {"text": text, "sentence": sentence}, first.key)
