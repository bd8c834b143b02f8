"""A short text given in the prompt, and one sentence that says who did what, where and when."""

from __future__ import annotations

import random

from pair_maker.kinds.compose import Exchange, conversation
from pair_maker.kinds.words import COLORS, CREATURES, JOBS, OBJECTS, PLACES, article, is_she, two_names
from pair_maker.sample import Sample

KIND = "summary"
WEIGHT = 0.05

_FRAMES = (
    "Summarize this: {t}",
    "Summarize this text in one sentence: {t}",
    "Give me a short summary: {t}",
    "What happens in this text? {t}",
    "Say this in one sentence: {t}",
    "Please summarize: {t}",
    "Make this shorter: {t}",
    "{t} Summarize this.",
    "{t} What is this about?",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WHENS = (
    *(f"on {day}" for day in _DAYS),
    "yesterday",
    "last week",
    "in the morning",
    "in the evening",
    "in spring",
)
# What was done: as told in the text, as said in the summary.
_EVENTS = (
    ("{n} found {ao}", "found {ao}"),
    ("{n} lost {ao}", "lost {ao}"),
    ("{n} sold {ao}", "sold {ao}"),
    ("{n} bought {ao}", "bought {ao}"),
    ("{n} repaired {ao}", "repaired {ao}"),
    ("{n} painted {ao}", "painted {ao}"),
    ("{n} gave {ao} to {m}", "gave {ao} to {m}"),
    ("{n} met {m} and showed {him} {ao}", "met {m} and showed {him} {ao}"),
    ("{n} and {m} built {ao}", "built {ao} with {m}"),
    ("{n} borrowed {ao} from {m}", "borrowed {ao} from {m}"),
)
_BEFORE = (
    "It was a quiet day.", "The weather was fine.", "It was cold and windy.", "Many people were there.", "Nobody was in a hurry.",
    "The sun was shining.", "It had rained for days.",
)  # fmt: skip
_AFTER = (
    "{n} was very happy about it.", "It took a long time.", "Then {n} went home.", "Everyone was glad.",
    "{n} told all {his} friends.", "After that there was tea and cake.", "Nobody had expected it.", "It was {c} and very old.",
    "Then it was time for lunch.",
)  # fmt: skip
_WHO = ("{n} is {ak}.", "There is {ak} named {n}.", "{n} works as {job}.")


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a summary or an answer about the text; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _question)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether every key fact occurs in the reply."""
    facts = sample.check["facts"]
    return isinstance(facts, list) and all(fact in reply for fact in facts)


def exchange(rng: random.Random) -> Exchange:
    """A text of three to five sentences, and its summary."""
    hero, friend = two_names(rng)
    preposition, place = rng.choice(PLACES)
    creature, thing, when = rng.choice(CREATURES), rng.choice(OBJECTS), rng.choice(_WHENS)
    where = f"{preposition} the {place}"
    he, his = ("she", "her") if is_she(hero) else ("he", "his")
    words = {
        "n": hero, "m": friend, "ak": article(creature), "job": article(rng.choice(JOBS)), "ao": article(thing), "he": he, "his": his,
        "him": "her" if is_she(friend) else "him", "c": rng.choice(COLORS),
    }  # fmt: skip
    told, said = (text.format(**words) for text in rng.choice(_EVENTS))
    event = f"{when[0].upper()}{when[1:]} {told} {where}."
    if rng.random() < 0.4:
        event = f"{told} {where} {when}."
    who = rng.choice(_WHO).format(**words)
    after = [line.format(**words) for line in rng.sample(_AFTER, rng.randint(1, 2))]
    text = " ".join([who, *rng.sample(_BEFORE, rng.randint(0, 1)), event, *after])
    prompt = rng.choice(_FRAMES).format(t=text)
    reply = f"{hero} {said} {where} {when}."
    facts = [hero, thing, where, *([friend] if friend in said else [])]
    return Exchange(
        prompt, reply, {"facts": facts, "where": where, "when": when, "who": hero, "what": thing}, prompt
    )


def _question(rng: random.Random, first: Exchange) -> Exchange:
    who, what = first.check["who"], first.check["what"]
    asked = rng.choice(("where", "when", "who"))
    if asked == "where":
        prompt, reply, fact = "Where was it?", f"It was {first.check['where']}.", first.check["where"]
    elif asked == "when":
        prompt, reply, fact = "When was it?", f"It was {first.check['when']}.", first.check["when"]
    else:
        prompt, reply, fact = "Who is the text about?", f"It is about {who} and {article(str(what))}.", who
    return Exchange(prompt, reply, {**first.check, "facts": [fact]}, first.key)
