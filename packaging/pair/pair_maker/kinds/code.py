"""Simple Python functions to order."""

from __future__ import annotations

import ast
import random
import re
from dataclasses import dataclass, replace

from pair_maker.kinds.compose import Exchange, conversation, request
from pair_maker.kinds.functions import FUNCTIONS, Function
from pair_maker.sample import Sample

KIND = "code"
WEIGHT = 0.05

_FRAMES = (
    "Write a Python function that {does}.",
    "Write a function that {does}.",
    "Give me a Python function that {does}.",
    "Show me a function that {does}.",
    "I need a Python function that {does}.",
    "Write a Python function to {do}.",
    "Write a function to {do}.",
    "I need a function to {do}.",
)
_NAMED_FRAMES = (
    "Write a Python function {name} that {does}.",
    "Write a function called {name} that {does}.",
    "Write {name} in Python: a function that {does}.",
    "Define a function {name} that {does}.",
    "I need a function named {name} that {does}.",
    "Write a function {name} to {do}.",
)
_LEADS = ("Here is the function:", "This function {does}:", "You can write it like this:", "Here is {name}:")
_TAILS = ("It {does}.", "Call it like this: {name}({call}).", "You can test it with {name}({call}).")


@dataclass(frozen=True)
class _Order:
    """The function asked for, with the names and constants that the request chose."""

    function: Function
    name: str
    parameter: str
    numbers: dict[str, int]
    does: str


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a function; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _rename)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether the reply has a fence of valid Python that defines the requested function."""
    fence = re.search(r"```python\n(.*?)```", reply, re.DOTALL)
    if fence is None:
        return False
    try:
        tree = ast.parse(fence.group(1))
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == sample.check["name"] for node in tree.body)


def exchange(rng: random.Random) -> Exchange:
    """A request for a function, half of them with its name, and the function."""
    function = rng.choice(FUNCTIONS)
    numbers = {"c": rng.randint(2, 20), "d": rng.randint(21, 100)}
    does = rng.choice(function.does).format(**numbers)
    parameter = rng.choice(function.parameters)
    given = rng.random()
    name = function.names[0] if given >= 0.6 else rng.choice(function.names)
    prompt = rng.choice(_FRAMES if given >= 0.6 else _NAMED_FRAMES).format(
        name=name, does=does, do=_infinitive(does)
    )
    if rng.random() < 0.2:
        prompt += f" Call the parameter {parameter}." if "{p}, " not in function.head else ""
    elif not prompt.startswith("I "):
        prompt = request(rng, prompt)
    if "Call the parameter" not in prompt:
        parameter = function.parameters[0]
    order = _Order(function, name, parameter, numbers, does)
    return Exchange(prompt, _reply(rng, order), {"name": name}, prompt, order)


def _infinitive(does: str) -> str:
    """The description after "to": "adds two numbers" becomes "add two numbers"."""
    verb, rest = does.replace(" and returns ", " and return ").split(" ", 1)
    return f"{verb[:-3]}y {rest}" if verb.endswith("ies") else f"{verb[:-1]} {rest}"


def _reply(rng: random.Random, order: _Order) -> str:
    function = order.function
    slots: dict[str, object] = {"p": order.parameter, "name": order.name, **order.numbers}
    head = f"def {order.name}({function.head.format(**slots)}):"
    body = "\n".join("    " + line for line in function.body.format(**slots).splitlines())
    fence = f"```python\n{head}\n{body}\n```"
    words = {"does": order.does, "name": order.name, "call": function.call.format(**slots)}
    if rng.random() < 0.6:
        return f"{rng.choice(_LEADS).format(**words)}\n\n{fence}"
    return f"{fence}\n\n{rng.choice(_TAILS).format(**words)}"


def _rename(rng: random.Random, first: Exchange) -> Exchange:
    order = first.state
    if not isinstance(order, _Order):
        raise TypeError("a code exchange carries its order")
    name = rng.choice(
        [other for other in (*order.function.names, "f", "solve", "run") if other != order.name]
    )
    frame = rng.choice(
        ("Call it {} instead.", "Rename it to {}.", "The same, but named {}.", "Now call it {}.")
    )
    return Exchange(frame.format(name), _reply(rng, replace(order, name=name)), {"name": name}, first.key)
