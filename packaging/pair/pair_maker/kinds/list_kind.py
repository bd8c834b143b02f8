"""Lists to order: things of a category, counting, days and months."""

from __future__ import annotations

import random
import re

from pair_maker.kinds.compose import Exchange, conversation, request
from pair_maker.kinds.words import ANIMALS, CITIES, COLORS, FOODS, FRUITS, JOBS, number_word, stock
from pair_maker.sample import Sample

KIND = "list"
WEIGHT = 0.09

_CATEGORIES: dict[str, tuple[str, ...]] = {
    "animals": ANIMALS,
    "fruits": FRUITS,
    "colors": COLORS,
    "cities": CITIES,
    "jobs": JOBS,
    "foods": FOODS,
    "things in a kitchen": stock("table chair pot pan cup plate spoon knife bowl oven"),
    "things in a garden": stock("tree flower bench gate fence stone rose bird grass path"),
    "things in a school": stock("book pencil desk board map clock teacher chair bell door"),
    "things in a workshop": stock("hammer nail rope ladder table lamp wheel box wire bench"),
    "animals on a farm": stock("goat duck horse dog cat cow pig hen goose sheep"),
    "musical instruments": stock("drum flute violin trumpet piano guitar bell whistle organ harp"),
    "pieces of clothing": stock("hat scarf glove shoe coat shirt dress sock belt sweater"),
    "things in the sky": stock("sun moon star cloud bird rain rainbow kite wind snow"),
    "tools": stock("hammer saw needle ladder rope brush knife pump drill axe"),
    "ways to travel": stock("train ship car bus boat horse plane bicycle tram balloon"),
}
_COUNT_FRAMES = (
    "List {n} {c}.", "Name {n} {c}.", "Give me {n} {c}.", "Write a list of {n} {c}.", "Tell me {n} {c}.", "Show me {n} {c}.",
    "I need {n} {c}.", "Give me a list of {n} {c}.",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SEASONS = ("spring", "summer", "autumn", "winter")
_SERIES = {"days of the week": _DAYS, "months of the year": _MONTHS, "seasons": _SEASONS}
_SERIES_FRAMES = (
    "List the {s}.", "Name the {s}.", "What are the {s}?", "Tell me the {s}.", "Which {s} are there?", "Write down the {s}.",
)  # fmt: skip
_RANGE_FRAMES = (
    "Count from {a} to {b}.", "Count from {a} up to {b}.", "List the numbers from {a} to {b}.", "Write the numbers {a} to {b}.",
)  # fmt: skip


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a list; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _more)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the reply lists exactly the wanted series, or the wanted number of different members of the category."""
    lines = re.findall(r"^(?:-|\d+\.) (.+)$", reply, re.MULTILINE)
    items = lines or [item.strip(" .") for item in reply.split(",")]
    wanted = sample.check.get("series")
    if wanted is not None:
        return items == wanted
    category = _CATEGORIES[str(sample.check["category"])]
    known = sample.check.get("known", [])
    fresh = isinstance(known, list) and not set(items) & set(known)
    right_number = len(items) == len(set(items)) == sample.check["count"]
    return fresh and right_number and set(items) <= set(category)


def exchange(rng: random.Random) -> Exchange:
    """A request for a list: of a category, of a range of numbers, or of a fixed series."""
    draw = rng.random()
    if draw < 0.6:
        category = rng.choice(tuple(_CATEGORIES))
        count = rng.randint(2, 8)
        shown = number_word(count) if rng.random() < 0.7 else str(count)
        text = rng.choice(_COUNT_FRAMES).format(n=shown, c=category)
        items = _in_turn(_CATEGORIES[category], rng.choice(_CATEGORIES[category]), count)
        return _exchange(rng, text, items, {"category": category, "count": count})
    if draw < 0.88:
        return _range(rng)
    series = rng.choice(tuple(_SERIES))
    text, items = rng.choice(_SERIES_FRAMES).format(s=series), list(_SERIES[series])
    if series != "seasons" and rng.random() < 0.55:
        few = rng.randint(2, len(items) - 1)
        end = rng.choice(("first", "last"))
        items = items[:few] if end == "first" else items[-few:]
        text = (
            f"{rng.choice(('List', 'Name', 'Give me', 'Write down'))} the {end} {number_word(few)} {series}."
        )
    return _exchange(rng, text, items, {"series": items})


def _in_turn(category: tuple[str, ...], first: str, count: int) -> list[str]:
    """``count`` members from ``first`` on, round and round: the greedy reply of a small model then repeats none."""
    start = category.index(first)
    return [category[(start + step) % len(category)] for step in range(count)]


def _range(rng: random.Random) -> Exchange:
    low = rng.randint(1, 60)
    step = rng.choice((1, 1, 1, 1, 2, 5, 10))
    numbers = list(range(low, low + step * rng.randint(3, 11) + 1, step))
    text = rng.choice(_RANGE_FRAMES)
    if step > 1:
        text = f"Count from {{a}} to {{b}} in steps of {number_word(step)}."
    elif rng.random() < 0.25:
        numbers.reverse()
        text = rng.choice(("Count down from {a} to {b}.", "Count backwards from {a} to {b}."))
    items = [str(number) for number in numbers]
    text = request(rng, text.format(a=items[0], b=items[-1]))
    return Exchange(text, ", ".join(items), {"series": items}, text)


def _exchange(rng: random.Random, text: str, items: list[str], check: dict[str, object]) -> Exchange:
    numbered = rng.random() < 0.3
    if numbered and text.endswith("."):
        text += rng.choice((" Number them.", " Use a numbered list."))
    elif not text.startswith(("I ", "What", "Which")):
        text = request(rng, text)
    numbered = numbered and "umber" in text
    check["numbered"] = numbered
    return Exchange(text, _lines(items, numbered), check, text)


def _lines(items: list[str], numbered: bool) -> str:
    return "\n".join(f"{place}. {item}" if numbered else f"- {item}" for place, item in enumerate(items, 1))


def _more(rng: random.Random, first: Exchange) -> Exchange:
    category = first.check.get("category")
    count = first.check.get("count")
    if category is None or not isinstance(count, int):
        return exchange(rng)
    known = re.findall(r"^(?:-|\d+\.) (.+)$", first.reply, re.MULTILINE)
    stocked = _CATEGORIES[str(category)]
    more = rng.randint(1, 2)
    fresh = _in_turn(stocked, known[-1], more + 1)[1:]
    text = rng.choice(("{n} more.", "Give me {n} more.", "And {n} more?", "{n} more, please."))
    text = text.format(n=number_word(more))
    check = {"category": category, "count": more, "known": known}
    return Exchange(text[0].upper() + text[1:], _lines(fresh, False), check, first.key)
