"""The shape of one topic of the guide.

Only the data types and the expansion of alternatives.  It must not know any topic, frame or conversation.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_CHOICE = re.compile(r"\[([^\]]*)\]")


def expand(pattern: str) -> tuple[str, ...]:
    """Every text that a pattern such as ``[save|export] the chat`` stands for; an empty alternative is allowed."""
    parts = _CHOICE.split(pattern)
    options = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    texts = (" ".join("".join(choice).split()) for choice in itertools.product(*options))
    return tuple(dict.fromkeys(texts))


def expand_all(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of several patterns, in order, each once."""
    return tuple(dict.fromkeys(text for pattern in patterns for text in expand(pattern)))


@dataclass(frozen=True)
class Follow:
    """The answer to a question that needs the topic before it, such as "why?".

    ``needs`` are groups of phrases separated by ``|``: a right reply has one phrase of every group.
    """

    answer: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """One thing the guide can explain, its three answers and the words people ask for it with.

    ``things`` and ``plural`` are noun phrases, ``acts`` verb phrases, ``asks`` whole questions, ``keywords``
    bare words; all are patterns for ``expand``.  ``needs`` as in ``Follow``; no phrase of ``never`` may occur.
    """

    name: str
    full: str
    short: str
    simple: str
    needs: tuple[str, ...]
    asks: tuple[str, ...]
    keywords: tuple[str, ...]
    things: tuple[str, ...] = ()
    plural: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    why: Follow | None = None
    compute: Follow | None = None
    better: Follow | None = None
    example: Follow | None = None
    where: Follow | None = None
    key: Follow | None = None

    @property
    def answers(self) -> tuple[str, str, str]:
        """The full, the one-sentence and the simple answer."""
        return self.full, self.short, self.simple

    @property
    def follows(self) -> dict[str, Follow]:
        """The follow-up answers that this topic has, by kind."""
        named = {
            "why": self.why,
            "compute": self.compute,
            "better": self.better,
            "example": self.example,
            "where": self.where,
            "key": self.key,
        }
        return {kind: follow for kind, follow in named.items() if follow is not None}
