"""The prompts that are measured, by kind of text. Kinds differ in how well a draft can guess them; that is the point.

The guide's phrasings are such as the built-in pair never saw in training: on those it did see, its draft guesses better.
"""

from __future__ import annotations

import random

from chatapp.domain.request import Message, Role

PROMPTS: dict[str, tuple[str, ...]] = {
    "guide": (
        "What is meant by time to first token?",
        "How do I start a new chat?",
        "Should I use a large k?",
        "Help me load a saved record.",
        "How much faster is speculation?",
        "What is the way to turn speculation on?",
        "What is meant by the target model?",
        "Does the app run without a network?",
    ),
    "story": (
        "Tell me a short story about a fox named Mira in a garden with a lamp.",
        "Write a short story about Paul and Lina at the harbour with a key.",
        "Tell me a story about a baker named Tom in a forest with a map.",
        "Write a story about a cat named Nora on a bridge with a letter.",
    ),
    "arithmetic": (
        "What is 47 + 38?",
        "What is 81 - 27?",
        "Mira has 24 apples and buys 17 more. How many apples does she have?",
        "What is 6 times 14?",
    ),
    "code": (
        "Write a Python function named is_even.",
        "Write a Python function that returns the maximum of a list.",
        "Write a Python function for the factorial of n.",
        "Write a Python function that counts the vowels in a text.",
    ),
    "data": (
        "Make a table of fruit and price: apple 3, pear 4, plum 2.",
        "Write JSON for a person named Mira, age 31, city Oslo.",
        "List five animals.",
        "Count from 3 to 12.",
    ),
}


def prompts_of(kind: str, count: int) -> list[tuple[Message, ...]]:
    """The first `count` prompts of a kind as one-message conversations (fewer where there are fewer)."""
    return [(Message(Role.USER, text),) for text in PROMPTS[kind][:count]]


NAMES = ("Mira", "Paul", "Lina", "Tom", "Nora", "Emil", "Ada", "Jonas")
PLACES = ("in a garden", "at the harbour", "in a forest", "on a bridge", "in a library", "on a hill")
THINGS = ("a lamp", "a key", "a map", "a letter", "a bell", "a coin", "a boat")
BEINGS = ("fox", "baker", "cat", "painter", "sailor", "robot")
FRAMES = (
    "Tell me a short story about a {being} named {name} {place} with {thing}.",
    "What is {a} + {b}?",
    "{name} has {a} apples and buys {b} more. How many apples does {name} have?",
    "Write JSON for a person named {name}, age {b}, city Oslo.",
    "Count from {b} to {a}.",
    "What is {b} times {c}?",
    "Write a Python function that adds {b} to a number and takes {c} off.",
)


def varied_prompt(number: int) -> tuple[Message, ...]:
    """A prompt of its own for every number, kinds in turn; every third is the second question of a conversation."""
    rng = random.Random(number)
    if number % len(PROMPTS) == 0:
        text = rng.choice(PROMPTS["guide"])
    else:
        words = {
            "name": rng.choice(NAMES),
            "being": rng.choice(BEINGS),
            "place": rng.choice(PLACES),
            "thing": rng.choice(THINGS),
        }
        numbers = {"a": rng.randint(20, 99), "b": rng.randint(2, 60), "c": rng.randint(2, 12)}
        text = FRAMES[number % len(FRAMES)].format(**words, **numbers)
    question = Message(Role.USER, text)
    if number % 3:
        return (question,)
    sum_of = (rng.randint(10, 99), rng.randint(10, 99))
    return (
        Message(Role.USER, f"What is {sum_of[0]} + {sum_of[1]}?"),
        Message(Role.ASSISTANT, f"{sum_of[0]} + {sum_of[1]} = {sum(sum_of)}."),
        question,
    )
