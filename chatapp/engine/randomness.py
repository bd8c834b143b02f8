"""Named random streams from one seed. No global generator is ever touched.

Sequential streams serve rules that consume a varying number of draws; the positional noise gives every absolute position
and id its own number, the same whatever the window, the draft, the order of asking or what else is asked.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np

from chatapp.engine.distribution import Floats, Ids

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Streams:
    """All randomness of one run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.draft = random.Random(f"{seed}:draft")
        self.accept = random.Random(f"{seed}:accept")
        self.target = random.Random(f"{seed}:target")
        self._dense: dict[int, Floats] = {}

    def exponential(self, position: int, ids: Ids | None, size: int) -> Floats:
        """Exp(1) noise of an absolute position for `ids` (all `size` of them if None), float64, strictly positive.

        argmax(probs / exponential) is a draw from probs: the Gumbel-max trick without logarithms of probabilities. The
        noise of an id is a hash of seed, position and id (SplitMix64, Steele et al. 2014), so only ids that have mass cost
        anything.
        """
        if ids is not None:
            return _noise(self._base(position), ids.astype(np.uint64))
        noise = self._dense.get(position)
        if noise is None:
            noise = _noise(self._base(position), np.arange(size, dtype=np.uint64))
            if len(self._dense) >= 48:  # three windows: draft and target ask for the same positions
                self._dense.pop(next(iter(self._dense)))
            self._dense[position] = noise
        return noise

    def _base(self, position: int) -> np.uint64:
        digest = hashlib.blake2b(f"{self._seed}:noise:{position}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "little"))


def _noise(base: np.uint64, ids: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> Floats:
    """SplitMix64 of `base` + (id + 1) · golden ratio, as −log of 53-bit uniforms in (0, 1)."""
    state = (ids + np.uint64(1)) * GOLDEN
    state += base
    state ^= state >> np.uint64(30)
    state *= MIX_1
    state ^= state >> np.uint64(27)
    state *= MIX_2
    state ^= state >> np.uint64(31)
    uniform = (state >> np.uint64(11)).astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-53
    result: Floats = -np.log(uniform)
    # −log of the largest uniform is 1.1e-16, not 0: no id ever gets a free win.
    return result
