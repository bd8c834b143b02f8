"""Short stories to order: who, where and what object, told by one of seven plots.

A story is an opening, the five parts of a plot and an ending that fits the wished mood.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from pair_maker.kinds.compose import Exchange, conversation
from pair_maker.kinds.plots import ENDINGS, OPENINGS, PLOTS, THEN, TIMES
from pair_maker.kinds.words import CREATURES, OBJECTS, PLACES, article, is_she, name, two_names
from pair_maker.sample import Sample

KIND = "story"
WEIGHT = 0.16

_MOODS = {
    "happy": ("a happy", "with a happy end"),
    "sad": ("a sad", "with a sad end"),
    "funny": ("a funny", "with a funny end"),
}
_STRANGERS = (
    "old woman",
    "old man",
    "young boy",
    "kind neighbor",
    "wise owl",
    "little girl",
)  # help where no friend is named
_VERBS = (
    "Tell me",
    "Write",
    "Write me",
    "Please tell me",
    "Can you tell me",
    "Please write",
    "I want",
    "Make up",
)
_LENGTHS = ("a story", "a short story", "a little story", "a small story")
# {s}: "a story" with its mood; {w}: who; {p}: where; {o}: object; {n}: the bare names.
_FRAMES = (
    "{v} {s} about {w} {p} with {o}",
    "{v} {s} about {w} and {o} {p}",
    "{v} {s} {p} about {w} and {o}",
    "{v} {s} with {o} about {w} {p}",
    "{v} {s} about {w} who finds {o} {p}",
    "{v} {s} that happens {p}, about {w} and {o}",
    "{v} {s}: {w}, {p}, {o}",
)
_SHORT_FRAMES = ("{v} {s} about {w}", "{v} {s} about {w} {p}", "{v} {s} about {w} and {o}")


@dataclass(frozen=True)
class _Cast:
    """What a story is made of; ``friend`` may be nobody."""

    hero: str
    creature: str
    friend: str
    place: tuple[str, str]
    thing: str
    mood: str
    stranger: str

    def words(self) -> dict[str, str]:
        """The fillings of the plots' slots."""
        he, him, his = ("she", "her", "her") if is_she(self.hero) else ("he", "him", "his")
        preposition, place = self.place
        helper = self.friend or article(self.stranger)
        known = self.friend or f"the {self.stranger}"
        return {
            "n": self.hero, "k": self.creature, "ak": article(self.creature), "f": helper,
            "F": helper[0].upper() + helper[1:], "f2": known,
            "F2": known[0].upper() + known[1:], "at": f"{preposition} the {place}",
            "ata": f"{preposition} {article(place)}", "place": place, "o": f"the {self.thing}",
            "ao": article(self.thing), "thing": self.thing, "he": he, "him": him, "his": his,
            "He": he.capitalize(), "His": his.capitalize(),
        }  # fmt: skip


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a story; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _follow_up)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether every requested name occurs in the reply as a word of its own."""
    names = sample.check["names"]
    return isinstance(names, list) and all(re.search(rf"\b{re.escape(wanted)}\b", reply) for wanted in names)


def has_all(sample: Sample, reply: str) -> bool:
    """Whether the requested place and object occur too."""
    wanted = [str(sample.check[field]) for field in ("place", "object") if sample.check[field]]
    return is_right(sample, reply) and all(re.search(rf"\b{re.escape(word)}\b", reply) for word in wanted)


def exchange(rng: random.Random) -> Exchange:
    """A request for a story with one or two characters, and the story."""
    cast = _cast(rng)
    mood = rng.choice(_MOODS[cast.mood]) if cast.mood else ""
    story = rng.choice(_LENGTHS)
    if mood.startswith("a "):
        story = f"{mood} story"
    elif mood:
        story = f"{story} {mood}"
    frame = rng.choice(_FRAMES if rng.random() < 0.88 else _SHORT_FRAMES)
    words = cast.words()
    who = f"{words['ak']} named {cast.hero}" if rng.random() < 0.6 else cast.hero
    if who == cast.hero:
        cast = replace(cast, creature=rng.choice(("girl" if is_she(cast.hero) else "boy", cast.creature)))
    if cast.friend:
        who = f"{who} and {cast.friend}" if who == cast.hero else f"{who} and a friend named {cast.friend}"
    if "who finds" in frame and cast.friend:
        frame = frame.replace("who finds", "who find")
    text = frame.format(v=rng.choice(_VERBS), s=story, w=who, p=words["ata"], o=words["ao"])
    if text.startswith("Can"):
        text += "?"
    elif rng.random() < 0.6:
        text += "."
    if rng.random() < 0.1:
        text = text[0].lower() + text[1:]
    check: dict[str, object] = {
        "names": [cast.hero, *([cast.friend] if cast.friend else [])],
        "place": cast.place[1] if "{p}" in frame else "",
        "object": cast.thing if "{o}" in frame else "",
    }
    return Exchange(text, _story(rng, cast), check, text, cast)


def _cast(rng: random.Random) -> _Cast:
    hero, friend = two_names(rng)
    mood = rng.choice(tuple(_MOODS)) if rng.random() < 0.25 else ""
    if rng.random() < 0.55:
        friend = ""
    return _Cast(
        hero,
        rng.choice(CREATURES),
        friend,
        rng.choice(PLACES),
        rng.choice(OBJECTS),
        mood,
        rng.choice(_STRANGERS),
    )


def _story(rng: random.Random, cast: _Cast, opening: str = "") -> str:
    plot = rng.choice(PLOTS)
    lines = [opening or rng.choice(OPENINGS)]
    lines += [rng.choice(part) for part in (plot.wish, plot.obstacle, plot.attempt, plot.help, plot.outcome)]
    # An obstacle or an attempt may be left untold; the help and the outcome may not.
    if rng.random() < 0.25:
        del lines[3]
    lines.append(rng.choice(ENDINGS[cast.mood or "plain"]))
    return " ".join(lines).format(**cast.words())


def _follow_up(rng: random.Random, first: Exchange) -> Exchange:
    cast = first.state
    if not isinstance(cast, _Cast):
        raise TypeError("a story exchange carries its cast")
    draw = rng.random()
    check: dict[str, object] = {"names": first.check["names"], "place": "", "object": ""}
    if draw < 0.3:
        frames = (
            "Another one with {}.",
            "Now tell me one about {}.",
            "The same with {}, please.",
            "And one about {}?",
        )
        other = name(rng)
        cast = replace(
            cast, hero=other, friend="" if other in cast.friend or cast.friend in other else cast.friend
        )
        prompt, reply = rng.choice(frames).format(other), _story(rng, cast)
        check["names"] = [other]
    elif draw < 0.5:
        time, opening = rng.choice(TIMES)
        frames = "Now make it happen {}.", "Tell it again, but {}.", "The same story, but {}."
        prompt, reply = rng.choice(frames).format(time), _story(rng, cast, opening)
    elif draw < 0.75:
        prompt = rng.choice(("Shorter, please.", "Make it shorter.", "Shorter.", "Tell it in two sentences."))
        sentences = first.reply.split(". ")
        reply = f"{sentences[0]}. {sentences[-1]}"
        check["names"] = [cast.hero]
    else:
        who = rng.choice([cast.hero, *([cast.friend] if cast.friend else [])])
        frames = "And what did {} do then?", "What did {} do next?", "What happened to {} then?"
        other = cast.friend if who == cast.hero else cast.hero
        words = {**cast.words(), "n": who, "other": other or "everyone"}
        words["he"] = "she" if is_she(who) else "he"
        prompt, reply = rng.choice(frames).format(who), rng.choice(THEN).format(**words)
        check["names"] = [who]
    return Exchange(prompt, reply, check, first.key)
