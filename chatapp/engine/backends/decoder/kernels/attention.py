"""Attention of a layer with everything around it: queries and keys normalised and turned, the KV written, the mix.

A row's bits depend on nothing but the row: every sum runs in an order that neither the number of rows nor the length of
the KV changes. Knows no weights and no model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chatapp.engine.backends.decoder.kernels.compiling import ANY_ORDER, LANES, ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import (
    at,
    bits_to_float,
    carray,
    exponential,
    f,
    f32,
    i32,
    narrow,
    size_of,
    widen,
)
from chatapp.engine.backends.decoder.kernels.panels import product

TILE = 64
"""Positions whose keys lie side by side, dimension by dimension, so that a score needs no sum across a vector."""
CHUNK = 16
"""Rows of a pass whose scores are held at once."""


@compiled(ORDERED)
def _largest(place: int, length: int) -> Any:
    """By whole numbers of the same order: compilers make no vectors of a search for the largest float."""
    scores = carray(at(place, i32), (length,))
    largest = scores[0] ^ ((scores[0] >> i32(31)) & i32(0x7FFFFFFF))
    for i in range(length):
        largest = max(largest, scores[i] ^ ((scores[i] >> i32(31)) & i32(0x7FFFFFFF)))
    return bits_to_float(largest ^ ((largest >> i32(31)) & i32(0x7FFFFFFF)))


@compiled(ANY_ORDER)
def _exponentials(place: int, length: int, largest: Any) -> Any:
    """In place; returns their sum."""
    scores = carray(at(place, f32), (length,))
    total = f(0)
    for i in range(length):
        scores[i] = exponential(scores[i] - largest)
        total += scores[i]
    return total


@compiled(ORDERED)
def _fill(place: int, begin: int, end: int, value: Any) -> None:
    scores = carray(at(place, f32), (end,))
    for i in range(begin, end):
        scores[i] = value


@compiled(ORDERED)
def _softmax(place: int, seen: int, length: int) -> Any:
    """Weights of the first `seen` positions in place, zeros behind them up to `length`; returns what to scale the mix by.
    Sums run over the tiles of the row itself, so that their order is its own affair."""
    own = (seen + TILE - 1) // TILE * TILE
    _fill(place, seen, own, f(-1e30))
    total = _exponentials(place, own, _largest(place, own))
    _fill(place, seen, length, f(0))
    return f(1) / total


@compiled(ORDERED)
def _turn(act: Any, from_at: int, gain_at: int, turns_at: int, scale: float, eps: float, to_at: int, stride:
    int, size: int, to_kind: Any) -> None:  # fmt: skip
    """One head's row, normalised if there is a gain, turned by its position, to numbers that stand `stride` apart."""
    x = carray(at(from_at, act), (size,))
    turns = carray(at(turns_at, f32), (size,))
    to = carray(at(to_at, to_kind), (size * stride,))
    factor = f(scale)
    if gain_at != 0:
        gain = carray(at(gain_at, f32), (size,))
        squares = f(0)
        for i in range(size):
            squares += widen(x[i]) * widen(x[i])
        factor = factor / np.sqrt(squares + f(eps))
        for i in range(size // 2):
            a, b = widen(x[2 * i]) * factor * gain[2 * i], widen(x[2 * i + 1]) * factor * gain[2 * i + 1]
            to[2 * i * stride] = narrow(a * turns[2 * i] - b * turns[2 * i + 1], to_kind)
            to[(2 * i + 1) * stride] = narrow(a * turns[2 * i + 1] + b * turns[2 * i], to_kind)
    else:
        for i in range(size // 2):
            a, b = widen(x[2 * i]) * factor, widen(x[2 * i + 1]) * factor
            to[2 * i * stride] = narrow(a * turns[2 * i] - b * turns[2 * i + 1], to_kind)
            to[(2 * i + 1) * stride] = narrow(a * turns[2 * i + 1] + b * turns[2 * i], to_kind)


@compiled(ORDERED)
def attended(act: Any, kv: Any, qkv_at: int, out_at: int, cache_at: int, tiles: int, turns_at: int, gain_at:
    int, scratch_at: int, start: int, rows: int, heads: int, kv_heads: int, size: int, eps: float, first: int, stop:
    int) -> None:  # fmt: skip
    group, wide = heads // kv_heads, (heads + 2 * kv_heads) * size
    scale = 1.0 / np.sqrt(np.float64(size))
    padded = (size + LANES - 1) // LANES * LANES
    tile_bytes = padded * TILE * size_of(kv)
    for head in range(first, stop):
        keys = cache_at + 2 * head * tiles * tile_bytes
        values = keys + tiles * tile_bytes
        gain = gain_at + (heads + head) * size * 4 if gain_at != 0 else 0
        for row in range(rows):
            tile, place = (start + row) // TILE, (start + row) % TILE
            line = qkv_at + row * wide * size_of(act)
            _turn(act, line + (heads + head) * size * size_of(act), gain, turns_at + (start + row) * size * 4, 1.0, eps,
                  keys + tile * tile_bytes + place * size_of(kv), TILE, size, kv)  # fmt: skip
            value = carray(at(line + (heads + kv_heads + head) * size * size_of(act), act), (size,))
            kept = carray(at(values + tile * tile_bytes + place * padded * size_of(kv), kv), (size,))
            for i in range(size):
                kept[i] = narrow(widen(value[i]), kv)
        for begin in range(0, rows, CHUNK):
            _chunk(act, kv, qkv_at, out_at, keys, values, turns_at, gain_at, scratch_at, start, begin, min(rows, begin + CHUNK),
                   heads, group, wide, size, scale, eps, head)  # fmt: skip


@compiled(ORDERED)
def _chunk(act: Any, kv: Any, qkv_at: int, out_at: int, keys: int, values: int, turns_at: int, gain_at: int,
    scratch_at: int, start: int, begin: int, end: int, heads: int, group: int, wide: int, size: int, scale: float,
    eps: float, head: int) -> None:  # fmt: skip
    """Rows `begin` … `end` of one key head, which all positions up to the last of them are in the cache for."""
    seen, queries = start + end, (end - begin) * group
    tiles = (seen + TILE - 1) // TILE
    # A few numbers more than whole tiles: rows that are a power of two apart would share a place in the processor's cache.
    length, padded = tiles * TILE + 16, (size + LANES - 1) // LANES * LANES
    tile_bytes = padded * TILE * size_of(kv)
    query_at = scratch_at
    mixed_at = query_at + queries * size * 4
    factors_at = mixed_at + queries * padded * 4
    scores_at = factors_at + queries * 4
    for query in range(queries):
        row, member = begin + query // group, head * group + query % group
        gain = gain_at + member * size * 4 if gain_at != 0 else 0
        _turn(act, qkv_at + (row * wide + member * size) * size_of(act), gain, turns_at + (start + row) * size * 4, scale, eps,
              query_at + query * size * 4, 1, size, f32)  # fmt: skip
    for tile in range(tiles):
        product(kv, query_at, size, keys + tile * tile_bytes, TILE, scores_at + tile * TILE * 4, length,
            queries, TILE, size, True)  # fmt: skip
    factors = carray(at(factors_at, f32), (queries,))
    for query in range(queries):
        factors[query] = _softmax(
            scores_at + query * length * 4, start + begin + query // group + 1, tiles * TILE
        )
    for tile in range(tiles):
        # Not behind the last position: what lies there may be no number, and 0 × NaN is NaN.
        count = min(TILE, seen - tile * TILE)
        product(kv, scores_at + tile * TILE * 4, length, values + tile * tile_bytes, padded, mixed_at, padded,
            queries, padded, count, tile == 0)  # fmt: skip
    for query in range(queries):
        member = (begin + query // group) * heads + head * group + query % group
        out = carray(at(out_at + member * size * size_of(act), act), (size,))
        mixed = carray(at(mixed_at + query * padded * 4, f32), (size,))
        for i in range(size):
            out[i] = narrow(mixed[i] * factors[query], act)
