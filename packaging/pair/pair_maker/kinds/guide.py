"""Conversations with the guide: what the numbers, colours and controls of the application mean.

Every topic has one answer in three lengths; the variety lies in the questions.  A conversation whose topic
questions are all held out never shares its prompt with one whose topic questions are all for training.
It must not know tokens, files or models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from pair_maker.sample import ASSISTANT, SYSTEM, USER, Sample

from . import (
    arithmetic,
    compose,
    greeting,
    guide_actions,
    guide_metrics,
    guide_models,
    guide_tokens,
    list_kind,
    refusal,
    story,
)
from .greeting import THANKS, THANKS_REPLIES, WELCOME
from .guide_grammar import (
    FOLLOW_UPS,
    FULL,
    SHORT,
    SIMPLE,
    STATEMENT_STARTS,
    asked,
    bare,
    changes,
    dress,
    framed,
    is_held_out,
    write,
)
from .guide_topic import Topic

KIND = "guide"
WEIGHT = 0.20

TOPICS: tuple[Topic, ...] = (
    guide_metrics.TOPICS + guide_tokens.TOPICS + guide_models.TOPICS + guide_actions.TOPICS
)
BY_NAME = {topic.name: topic for topic in TOPICS}
SYSTEMS = {
    FULL: (
        "You are a helpful guide.",
        "You are the guide of this app.",
        "You are a helpful assistant.",
        "Help the user.",
        "You are friendly and clear.",
    ),
    SHORT: (
        "Answer briefly.",
        "Answer in one sentence.",
        "Keep your answers short.",
        "Be brief.",
        "Short answers only.",
    ),
    SIMPLE: ("Explain simply.", "Use simple words.", "The user is a beginner.", "Answer in simple words."),
}
_SHAPES = ("framed", "asked", "bare")
_TASKS = (story, arithmetic, list_kind)
_Turns = list[tuple[str, str]]


@lru_cache(maxsize=None)
def questions(name: str, shape: str, held_out: bool) -> tuple[str, ...]:
    """The phrasings of one topic in one shape that belong to one side of the split."""
    makers = {"framed": framed, "asked": asked, "bare": bare, "change": changes}
    return tuple(text for text in makers[shape](BY_NAME[name]) if is_held_out(text) == held_out)


def sample(rng: random.Random, held_out: bool) -> Sample:
    """One conversation; ``check`` names the topic and, for a follow-up, its kind."""
    system_style = rng.choice((FULL, SHORT, SHORT, SIMPLE)) if rng.random() < 0.2 else None
    style = system_style or FULL
    topic = rng.choice(TOPICS)
    turns = _question(topic, style, rng, held_out)
    check: dict[str, object] = {"topic": topic.name}
    last = ""
    more = rng.choice((1, 1, 1, 2, 2, 3)) if rng.random() < 0.3 else 0
    for _ in range(more):
        topic, added, check = _next_turn(topic, style, rng, held_out, last)
        turns += added
        last = str(check.get("follow", ""))
        if last in ("closing", "outside"):
            break
    if system_style is not None:
        turns.insert(0, (SYSTEM, rng.choice(SYSTEMS[system_style])))
    elif more < 3:
        turns = _before(rng) + turns
    return Sample(KIND, tuple(turns), check)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the reply gives what was asked last: the topic's answer, its follow-up, a closing or a refusal."""
    topic = BY_NAME[str(sample.check["topic"])]
    follow = str(sample.check.get("follow", ""))
    if follow == "closing":
        return WELCOME in reply.lower()
    if follow == "outside":
        return refusal.is_right(sample, reply)
    needs: Sequence[str] = topic.follows[follow].needs if follow in topic.follows else topic.needs
    text = " ".join(reply.lower().split())
    has_all = all(any(phrase in text for phrase in group.split("|")) for group in needs)
    never = () if follow in topic.follows else topic.never
    return has_all and not any(phrase in text for phrase in never)


def _answer(topic: Topic, style: str) -> str:
    return {FULL: topic.full, SHORT: topic.short, SIMPLE: topic.simple}[style]


def _question(
    topic: Topic, style: str, rng: random.Random, held_out: bool, *, change: bool = False
) -> _Turns:
    """A question about a topic and its answer; a bare word, like a wish for brevity, gets the short answer."""
    shapes = [shape for shape in _SHAPES if questions(topic.name, shape, held_out)]
    weights = [{"framed": 0.5, "asked": 0.38, "bare": 0.12}[shape] for shape in shapes]
    shape = rng.choices(shapes, weights)[0]
    if change and rng.random() < 0.4 and questions(topic.name, "change", held_out):
        shape = "change"
    core = rng.choice(questions(topic.name, shape, held_out))
    if shape in ("bare", "change"):
        answer_style = SHORT if style == FULL and shape == "bare" else style
        return [(USER, write(core, rng)), (ASSISTANT, _answer(topic, answer_style))]
    wish = rng.choices((FULL, SHORT, SIMPLE), (0.8, 0.1, 0.1))[0] if style == FULL else FULL
    return [(USER, dress(core, wish, rng)), (ASSISTANT, _answer(topic, style if wish == FULL else wish))]


def _before(rng: random.Random) -> _Turns:
    """What may stand before the first question: mostly nothing, else a greeting or a task of another kind."""
    way = rng.random()
    if way < 0.05:
        return list(greeting.sample(rng, held_out=False).messages)[:2]
    if way < 0.11:
        exchange = compose.draw(rng, rng.choice(_TASKS).exchange, held_out=False)
        return [(USER, exchange.prompt), (ASSISTANT, exchange.reply)]
    return []


def _next_turn(
    topic: Topic, style: str, rng: random.Random, held_out: bool, last: str
) -> tuple[Topic, _Turns, dict[str, object]]:
    """One more turn: another topic, a question that leans on this one, one from outside, or thanks."""
    way = rng.random()
    if way < 0.42:
        other = rng.choice([candidate for candidate in TOPICS if candidate is not topic])
        return other, _question(other, style, rng, held_out, change=True), {"topic": other.name}
    if way < 0.48:
        asked_outside: _Turns = [*refusal.sample(rng, held_out).messages[-2:]]
        if style == SHORT:
            asked_outside[-1] = (ASSISTANT, refusal.SHORT_REPLY)
        return topic, asked_outside, {"topic": topic.name, "follow": "outside"}
    if way < 0.58:
        thanks = write(rng.choice(THANKS), rng, statement=True)
        closing: _Turns = [(USER, thanks), (ASSISTANT, rng.choice(THANKS_REPLIES))]
        return topic, closing, {"topic": topic.name, "follow": "closing"}
    # Nobody asks the same thing twice in a row.
    kinds = [kind for kind in (*topic.follows, *topic.follows, SHORT, SIMPLE) if kind != last]
    kind = rng.choice(kinds)
    answer = topic.follows[kind].answer if kind in topic.follows else _answer(topic, kind)
    ask = rng.choice(FOLLOW_UPS[kind])
    is_order = ask.startswith(STATEMENT_STARTS) or (kind in (SHORT, SIMPLE) and not ask.startswith("can"))
    ask = write(ask, rng, statement=is_order or ask.endswith("please"))
    return topic, [(USER, ask), (ASSISTANT, answer)], {"topic": topic.name, "follow": kind}
