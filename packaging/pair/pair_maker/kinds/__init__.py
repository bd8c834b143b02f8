"""The kinds of text in the corpus, in the order in which reports list them."""

from __future__ import annotations

import random
from typing import Protocol

from pair_maker.kinds import (
    arithmetic,
    code,
    greeting,
    guide,
    json_kind,
    list_kind,
    refusal,
    repeat,
    story,
    summary,
    table,
)
from pair_maker.sample import Sample


class Kind(Protocol):
    """What a module of this package offers."""

    KIND: str
    WEIGHT: float

    def sample(self, rng: random.Random, held_out: bool) -> Sample: ...

    def is_right(self, sample: Sample, reply: str) -> bool: ...


KINDS: tuple[Kind, ...] = (
    guide,
    story,
    arithmetic,
    code,
    table,
    json_kind,
    list_kind,
    repeat,
    summary,
    greeting,
    refusal,
)
BY_NAME = {kind.KIND: kind for kind in KINDS}
