"""Settings at every bound: the last value that is taken and the first that is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chatapp.domain.errors import EmptyPrompt, InvalidSetting
from chatapp.domain.request import (
    MAX_SEED,
    MAX_WINDOW,
    MIN_WINDOW,
    GenerationRequest,
    Message,
    Role,
    SamplingSettings,
)

USER = Message(Role.USER, "Hello")

TAKEN: list[tuple[str, Any]] = [
    ("temperature", 0.0),
    ("temperature", 5.0),
    ("top_k", 0),
    ("top_k", 1_000_000),
    ("top_p", math.nextafter(0, 1)),
    ("top_p", 1.0),
    ("min_p", 0.0),
    ("min_p", 1.0),
    ("repetition_penalty", 0.1),
    ("repetition_penalty", 10.0),
    ("max_tokens", 1),
    ("max_tokens", 1_000_000),
    ("seed", 0),
    ("seed", MAX_SEED),
    ("stop", ()),
    ("stop", (" ", "\n")),
]
REFUSED: list[tuple[str, Any]] = [
    ("temperature", math.nextafter(0, -1)),
    ("temperature", math.nextafter(5, 6)),
    ("temperature", math.nan),
    ("temperature", math.inf),
    ("top_k", -1),
    ("top_k", 1_000_001),
    ("top_p", 0.0),
    ("top_p", math.nextafter(1, 2)),
    ("top_p", math.nan),
    ("min_p", math.nextafter(0, -1)),
    ("min_p", math.nextafter(1, 2)),
    ("min_p", math.nan),
    ("repetition_penalty", math.nextafter(0.1, 0)),
    ("repetition_penalty", math.nextafter(10, 11)),
    ("repetition_penalty", -math.inf),
    ("max_tokens", 0),
    ("max_tokens", 1_000_001),
    ("seed", -1),
    ("seed", MAX_SEED + 1),
    ("stop", ("a", "")),
]


@pytest.mark.parametrize(("field", "value"), TAKEN)
def test_taken_at_the_bound(field: str, value: Any) -> None:
    assert getattr(SamplingSettings(**{field: value}), field) == value


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_refused_behind_the_bound_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidSetting) as caught:
        SamplingSettings(**{field: value})
    assert caught.value.field == field
    assert caught.value.what


@pytest.mark.parametrize("window", [MIN_WINDOW, MAX_WINDOW])
def test_windows_at_the_bounds(window: int) -> None:
    assert GenerationRequest((USER,), window=window).window == window


@pytest.mark.parametrize("window", [MIN_WINDOW - 1, MAX_WINDOW + 1])
def test_windows_behind_the_bounds(window: int) -> None:
    with pytest.raises(InvalidSetting) as caught:
        GenerationRequest((USER,), window=window)
    assert caught.value.field == "window"


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (Message(Role.USER, ""),),
        (Message(Role.USER, " \n\t\u00a0"),),
        (USER, Message(Role.ASSISTANT, "Hi")),
        (Message(Role.SYSTEM, "Be kind."),),
    ],
    ids=["no message", "empty", "white space", "last is the assistant's", "system alone"],
)
def test_nothing_to_send(messages: tuple[Message, ...]) -> None:
    with pytest.raises(EmptyPrompt):
        GenerationRequest(messages)


def test_only_temperature_zero_is_greedy() -> None:
    assert SamplingSettings(temperature=0.0).greedy
    assert SamplingSettings(temperature=-0.0).greedy
    assert not SamplingSettings(temperature=math.nextafter(0, 1)).greedy
