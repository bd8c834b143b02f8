"""Named random streams from one seed. No global generator is ever touched.

Sequential streams serve rules that consume a varying number of draws; the positional stream gives every absolute
position its own noise, the same whatever the window, the draft or the order of asking.
"""

from __future__ import annotations

import hashlib
import random

import torch


class Streams:
    """All randomness of one run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.draft = random.Random(f"{seed}:draft")
        self.accept = random.Random(f"{seed}:accept")
        self.target = random.Random(f"{seed}:target")
        self._generator = torch.Generator()
        self._noise: dict[int, torch.Tensor] = {}

    def exponential(self, position: int, like: torch.Tensor) -> torch.Tensor:
        """Exp(1) noise for an absolute position, `[V]`, strictly positive, in the dtype of `like`.

        argmax(probs / exponential) is a draw from probs: the Gumbel-max trick without logarithms. Three windows' worth of
        positions are kept, since draft and target ask for the same one.
        """
        noise = self._noise.get(position)
        if noise is None:
            digest = hashlib.blake2b(f"{self._seed}:noise:{position}".encode(), digest_size=8).digest()
            self._generator.manual_seed(int.from_bytes(digest, "little") >> 1)
            # From 53-bit uniforms, not exponential_(): without MKL that one has 24 bits, and an exact zero in the noise would
            # hand the position to an id of any probability, however small.
            uniform = torch.rand(like.shape[-1], dtype=torch.float64, generator=self._generator)
            noise = uniform.neg_().log1p_().neg_().to(like.dtype)
            noise.clamp_(min=torch.finfo(noise.dtype).tiny)
            if len(self._noise) >= 48:
                self._noise.pop(next(iter(self._noise)))
            self._noise[position] = noise
        return noise


def draw(probs: torch.Tensor, uniform: float) -> int:
    """Inverse-CDF draw: the smallest id whose cumulative probability exceeds `uniform` of the total mass.

    `probs` is `[V]`, non-negative, of any positive mass. Never returns an id of probability zero.
    """
    cumulative = torch.cumsum(probs, dim=-1)
    total = float(cumulative[-1])
    index = int(torch.searchsorted(cumulative, torch.tensor(uniform * total, dtype=probs.dtype), right=True))
    if index >= probs.shape[-1]:
        # uniform × total was rounded up to the total: the last id that has mass owns that end of the interval.
        index = int(torch.nonzero(probs)[-1])
    return index
