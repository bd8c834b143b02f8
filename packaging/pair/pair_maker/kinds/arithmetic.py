"""Sums, differences and small products, worked out column by column.

Every reply follows one fixed form, so that each digit depends only on digits written shortly before it.
"""

from __future__ import annotations

import random
import re

from pair_maker.kinds.compose import Exchange, conversation
from pair_maker.kinds.words import FRUITS, NAMES, OBJECTS, name, number_word, plural
from pair_maker.sample import Sample

KIND = "arithmetic"
WEIGHT = 0.28

_COLUMNS = ("ones", "tens", "hundreds", "thousands")
_THINGS = tuple(plural(noun) for noun in FRUITS + OBJECTS[:20])
_FRAMES = (
    "What is {a} {sign} {b}?",
    "{a} {sign} {b}",
    "{a} {sign} {b} = ?",
    "How much is {a} {sign} {b}?",
    "Calculate {a} {sign} {b}.",
    "Work out {a} {sign} {b} step by step.",
    "Can you solve {a} {sign} {b}?",
    "Please compute {a} {sign} {b}.",
)
_SIGNS = {"+": ("+", "+", "plus"), "-": ("-", "-", "minus"), "×": ("×", "*", "times")}
_STORIES = {
    "+": (
        "{n} has {a} {things} and buys {b} more. How many {things} does {n} have now?",
        "{n} finds {a} {things} in the morning and {b} {things} in the evening. How many {things} is that?",
        "There are {a} {things} in one box and {b} {things} in another box. How many {things} are there?",
        "{n} has {a} {things} and {m} has {b} {things}. How many {things} do they have together?",
    ),
    "-": (
        "{n} has {a} {things} and gives away {b}. How many {things} does {n} have now?",
        "There are {a} {things} in a shop. {n} buys {b} of them. How many {things} are left?",
        "{n} had {a} {things} and lost {b} of them. How many {things} are left?",
    ),
    "×": (
        "{n} has {a} boxes with {b} {things} in each box. How many {things} are there?",
        "There are {a} tables with {b} {things} on each table. How many {things} are there?",
    ),
}
_AGAIN = (
    "And {a} {sign} {b}?",
    "Now {a} {sign} {b}.",
    "What about {a} {sign} {b}?",
    "And what is {a} {sign} {b}?",
)


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a worked calculation; held out by pair of operands."""
    return conversation(KIND, rng, held_out, exchange, _again)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the last number of the reply is the answer."""
    numbers = re.findall(r"\d+", reply)
    return "answer is" in reply and bool(numbers) and numbers[-1] == sample.check["answer"]


def exchange(rng: random.Random) -> Exchange:
    """A calculation asked for in digits, in words or as a small story."""
    a, sign, b = _operands(rng)
    form = rng.random()
    if form < 0.2 and b > 1 and (sign != "×" or a > 1):
        person, other = rng.sample(NAMES, 2) if rng.random() < 0.7 else (name(rng), rng.choice(NAMES))
        frame = rng.choice(_STORIES[sign])
        prompt = frame.format(a=a, b=b, n=person, m=other, things=rng.choice(_THINGS))
        return _exchange(a, sign, b, prompt, "")
    if form < 0.3 and max(a, b) < 100:
        in_words = number_word(a), number_word(b)
        prompt = rng.choice(_FRAMES).format(a=in_words[0], b=in_words[1], sign=_SIGNS[sign][2])
        lead = f"{in_words[0]} is {a} and {in_words[1]} is {b}. "
        return _exchange(a, sign, b, prompt[0].upper() + prompt[1:], lead[0].upper() + lead[1:])
    return _exchange(a, sign, b, rng.choice(_FRAMES).format(a=a, b=b, sign=rng.choice(_SIGNS[sign])), "")


def _again(rng: random.Random, _first: Exchange) -> Exchange:
    a, sign, b = _operands(rng)
    return _exchange(a, sign, b, rng.choice(_AGAIN).format(a=a, b=b, sign=rng.choice(_SIGNS[sign])), "")


def _exchange(a: int, sign: str, b: int, prompt: str, lead: str) -> Exchange:
    steps = {"+": _sum_steps, "-": _difference_steps, "×": _product_steps}[sign](a, b)
    answer = {"+": a + b, "-": a - b, "×": a * b}[sign]
    reply = f"{lead}{a} {sign} {b}: {steps} The answer is {answer}."
    # Commuted operands are the same task.
    low, high = (a, b) if sign == "-" else sorted((a, b))
    return Exchange(prompt, reply, {"answer": str(answer)}, f"{low} {sign} {high}")


def _operands(rng: random.Random) -> tuple[int, str, int]:
    draw = rng.random()
    if draw < 0.03:
        return rng.randint(1, 9), "+", rng.randint(1, 9)
    if draw < 0.42:
        return rng.randint(10, 99), "+", rng.randint(10, 99)
    if draw < 0.54:
        a, b = rng.randint(2, 99), rng.randint(1, 20)
        return (a, "+", b) if rng.random() < 0.5 else (b, "+", a)
    if draw < 0.60:
        return rng.randint(100, 499), "+", rng.randint(10, 499)
    if draw < 0.80:
        a = rng.randint(11, 99)
        return a, "-", rng.randint(2, a - 1)
    if draw < 0.85:
        a = rng.randint(100, 499)
        return a, "-", rng.randint(10, a - 1)
    if draw < 0.92:
        return rng.randint(2, 9), "×", rng.randint(2, 9)
    return rng.randint(2, 9), "×", rng.randint(11, 29)


def _digits(number: int, width: int) -> list[int]:
    return [number // 10**place % 10 for place in range(width)]


def _sum_steps(a: int, b: int) -> str:
    width = max(len(str(a)), len(str(b)))
    steps, carry = [], 0
    for place, (x, y) in enumerate(zip(_digits(a, width), _digits(b, width), strict=True)):
        total = x + y + carry
        terms = f"{x} + {y}" if place == 0 else f"{x} + {y} + {carry}"
        carry = total // 10
        steps.append(f"{_COLUMNS[place]} {terms} = {total}, write {total % 10}, carry {carry}")
    if carry:
        steps.append(f"{_COLUMNS[width]} write 1")
    return "; ".join(steps) + "."


def _difference_steps(a: int, b: int) -> str:
    width = len(str(a))
    steps, borrow = [], 0
    for place, (x, y) in enumerate(zip(_digits(a, width), _digits(b, width), strict=True)):
        taken = f"{y}" if place == 0 else f"{y} - {borrow}"
        rest = x - y - borrow
        borrow = int(rest < 0)
        rest += 10 * borrow
        shown = x + 10 * borrow
        steps.append(f"{_COLUMNS[place]} {shown} - {taken} = {rest}, write {rest}, borrow {borrow}")
    return "; ".join(steps) + "."


def _product_steps(a: int, b: int) -> str:
    tens, ones = divmod(b, 10)
    if tens == 0:
        return f"{a} × {b} = {a * b}."
    return f"{a} × {10 * tens} = {a * 10 * tens}, {a} × {ones} = {a * ones}, {a * 10 * tens} + {a * ones} = {a * b}."
