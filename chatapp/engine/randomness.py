"""Named random streams from one seed. No global generator is ever touched.

Sequential streams serve rules that consume a varying number of draws; the positional noise gives every absolute position
and id its own number, the same whatever the window, the draft, the order of asking or what else is asked.
"""

from __future__ import annotations

import hashlib
import math
import random

import numpy as np
import numpy.typing as npt

from chatapp.engine.distribution import Floats, Ids, Row, WeighedRow
from chatapp.engine.long_rows import raced

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
UNIT = 2.0**-53
LIKELY = 2.0**-6
"""Dense races: ids of at least this share of the largest probability run first, the others only where their noise could win."""
KEPT_POSITIONS = 32
"""Positions whose noise is kept: draft and target ask for the same ones, at most two windows apart."""

Bits = npt.NDArray[np.uint64]


class Streams:
    """All randomness of one run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.draft = random.Random(f"{seed}:draft")
        self.accept = random.Random(f"{seed}:accept")
        self.target = random.Random(f"{seed}:target")
        self._steps: Bits = np.empty(0, np.uint64)
        self._dense: dict[int, Bits] = {}

    def exponential(self, position: int, ids: Ids | None, size: int) -> Floats:
        """Exp(1) noise of an absolute position for `ids` (all `size` of them if None), float64, strictly positive.

        The noise of an id is a hash of seed, position and id (SplitMix64, Steele et al. 2014).
        """
        return _exponential(self._bits(position, ids, size))

    def race(self, position: int, row: Row) -> int:
        """argmax(probs / exponential), as an id: a draw from the row (the Gumbel-max trick without logarithms of
        probabilities). Sparse rows cost what their few ids cost; in a long dense row most ids are ruled out by their bits."""
        # Of weights of any mass the same one wins.
        weights = row.unscaled[0] if isinstance(row, WeighedRow) else row.probs
        place = raced(weights, row.ids, row.size, self.noise_base(position))
        if place is not None:
            return place if row.ids is None else int(row.ids[place])
        probs = row.probs
        bits = self._bits(position, row.ids, row.size)
        if row.ids is not None:
            return int(row.ids[int((probs / _exponential(bits)).argmax())])
        if len(probs) <= 1024:
            return int((probs / _exponential(bits)).argmax())
        likely = probs >= probs.dtype.type(LIKELY) * probs.max()
        first = np.flatnonzero(likely)
        lead = float((probs[first] / _exponential(bits[first])).max())
        # Any other id has less than the smallest of these probabilities: to win, its noise must lie below this.
        below = float(probs[first].min()) / lead
        bound = int(math.exp(-below) / UNIT) - 8  # a little lower, for the rounding of exp and log
        runners = np.flatnonzero(likely | (bits >= np.uint64(max(bound, 0))))
        return int(runners[int((probs[runners] / _exponential(bits[runners])).argmax())])

    def _bits(self, position: int, ids: Ids | None, size: int) -> Bits:
        """53 random bits for each id."""
        if ids is not None:
            return _mixed((ids.astype(np.uint64) + np.uint64(1)) * GOLDEN, self._base(position))
        bits = self._dense.get(position)
        if bits is None or len(bits) != size:
            if len(self._steps) != size:
                self._steps = np.arange(1, size + 1, dtype=np.uint64) * GOLDEN
            bits = _mixed(self._steps.copy(), self._base(position))
            if len(self._dense) >= KEPT_POSITIONS:
                self._dense.pop(next(iter(self._dense)))
            self._dense[position] = bits
        return bits

    def noise_base(self, position: int) -> int:
        """What the noise of a position is hashed from, 64 bits: whoever computes it elsewhere begins here."""
        digest = hashlib.blake2b(f"{self._seed}:noise:{position}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def _base(self, position: int) -> np.uint64:
        return np.uint64(self.noise_base(position))


def _mixed(state: Bits, base: np.uint64) -> Bits:
    """SplitMix64's output function of `base` + `state`, in place; the upper 53 bits."""
    state += base
    shifted = state >> np.uint64(30)
    state ^= shifted
    state *= MIX_1
    state ^= np.right_shift(state, np.uint64(27), out=shifted)
    state *= MIX_2
    state ^= np.right_shift(state, np.uint64(31), out=shifted)
    state >>= np.uint64(11)
    return state


def _exponential(bits: Bits) -> Floats:
    """−log of uniforms in (0, 1): the middles of 2^53 intervals. The least is 1.1e-16, not 0: no id ever gets a free win."""
    uniform = bits.astype(np.float64)
    uniform += 0.5
    uniform *= UNIT
    result: Floats = np.log(uniform, out=uniform)
    return np.negative(result, out=result)
