"""Tokens and where they came from. The words are those of the glossary in the README."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TokenKind(str, Enum):
    """Who made a committed token."""

    ACCEPTED = "accepted"
    """Proposed by the drafter, kept by the target."""
    CORRECTION = "correction"
    """Sampled by the target after it rejected a draft."""
    BONUS = "bonus"
    """Sampled by the target after every draft of the window was accepted."""
    TARGET = "target"
    """No speculation involved: the first token after prefill, or k = 1."""


class DraftOutcome(str, Enum):
    """What became of a drafted token."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNTESTED = "untested"
    """Stood behind a draft that was not kept, or behind the end of the reply: it had no test of its own."""


@dataclass(frozen=True, slots=True)
class DraftedToken:
    """One proposal of the drafter.

    `text` is the token's own decoded piece (for reading, not for concatenation). `draft_prob` and `target_prob` are the
    probabilities that the two processed distributions give this token at its position; `target_prob` is None where the
    token had no test of its own. `draw` is the uniform number in [0, 1) of the acceptance test, None where the rule
    draws none or the token was not tested. `source` names who proposed it (`model`, `ngram`); empty in old records.
    """

    id: int
    text: str
    draft_prob: float
    target_prob: float | None
    draw: float | None
    outcome: DraftOutcome
    source: str = ""


@dataclass(frozen=True, slots=True)
class CommittedToken:
    """One token of the reply.

    `text` is the characters that this token completes (may be empty). `target_prob` and `draft_prob` are probabilities
    of this id in the processed distributions (at temperature 0: of the temperature-1 distributions, since the processed
    ones are one-hot); `draft_prob` is None where no draft distribution exists at this position.
    """

    id: int
    text: str
    kind: TokenKind
    target_prob: float
    draft_prob: float | None
