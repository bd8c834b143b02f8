"""What is asked of the engine: messages, sampling settings, window, acceptor. Frozen values, validated once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from chatapp.domain.errors import EmptyPrompt, InvalidSetting

MIN_WINDOW = 1
MAX_WINDOW = 16
SLIDER_MIN_WINDOW = 2
DEFAULT_WINDOW = 5
MAX_SEED = 2**63 - 1
FIXED_POLICY = "fixed"
"""The window policy that does what the slider says; any other chooses by itself, up to the slider's k."""


class Role(str, Enum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


def chooses_by_itself(policy: str) -> bool:
    """Whether a window policy of this name treats the slider's k as a cap. Old records name none: there k was fixed."""
    return policy not in ("", FIXED_POLICY)


def _check(field_name: str, value: float, low: float, high: float, *, low_open: bool = False) -> None:
    inside = low < value <= high if low_open else low <= value <= high
    if not (math.isfinite(value) and inside):
        bracket = "(" if low_open else "["
        raise InvalidSetting(
            field_name, f"{field_name} must lie in {bracket}{low:g}, {high:g}]; it is {value!r}."
        )


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Knobs of the processed distribution, applied alike to target and draft logits.

    Neutral values: `top_k` 0, `top_p` 1, `min_p` 0, `repetition_penalty` 1, `presence_penalty` and `frequency_penalty` 0.
    `temperature` 0 is greedy. `max_tokens` counts generated tokens (end-of-text included). `stop` strings end the reply
    and are not part of it. Presence and frequency penalties are taken off the logits of ids that the reply already holds
    (once, and once per occurrence); repetition also looks at the prompt. `logit_bias` are `(id, added to its logit)`.

    Raises `InvalidSetting` on construction when a value is out of range.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 512
    seed: int = 0
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, 0.0, 5.0)
        _check("top_k", self.top_k, 0, 1_000_000)
        _check("top_p", self.top_p, 0.0, 1.0, low_open=True)
        _check("min_p", self.min_p, 0.0, 1.0)
        _check("repetition_penalty", self.repetition_penalty, 0.1, 10.0)
        _check("max_tokens", self.max_tokens, 1, 1_000_000)
        _check("seed", self.seed, 0, MAX_SEED)
        _check("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _check("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        ids = [token for token, _ in self.logit_bias]
        if len(set(ids)) != len(ids) or any(token < 0 for token in ids):
            raise InvalidSetting("logit_bias", "A logit bias names each token once, by its id, 0 or more.")
        for _, bias in self.logit_bias:
            _check("logit_bias", bias, -100.0, 100.0)
        if any(not stop for stop in self.stop):
            raise InvalidSetting("stop", "A stop string must not be empty.")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt to one reply.

    `messages` is the whole conversation (system prompt first if there is one), the last message the user's. `window`
    is k at the start of the run; `speculation` False means k = 1 until it is switched on. `acceptor`, `drafter` and
    `policy` (which chooses each step's window, `window` being the most it may choose) are registry names; at temperature
    0 the engine uses `greedy` whatever `acceptor` says.

    Raises `EmptyPrompt` or `InvalidSetting` on construction.
    """

    messages: tuple[Message, ...]
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    window: int = DEFAULT_WINDOW
    speculation: bool = True
    acceptor: str = "rejection"
    drafter: str = "model"
    policy: str = FIXED_POLICY

    def __post_init__(self) -> None:
        _check("window", self.window, MIN_WINDOW, MAX_WINDOW)
        if (
            not self.messages
            or self.messages[-1].role is not Role.USER
            or not self.messages[-1].content.strip()
        ):
            raise EmptyPrompt(
                "There is nothing to send: the message is empty.", remedy="Type a message first."
            )
