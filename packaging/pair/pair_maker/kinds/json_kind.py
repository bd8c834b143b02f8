"""JSON objects to order, with the values that the request gives."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

from pair_maker.kinds.compose import Exchange, conversation, request
from pair_maker.kinds.words import ANIMALS, CITIES, COLORS, FOODS, FRUITS, OBJECTS, join_and, name
from pair_maker.sample import Sample

KIND = "json"
WEIGHT = 0.06

_Value = Callable[[random.Random], object]


def _one_of(words: tuple[str, ...]) -> _Value:
    return lambda rng: rng.choice(words)


def _number(low: int, high: int) -> _Value:
    return lambda rng: rng.randint(low, high)


# What is described, and the fields of which some are asked for; the first is always there.
_THINGS: tuple[tuple[str, tuple[tuple[str, _Value], ...]], ...] = (
    ("a person", (("name", name), ("age", _number(5, 90)), ("city", _one_of(CITIES)))),
    ("a user", (("name", name), ("id", _number(1, 999)), ("city", _one_of(CITIES)))),
    (
        "a pet",
        (("name", name), ("animal", _one_of(ANIMALS)), ("age", _number(1, 15)), ("color", _one_of(COLORS))),
    ),
    ("a fruit", (("fruit", _one_of(FRUITS)), ("color", _one_of(COLORS)), ("price", _number(1, 20)))),
    ("a product", (("name", _one_of(OBJECTS)), ("price", _number(1, 99)), ("count", _number(1, 60)))),
    ("an order", (("food", _one_of(FOODS)), ("count", _number(1, 12)), ("name", name))),
)
_FRAMES = (
    "Write JSON for {thing} with {fields}.",
    "Give me JSON for {thing} with {fields}.",
    "Make a JSON object for {thing}: {fields}.",
    "JSON for {thing}: {fields}.",
    "Write {thing} as JSON: {fields}.",
    "Create JSON that describes {thing} with {fields}.",
)
_SHAPES = {
    "line": (" Use one line.", " On one line, please."),
    "pretty": (" Pretty, please.", " Use one line per field."),
}


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a JSON object; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _change)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the reply, or the fence in it, is JSON with exactly the given values."""
    fence = re.search(r"```(?:json)?\n(.*?)```", reply, re.DOTALL)
    try:
        value = json.loads(fence.group(1) if fence else reply)
    except ValueError:
        return False
    return bool(value == sample.check["value"])


def exchange(rng: random.Random) -> Exchange:
    """A request for an object of two to four fields or a list of words."""
    if rng.random() < 0.15:
        return _list_exchange(rng)
    thing, fields = rng.choice(_THINGS)
    kept = [fields[0], *(field for field in fields[1:] if rng.random() < 0.75)]
    if len(kept) == 1:
        kept.append(fields[1])
    value = {field: draw(rng) for field, draw in kept}
    named = [f"{field} {content}" for field, content in value.items()]
    given = join_and(named) if rng.random() < 0.5 else ", ".join(named)
    prompt = rng.choice(_FRAMES).format(thing=thing, fields=given)
    shape = rng.choice(("", "", "line", "pretty"))
    if shape:
        prompt += rng.choice(_SHAPES[shape])
    elif not prompt.startswith("JSON"):
        prompt = request(rng, prompt)
    return Exchange(prompt, _text(value, shape == "line"), {"value": value, "line": shape == "line"}, prompt)


def _list_exchange(rng: random.Random) -> Exchange:
    field, words = rng.choice(
        (("fruits", FRUITS), ("colors", COLORS), ("animals", ANIMALS), ("cities", CITIES))
    )
    value = {field: rng.sample(words, rng.choice((2, 3, 3, 4)))}
    frame = rng.choice(("Write JSON with the {field} {words}.", "Make a JSON list of {field}: {words}."))
    prompt = request(rng, frame.format(field=field, words=join_and(value[field])))
    return Exchange(prompt, _text(value, True), {"value": value, "line": True}, prompt)


def _text(value: object, line: bool) -> str:
    return f"```json\n{json.dumps(value, indent=None if line else 2)}\n```"


def _change(rng: random.Random, first: Exchange) -> Exchange:
    value = first.check["value"]
    if not isinstance(value, dict):
        raise TypeError("a JSON exchange carries its object")
    numbers = [field for field, content in value.items() if isinstance(content, int)]
    if numbers and rng.random() < 0.7:
        field, line = rng.choice(numbers), first.check["line"] is True
        changed = {**value, field: rng.randint(1, 90)}
        frame = rng.choice(("Change the {} to {}.", "Now set {} to {}.", "Make the {} {}."))
        prompt = frame.format(field, changed[field])
    else:
        changed, line = value, first.check["line"] is not True
        prompt = "Now on one line." if line else "Now with one line per field."
    return Exchange(prompt, _text(changed, line), {"value": changed, "line": line}, first.key)
