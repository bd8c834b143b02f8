"""Cuts shards into training batches; the order is a pure function of the place in the corpus.

It must not know models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pair_maker.corpus import Corpus, Shard

POOL_CONVERSATIONS = 2_000
PROMPT_WEIGHT = 0.1


@dataclass(frozen=True)
class Batch:
    """One conversation a row, padded at the end.  All tensors ``[rows, length]`` but ``kinds [rows]``."""

    ids: Tensor
    targets: Tensor
    weights: Tensor
    kinds: Tensor
    tokens: int

    def to(self, device: torch.device) -> Batch:
        return Batch(self.ids.to(device), self.targets.to(device), self.weights.to(device), self.kinds.to(device),
                     self.tokens)


@dataclass
class Place:
    """Where training stands in the corpus: the next batch to read, and the sources it was cut from."""

    shard: int = 0
    batch: int = 0
    made_from: str = ""


def plan(lengths: NDArray[np.int64], budget: int, seed: int) -> list[NDArray[np.int64]]:
    """Groups conversations of like length so that rows times the longest row stay within ``budget`` tokens."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    groups: list[NDArray[np.int64]] = []
    for start in range(0, len(order), POOL_CONVERSATIONS):
        pool = order[start : start + POOL_CONVERSATIONS]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        cut: list[NDArray[np.int64]] = []
        end = len(pool)
        while end > 0:
            rows = max(1, min(end, budget // int(lengths[pool[end - 1]])))
            cut.append(pool[end - rows : end])
            end -= rows
        groups += [cut[at] for at in rng.permutation(len(cut))]
    return groups


def assemble(shard: Shard, rows: NDArray[np.int64], pad: int) -> Batch:
    """The batch of the conversations ``rows``."""
    longest = int(shard.lengths[rows].max())
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for at, row in enumerate(rows):
        span = slice(int(shard.starts[row]), int(shard.starts[row + 1]))
        length = span.stop - span.start
        ids[at, :length] = torch.from_numpy(shard.ids[span].astype(np.int64))
        weights[at, :length] = torch.from_numpy(np.where(shard.spoken[span], 1.0, PROMPT_WEIGHT).astype(np.float32))
    kinds = torch.from_numpy(shard.kinds[rows].astype(np.int64))
    return Batch(ids[:, :-1], ids[:, 1:], weights[:, 1:], kinds, int(shard.lengths[rows].sum()))


class Batches:
    """Endless batches from a place in the corpus on; ``place`` is always that of the next batch."""

    def __init__(self, corpus: Corpus, pad: int, budget: int, place: Place) -> None:
        self._corpus, self._pad, self._budget = corpus, pad, budget
        if place.made_from not in ("", corpus.made_from):
            place = Place(place.shard + 1)
        self.place = Place(place.shard, place.batch, corpus.made_from)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            number = self.place.shard
            shard = self._corpus.shard(number)
            groups = plan(shard.lengths, self._budget, seed=number)
            while self.place.batch < len(groups):
                rows = groups[self.place.batch]
                self.place.batch += 1
                yield assemble(shard, rows, self._pad)
            self.place = Place(number + 1, 0, self._corpus.made_from)
