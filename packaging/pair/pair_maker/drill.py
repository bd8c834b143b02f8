"""Long lists of random words to be repeated: practice in copying, in training only.

Names, rows and sentences in requests have to be copied, and a small model comes upon copying late when text gives it
little reason to.  Where nothing can be foreseen, copying is the only way to a smaller loss.
"""

from __future__ import annotations

import random

from pair_maker.kinds.words import CITIES, COLORS, CREATURES, FOODS, FRUITS, NAMES, OBJECTS, new_name
from pair_maker.sample import ASSISTANT, USER, Sample

KIND = "repeat"
EARLY_SHARDS = 4
EARLY_SHARE, LATE_SHARE = 0.25, 0.05
_WORDS = (*CITIES, *COLORS, *CREATURES, *FOODS, *FRUITS, *NAMES, *OBJECTS)
_REQUESTS = ("Repeat this: {}", "Copy this: {}", "Repeat: {}", "Say this: {}", "Copy exactly: {}")


def share(shard: int) -> float:
    """The share of drills among the conversations of a shard."""
    return EARLY_SHARE if shard < EARLY_SHARDS else LATE_SHARE


def drill(rng: random.Random) -> Sample:
    """A request to repeat random words, and the same words."""
    text = " ".join(_word(rng) for _ in range(rng.randint(8, 36)))
    return Sample(KIND, ((USER, rng.choice(_REQUESTS).format(text)), (ASSISTANT, text)), {"text": text})


def _word(rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.2:
        return new_name(rng)
    return str(rng.randint(0, 999)) if chance < 0.35 else rng.choice(_WORDS)
