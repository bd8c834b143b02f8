"""Fixed logit tables in float64: exact tests of the loop without weights.

The next token's logits depend on the last `order` tokens only. The model keeps the ids it was fed by position and checks
every law of `CausalModel.forward`, so that a loop which rewinds wrongly fails instead of getting lucky.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from chatapp.domain.events import ModelInfo


class ToyModel:
    """Implements `contracts.CausalModel`. `sharpness` scales the logits; `noise` mixes in a second table (a draft that
    agrees with its target to a degree is `ToyModel(same seed, noise=0.5)`)."""

    prefill_rows = 4

    def __init__(
        self,
        vocabulary: int,
        *,
        seed: int,
        order: int = 2,
        sharpness: float = 1.5,
        noise: float = 0.0,
        noise_seed: int = 1,
        context_limit: int = 512,
    ) -> None:
        self.vocabulary = vocabulary
        self.context_limit = context_limit
        self.info = ModelInfo(f"toy-{vocabulary}-{seed}", "toy", 0, "float64", "")
        self._seed = seed
        self._order = order
        self._sharpness = sharpness
        self._noise = noise
        self._noise_seed = noise_seed
        self._cache: list[int] = []
        self._rows: dict[tuple[int, ...], torch.Tensor] = {}
        self.calls: list[tuple[int, int]] = []
        """`(start, number of ids)` of every forward: what tests count."""

    def traffic(self, count: int, start: int) -> int:  # noqa: ARG002 - the contract's signature
        """A table reads nothing worth counting."""
        return 0

    def logits_after(self, ids: Sequence[int]) -> torch.Tensor:
        """`[V] float64`: the table's row for this prefix."""
        key = tuple(ids[-self._order :])
        if key not in self._rows:
            row = self._table(self._seed, key)
            if self._noise:
                row = row + self._noise * self._table(self._noise_seed, key)
            self._rows[key] = row * self._sharpness
        return self._rows[key]

    def _table(self, seed: int, key: tuple[int, ...]) -> torch.Tensor:
        digest = hashlib.blake2b(repr((seed, key)).encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
        return torch.randn(self.vocabulary, generator=generator, dtype=torch.float64)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """Raises `ValueError` for every breach of the contract."""
        if not 1 <= rows <= len(ids):
            raise ValueError(f"{rows} rows asked of {len(ids)} ids")
        if start > len(self._cache):
            raise ValueError(f"start {start} leaves a hole behind {len(self._cache)} computed positions")
        if start + len(ids) > self.context_limit:
            raise ValueError(f"position {start + len(ids)} is past the context of {self.context_limit}")
        self._cache[start:] = ids
        self.calls.append((start, len(ids)))
        first = len(self._cache) - rows + 1
        return torch.stack(
            [self.logits_after(self._cache[:end]) for end in range(first, len(self._cache) + 1)]
        )
