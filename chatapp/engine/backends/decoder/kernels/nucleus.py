"""Top-p over a long row in two passes: one for its mass and the few ids that can be kept, one over those few. Knows no model."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatapp.engine.backends.decoder.kernels.compiling import ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import (
    at,
    bits_above,
    carray,
    f,
    f32,
    f64,
    i32,
    i64,
    lowest_bit,
    power_of_two,
)
from chatapp.engine.backends.decoder.kernels.vocabulary import BLOCK, factors, mass_of_block

OCTAVES = 14
"""Ids of at least 2^-OCTAVES of the largest probability can be kept."""
BINS_BITS = 15
"""Weights whose bits agree above so many stand in one bin: 256 bins to a factor of two."""
BINS = (OCTAVES << 23 >> BINS_BITS) + 2
ONE = 0x3F800000
CROWD = 1024
"""As many as this in the bin at the border are put in order; more are left to whoever asked."""
WORK_BYTES = (BINS + CROWD) * 8
"""Room to work in: the bins' masses, and the places of a crowd."""


@compiled(ORDERED)
def _gather(scores_at: int, begin: int, count: int, least: Any, ids: Any, values: Any, found: int) -> int:
    """Ids and scores of what is at least `least`, behind `found` others; -1 where there is no room."""
    room = len(ids)
    x = carray(at(scores_at + begin * 4, f32), (count,))
    whole = count // 64 * 64
    for place in range(0, whole, 64):
        bits = bits_above(scores_at + (begin + place) * 4, least)
        if bits != 0 and found + 64 > room:
            return -1
        while bits != 0:
            lane = lowest_bit(bits)
            bits &= bits - 1
            ids[found] = begin + place + lane
            values[found] = x[place + lane]
            found += 1
    for place in range(whole, count):
        if x[place] >= least:
            if found == room:
                return -1
            ids[found] = begin + place
            values[found] = x[place]
            found += 1
    return found


@compiled(ORDERED)
def _bin(bits: Any) -> Any:
    return min(max((ONE - np.int64(bits)) >> BINS_BITS, 0), BINS - 1)


@compiled(ORDERED)
def _border(values: Any, bits: Any, count: int, enough: float, masses: Any, crowd: Any) -> Any:
    """The bin at the border, and of it the least bits that are kept, and how many of those that are equal; -1 for the bin
    where these few do not suffice or where too many crowd there."""
    for index in range(BINS):
        masses[index] = 0.0
    for i in range(count):
        masses[_bin(bits[i])] += np.float64(values[i])
    before, border = 0.0, 0
    while border < BINS and before + masses[border] < enough:
        before += masses[border]
        border += 1
    if border == BINS:
        return -1, 0, 0
    # Those in the bin, largest first, lower ids first at a tie.
    crowded = 0
    for i in range(count):
        if _bin(bits[i]) != border:
            continue
        if crowded == CROWD:
            return -1, 0, 0
        place = crowded
        while place > 0 and bits[crowd[place - 1]] < bits[i]:
            crowd[place] = crowd[place - 1]
            place -= 1
        crowd[place] = i
        crowded += 1
    least, equal = np.int64(bits[crowd[0]]), 0
    for place in range(crowded):
        if before >= enough:
            break
        own = np.int64(bits[crowd[place]])
        equal = equal + 1 if own == least else 1
        least = own
        before += np.float64(values[crowd[place]])
    return border, least, equal


@compiled(ORDERED)
def nucleus(
    scores_at: int, size: int, top: float, temperature: float, top_p: float, min_p: float, ids_at: int, weights_at: int,
    room: int, work_at: int,
) -> int:  # fmt: skip
    ids, values = carray(at(ids_at, i64), (room,)), carray(at(weights_at, f32), (room,))
    factor, rest, bottom = factors(temperature)
    least = f(top - OCTAVES * np.log(2.0) * temperature)
    mass, found = 0.0, 0
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        x = carray(at(scores_at + begin * 4, f32), (count,))
        mass += np.float64(mass_of_block(x, count, f(top), factor, rest, bottom))
        found = _gather(scores_at, begin, count, least, ids, values, found)
        if found < 0:
            return 0
    for i in range(found):
        values[i] = power_of_two(values[i] - f(top), factor, rest)
    bits = carray(at(weights_at, i32), (room,))
    masses, crowd = carray(at(work_at, f64), (BINS,)), carray(at(work_at + BINS * 8, i64), (CROWD,))
    border, border_bits, equal = _border(values, bits, found, top_p * mass, masses, crowd)
    if border < 0:
        return 0
    kept, kept_mass = 0, 0.0
    for i in range(found):
        own = np.int64(bits[i])
        if own < border_bits or values[i] < f(min_p):
            continue
        if own == border_bits:
            if equal == 0:
                continue
            equal -= 1
        ids[kept], values[kept] = ids[i], values[i]
        kept_mass += np.float64(values[kept])
        kept += 1
    for i in range(kept):
        values[i] /= f(kept_mass)
    return kept
