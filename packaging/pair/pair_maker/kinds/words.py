"""The closed word stock that the kinds of text share, and how to draw from it.

Names, places, objects and short phrases only.  It must not know kinds, samples or models.
"""

from __future__ import annotations

import random


def stock(words: str) -> tuple[str, ...]:
    """The words of a text, parted at its blanks."""
    return tuple(words.split())


# Names that end in a, e, i or y go with "she", all others with "he": a rule that a small model can learn,
# and that also holds for the names composed from syllables.
NAMES = stock("""
    Mira Paul Tom Anna Ida Leo Nina Otto Emma Max Lily Sam Rosa Finn Clara Ben Lucy Hugo Maya Noah Sara Jon Ella Oscar
    Mia Adam Eva Karl Nora Ivan Lina Mark Vera David Tina Peter Ada Felix Julia Simon Maria Erik Sofia Anton Amy Hans
    Lea Robin Ruby Victor Mona Jan Lara Daniel Olga Lucas Dora Martin Zoe Nils Ina Viktor Kira Ron Tilda Edgar Jana Bo
    Greta Kurt Lotte Igor Stella Ralf Alma Emil Daisy Omar Frida Boris Gina Alan Bella Conrad Petra Dan Hanna Ned Ivy
    Gus Marta Axel Polly Jack Wanda Ken Elsa Milo Katy Arno Rita Theo Sally Hector Nadia Bruno Poppy Albert Vicky Tim
    Molly Arthur Lena Walter Susi Frank Amelie Jasper
    """)
_ONSETS = stock("b d f g k l m n p r s t v z br dr kr tr fl sh")
_VOWELS = stock("a e i o u")
_CODAS = ("", "", "", "l", "n", "r", "s", "m", "x", "k")

# The place with the preposition it takes.
PLACES = (
    ("in", "garden"), ("in", "forest"), ("on", "beach"), ("on", "hill"), ("at", "station"), ("in", "kitchen"),
    ("in", "library"), ("on", "farm"), ("in", "village"), ("in", "castle"), ("on", "bridge"), ("in", "cave"),
    ("at", "market"), ("in", "tower"), ("on", "ship"), ("in", "valley"), ("at", "school"), ("in", "park"),
    ("in", "barn"), ("on", "island"), ("in", "mill"), ("at", "harbor"), ("in", "bakery"), ("in", "desert"),
    ("on", "mountain"), ("in", "cellar"), ("in", "workshop"), ("on", "train"), ("in", "city"), ("in", "field"),
    ("in", "museum"), ("on", "roof"), ("in", "theater"), ("at", "lake"), ("in", "meadow"), ("in", "tent"),
    ("at", "river"), ("in", "shop"), ("in", "cabin"), ("on", "boat"),
)  # fmt: skip

OBJECTS = stock("""
    lamp key book map bell box ring clock letter coin hat rope drum flute kite mirror spoon basket candle umbrella
    stone feather ball shoe button cup ladder wheel compass violin scarf bucket pencil lantern blanket bottle crown
    ribbon hammer glove picture whistle needle pillow jar trumpet chair puzzle cake backpack
    """)
ANIMALS = stock("fox bear owl cat dog mouse rabbit goat duck frog horse crow wolf hedgehog turtle")
JOBS = stock("baker farmer sailor teacher painter doctor gardener tailor singer cook")
CREATURES = ANIMALS + JOBS

CITIES = stock(
    "Oslo Rome Paris London Berlin Madrid Vienna Prague Lisbon Dublin Athens Cairo Lima Tokyo Delhi"
)
COLORS = stock("red blue green yellow black white brown gray orange pink")
FRUITS = stock("apple pear plum lemon cherry peach grape banana melon fig orange kiwi")
FOODS = stock("bread milk cheese rice soup butter honey egg salt tea cake fish")

_ONES = stock("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
    """)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number_word(number: int) -> str:
    """The English word of a number.

    Raises:
        ValueError: the number is not between 0 and 99.
    """
    if not 0 <= number <= 99:
        raise ValueError(f"no word for {number}: only 0 to 99 are spelt")
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """The regular plural, with the irregular ones of this stock."""
    odd = {
        "mouse": "mice",
        "goose": "geese",
        "wolf": "wolves",
        "fish": "fish",
        "sheep": "sheep",
        "knife": "knives",
    }
    if noun in odd:
        return odd[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def new_name(rng: random.Random) -> str:
    """A name composed from syllables: there are too many to learn by heart, so they must be copied."""
    syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    coda = rng.choice(_CODAS) if len(syllables) > 1 else rng.choice(_CODAS[3:])
    return ("".join(syllables) + coda).capitalize()


def name(rng: random.Random) -> str:
    """A name: mostly a known one, every third a composed one."""
    return new_name(rng) if rng.random() < 0.34 else rng.choice(NAMES)


def two_names(rng: random.Random) -> tuple[str, str]:
    """Two different names, neither a part of the other."""
    first = second = name(rng)
    while first in second or second in first:
        second = name(rng)
    return first, second


def is_she(person: str) -> bool:
    """Whether a person of this name is "she" in our texts (the rule above ``NAMES``)."""
    return person[-1] in "aeiy"


def join_and(parts: list[str] | tuple[str, ...]) -> str:
    """The parts as an English enumeration: "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence_case(text: str) -> str:
    """The text with its first letter capital, the rest as it is."""
    return text[:1].upper() + text[1:]
