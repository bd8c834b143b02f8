"""The race of `randomness.Streams.race` in one pass over a row: argmax(weights / noise), noise hashed from position and id.
Knows no model.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chatapp.engine.backends.decoder.kernels.compiling import ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import at, bits_to_float, carray, f, f32, i32, i64

CHUNK = 64
"""Ids that are ruled out together."""
LIKELY = f(2.0**-6)
"""Ids of at least this share of the largest weight run first: one of them nearly always wins, and leaves little to the rest."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
ONE, UPPER, SHIFT_1, SHIFT_2, SHIFT_3 = (
    np.uint64(1),
    np.uint64(11),
    np.uint64(30),
    np.uint64(27),
    np.uint64(31),
)
WHOLE, UNIT = 2.0**53, 2.0**-53
SLACK = 8.0
"""Bits are let through that lie a little lower than the bound, for the rounding of the logarithm."""


@compiled(ORDERED, inline="always")
def noise_bits(token: Any, base: Any) -> Any:
    """See `randomness._mixed`: the upper 53 bits of SplitMix64."""
    state = (np.uint64(token) + ONE) * GOLDEN + base
    state = (state ^ (state >> SHIFT_1)) * MIX_1
    state = (state ^ (state >> SHIFT_2)) * MIX_2
    return (state ^ (state >> SHIFT_3)) >> UPPER


@compiled(ORDERED, inline="always")
def ratio(weight: Any, bits: Any) -> Any:
    return np.float64(weight) / -math.log((np.float64(bits) + 0.5) * UNIT)


@compiled(ORDERED)
def _largest(patterns: Any, begin: int, end: int) -> Any:
    """Of numbers that are not negative: their bits are in their order, and unlike floats there is no NaN to heed."""
    top = np.int32(0)
    for place in range(begin, end):
        top = max(top, patterns[place])
    return bits_to_float(top)


@compiled(ORDERED)
def _any_above(begin: int, end: int, base: Any, bound: Any) -> Any:
    hits: Any = 0
    for place in range(begin, end):
        hits += np.int64(noise_bits(place, base) >= bound)
    return hits > 0


@compiled(ORDERED)
def raced(weights_at: int, size: int, signed_base: int) -> int:
    """Over every id of a row."""
    weights, base = carray(at(weights_at, f32), (size,)), np.uint64(signed_base)
    patterns = carray(at(weights_at, i32), (size,))
    floor = _largest(patterns, 0, size) * LIKELY
    best, lead = 0, -1.0
    for begin in range(0, size, CHUNK):
        end = min(begin + CHUNK, size)
        if _largest(patterns, begin, end) >= floor:
            for place in range(begin, end):
                if weights[place] >= floor:
                    value = ratio(weights[place], noise_bits(place, base))
                    if value > lead:
                        best, lead = place, value
    for begin in range(0, size, CHUNK):
        end = min(begin + CHUNK, size)
        # To win, -log(u) must lie below weight / lead, so u above 1 less that.
        most = np.float64(min(_largest(patterns, begin, end), floor))
        bound = np.uint64(max((1.0 - most / lead) * WHOLE - SLACK, 0.0))
        if _any_above(begin, end, base, bound):
            for place in range(begin, end):
                if weights[place] < floor:
                    value = ratio(weights[place], noise_bits(place, base))
                    if value > lead or (value == lead and place < best):
                        best, lead = place, value
    return best


@compiled(ORDERED)
def raced_among(ids_at: int, weights_at: int, size: int, signed_base: int) -> int:
    """Over the ids given; the winner's place among them."""
    ids, weights = carray(at(ids_at, i64), (size,)), carray(at(weights_at, f32), (size,))
    base = np.uint64(signed_base)
    best, lead = 0, -1.0
    for place in range(size):
        value = ratio(weights[place], noise_bits(ids[place], base))
        if value > lead:
            best, lead = place, value
    return best
