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
_FEWEST_SENTENCES = 3
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


@dataclass(frozen=True)
class _Story:
    """A cast and the lines, still with their slots, that tell of it."""

    cast: _Cast
    lines: tuple[str, ...]

    def text(self) -> str:
        """The story as it is told."""
        return " ".join(self.lines).format(**self.cast.words())


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a story; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _follow_up)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether every requested name occurs as a word of its own; where none was requested, whether a story is told."""
    names = sample.check["names"]
    if not isinstance(names, list) or (not names and reply.count(".") < _FEWEST_SENTENCES):
        return False
    return all(re.search(rf"\b{re.escape(wanted)}\b", reply) for wanted in names)


def has_all(sample: Sample, reply: str) -> bool:
    """Whether the requested place and object occur too."""
    wanted = [str(sample.check[field]) for field in ("place", "object") if sample.check[field]]
    return is_right(sample, reply) and all(re.search(rf"\b{re.escape(word)}\b", reply) for word in wanted)


def exchange(rng: random.Random) -> Exchange:
    """A request for a story with up to two characters, and the story."""
    cast = _cast(rng)
    if rng.random() < 0.05:
        return _open_exchange(rng, cast)
    named = "named" if rng.random() < 0.8 else "called"
    words = cast.words()
    if rng.random() < 0.6:
        who = f"{words['ak']} {named} {cast.hero}"
        other = f"{article(rng.choice(('friend', 'friend', *CREATURES[:8])))} {named} {cast.friend}"
    else:
        who, other = cast.hero, cast.friend
        cast = replace(cast, creature=rng.choice(("girl" if is_she(cast.hero) else "boy", cast.creature)))
    frame = rng.choice(_FRAMES if rng.random() < 0.88 else _SHORT_FRAMES)
    if cast.friend:
        who = f"{who} and {other}"
        frame = frame.replace("who finds", "who find")
    text = _ended(
        rng,
        frame.format(v=rng.choice(_VERBS), s=_kind_of_story(rng, cast), w=who, p=words["ata"], o=words["ao"]),
    )
    check: dict[str, object] = {
        "names": [cast.hero, *([cast.friend] if cast.friend else [])],
        "place": cast.place[1] if "{p}" in frame else "",
        "object": cast.thing if "{o}" in frame else "",
    }
    story = _Story(cast, _lines(rng, cast))
    return Exchange(text, story.text(), check, text, story)


def _open_exchange(rng: random.Random, cast: _Cast) -> Exchange:
    """A request that names nobody."""
    words = cast.words()
    story = _Story(cast, _lines(rng, cast))
    frame = rng.choice(
        ("{v} {s}", "{v} {s} about {ak}", "{v} {s} about {ak} {ata}", "{v} {s} about {ak} and {ao}")
    )
    text = _ended(rng, frame.format(v=rng.choice(_VERBS), s=_kind_of_story(rng, cast), **words))
    place, thing = cast.place[1] if "{ata}" in frame else "", cast.thing if "{ao}" in frame else ""
    return Exchange(text, story.text(), {"names": [], "place": place, "object": thing}, text, story)


def _kind_of_story(rng: random.Random, cast: _Cast) -> str:
    story = rng.choice(_LENGTHS)
    if not cast.mood:
        return story
    mood = rng.choice(_MOODS[cast.mood])
    return f"{mood} story" if mood.startswith("a ") else f"{story} {mood}"


def _ended(rng: random.Random, text: str) -> str:
    if text.startswith("Can"):
        text += "?"
    elif rng.random() < 0.6:
        text += "."
    return text[0].lower() + text[1:] if rng.random() < 0.1 else text


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


def _lines(rng: random.Random, cast: _Cast) -> tuple[str, ...]:
    plot = rng.choice(PLOTS)
    lines = [rng.choice(OPENINGS)]
    lines += [rng.choice(part) for part in (plot.wish, plot.obstacle, plot.attempt, plot.help, plot.outcome)]
    # The attempt may be left untold; the help and the outcome may not.
    if rng.random() < 0.25:
        del lines[3]
    return (*lines, rng.choice(ENDINGS[cast.mood or "plain"]))


def _follow_up(rng: random.Random, first: Exchange) -> Exchange:
    """The same story changed, another one, or what happened next."""
    story = first.state
    if not isinstance(story, _Story):
        raise TypeError("a story exchange carries its story")
    draw = rng.random()
    if draw < 0.35:
        return _with_another(rng, story, first.key)
    names: object = first.check["names"]
    if draw < 0.55:
        time, opening = rng.choice(TIMES)
        frame = rng.choice(("Now make it happen {}.", "Tell it again, but {}.", "The same story, but {}."))
        prompt, reply = frame.format(time), replace(story, lines=(opening, *story.lines[1:])).text()
    elif draw < 0.75:
        prompt = rng.choice(
            ("Shorter, please.", "Make it shorter.", "Shorter.", "Tell it in three sentences.")
        )
        reply, names = replace(story, lines=(*story.lines[:2], story.lines[-2])).text(), [story.cast.hero]
    else:
        cast = story.cast
        who = rng.choice([cast.hero, *([cast.friend] if cast.friend else [])])
        other = (cast.friend if who == cast.hero else cast.hero) or "everyone"
        words = {**cast.words(), "n": who, "other": other, "he": "she" if is_she(who) else "he"}
        frame = rng.choice(("And what did {} do then?", "What did {} do next?", "What happened to {} then?"))
        prompt, reply, names = frame.format(who), rng.choice(THEN).format(**words), [who]
    return Exchange(prompt, reply, {"names": names, "place": "", "object": ""}, first.key)


def _with_another(rng: random.Random, story: _Story, key: str) -> Exchange:
    """The same story, or another one, with another hero."""
    hero, cast = name(rng), story.cast
    while hero in (cast.hero, cast.friend):
        hero = name(rng)
    story = replace(story, cast=replace(cast, hero=hero))
    frame = rng.choice(
        ("The same with {}, please.", "Tell it with {} instead.", "Another one with {}.", "Now one about {}.")
    )
    if "one" in frame:
        story = replace(story, lines=_lines(rng, cast))
    check = {"names": [hero], "place": "", "object": ""}
    return Exchange(frame.format(hero), story.text(), check, key)
