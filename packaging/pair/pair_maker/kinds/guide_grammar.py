"""How people ask: frames around the words of a topic, politeness, case and punctuation, and follow-ups.

It must not know any topic or answer.
"""

from __future__ import annotations

import random
import zlib

from .guide_topic import Topic, expand_all

HELD_OUT_SHARE = 10  # one phrasing in ten
FULL, SHORT, SIMPLE = "full", "short", "simple"

_THING_FRAMES = (
    "what is {}",
    "what does {} mean",
    "explain {}",
    "explain {} to me",
    "tell me about {}",
    "tell me what {} is",
    "tell me what {} means",
    "what is meant by {}",
    "can you explain {}",
    "could you explain {}",
    "I do not understand {}",
    "I do not know what {} is",
    "I do not know what {} means",
    "what is the meaning of {}",
    "help me understand {}",
    "I want to know what {} is",
    "describe {}",
    "define {}",
    "do you know what {} is",
    "I see {} here, what is it",
    "what exactly is {}",
    "I have a question about {}",
    "say something about {}",
    "what should I know about {}",
)
_PLURAL_FRAMES = (
    "what are {}",
    "what do {} mean",
    "explain {}",
    "explain {} to me",
    "tell me about {}",
    "tell me what {} are",
    "tell me what {} mean",
    "what is meant by {}",
    "can you explain {}",
    "could you explain {}",
    "I do not understand {}",
    "I do not know what {} are",
    "I do not know what {} mean",
    "help me understand {}",
    "I want to know what {} are",
    "describe {}",
    "I see {}, what does that mean",
    "I have a question about {}",
    "what should I know about {}",
)
_ACT_FRAMES = (
    "how do I {}",
    "how can I {}",
    "how to {}",
    "I want to {}",
    "I would like to {}",
    "I need to {}",
    "can I {}",
    "is it possible to {}",
    "is there a way to {}",
    "show me how to {}",
    "tell me how to {}",
    "explain how to {}",
    "what must I do to {}",
    "what do I press to {}",
    "where can I {}",
    "I do not know how to {}",
    "can you tell me how to {}",
    "what is the way to {}",
    "help me {}",
)
_CHANGE_FRAMES = ("and {}", "what about {}", "and what about {}", "how about {}", "ok, and {}")
_OPENERS = (
    "please, ",
    "hi, ",
    "hello, ",
    "a question: ",
    "excuse me, ",
    "one question: ",
    "sorry, ",
    "ok, ",
    "well, ",
    "now ",
    "so ",
    "hey, ",
)
_STYLE_TAILS = {
    FULL: ("", "", "", "", "", "", ", please"),
    SHORT: (
        ", in one sentence",
        ", in short",
        ", please be brief",
        ", a short answer please",
        ", short answer",
    ),
    SIMPLE: (
        ", in simple words",
        ", in easy words",
        ", I am new here",
        ", for a beginner",
    ),
}
_ORDER_TAILS = {
    FULL: _STYLE_TAILS[FULL],
    SHORT: (" in one sentence", " in short", " briefly", " in a few words", ", please be brief"),
    SIMPLE: (" simply", " in simple words", " for a beginner", " in easy words", ", I am new here"),
}
STATEMENT_STARTS = (
    "explain",
    "tell",
    "i ",
    "help",
    "describe",
    "define",
    "say",
    "show",
    "give",
    "introduce",
)
FOLLOW_UPS = {
    "why": (
        "why",
        "why is that",
        "and why",
        "why so",
        "why is that so",
        "what is the reason",
        "can you say why",
        "but why",
    ),
    "compute": (
        "how is it computed",
        "and how is it computed",
        "how do you compute it",
        "how do I compute it",
        "what is the formula",
        "how is it measured",
        "where does the number come from",
    ),
    "better": (
        "is more better",
        "is higher better",
        "is a higher value better",
        "is a large one better",
        "should it be high",
        "is it good to have more",
        "do I want more of it",
    ),
    "example": (
        "give an example",
        "give me an example",
        "an example please",
        "can you show an example",
        "for example",
        "do you have an example",
    ),
    "where": (
        "where do I find it",
        "where is it",
        "and where is it",
        "where can I see it",
        "where do I find that",
        "where do I look",
    ),
    "key": (
        "is there a key for it",
        "is there a key for that",
        "is there a shortcut",
        "can I do it with the keyboard",
        "is there a key",
    ),
    SHORT: (
        "shorter please",
        "in one sentence please",
        "make it shorter",
        "that is too long",
        "say it in one sentence",
        "can you say it shorter",
        "shorter",
    ),
    SIMPLE: (
        "simpler please",
        "explain it simply",
        "I do not understand",
        "I do not get it",
        "say it in simple words",
        "that is too hard for me",
        "can you say it more simply",
    ),
}


def is_held_out(core: str) -> bool:
    """Whether a phrasing, without politeness, case or end mark, is kept out of training."""
    return zlib.crc32(core.lower().encode()) % HELD_OUT_SHARE == 0


def framed(topic: Topic) -> tuple[str, ...]:
    """The questions that frames make of the topic's nouns and verbs."""
    things = expand_all(topic.things)
    plural = expand_all(topic.plural)
    acts = expand_all(topic.acts)
    pairs = ((_THING_FRAMES, things), (_PLURAL_FRAMES, plural), (_ACT_FRAMES, acts))
    return tuple(frame.format(word) for frames, words in pairs for word in words for frame in frames)


def asked(topic: Topic) -> tuple[str, ...]:
    """The whole questions of the topic's own, mostly plain, at times after "tell me:"."""
    questions = expand_all(topic.asks)
    direct = tuple(text for text in questions if not text.lower().startswith(STATEMENT_STARTS))
    return questions * 5 + tuple(
        f"{lead}: {text}" for lead in ("tell me", "please tell me") for text in direct
    )


def bare(topic: Topic) -> tuple[str, ...]:
    """Single words in place of a question."""
    words = expand_all(topic.keywords)
    return words * 3 + tuple(f"{word} {tail}" for word in words for tail in ("please", "explained", "info"))


def changes(topic: Topic) -> tuple[str, ...]:
    """Questions that turn from another topic to this one."""
    words = expand_all(topic.things + topic.plural) or expand_all(topic.keywords)
    return tuple(frame.format(word) for frame in _CHANGE_FRAMES for word in words)


def dress(core: str, style: str, rng: random.Random) -> str:
    """A question as somebody types it: opener, wish for a style, case and end mark."""
    tails = _ORDER_TAILS if core.startswith(("explain", "tell", "describe")) else _STYLE_TAILS
    tail = rng.choice(tails[style])
    opener = rng.choice(_OPENERS) if rng.random() < 0.2 else ""
    if opener.strip(" ,:") in core.lower() or (opener in ("now ", "so ") and core.startswith("I ")):
        opener = ""
    is_order = core.lower().startswith(STATEMENT_STARTS) and "," not in core and ":" not in core
    if "please" in opener + core:
        tail = tail.removesuffix(", please").replace("please ", "").removesuffix(" please")
    return write(opener + core + tail, rng, statement=is_order)


def write(text: str, rng: random.Random, *, statement: bool = False) -> str:
    """The text with a case and an end mark as people choose them; mostly a capital and the right mark."""
    way = rng.random()
    if way < 0.55:
        text = text[0].upper() + text[1:]
    elif way < 0.65:
        text = text.lower()
    elif way < 0.67:
        text = text.upper()
    mark = "." if statement else "?"
    return text + (mark if rng.random() < 0.65 else "")
