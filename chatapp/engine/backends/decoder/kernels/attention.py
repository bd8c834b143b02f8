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
    fetch,
    i32,
    narrow,
    size_of,
    u16,
    widen,
)
from chatapp.engine.backends.decoder.kernels.panels import LINE_BYTES, product

TILE = 64
"""Positions whose keys lie side by side, dimension by dimension, so that a score needs no sum across a vector. In bfloat16
two dimensions of a key lie together, and two positions of a value, as `panels` reads pairs."""
CHUNK = 16
"""Rows of a pass whose scores are held at once."""
BLOCK = 4 * TILE
"""Exponentials that are taken between two requests for memory."""
FETCHED_PER_SCORE = 16
"""Bytes of the values that each exponential asks for: with eight rows, taking them then hides half of what reading the values
takes."""
FETCHING = 3
"""Queries from which on that is worth it: with fewer the exponentials are soon done."""


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


@compiled(ANY_ORDER)
def _narrow_exponentials(place: int, to_at: int, length: int, largest: Any) -> Any:
    """In bfloat16, to another place; returns the sum of what they were."""
    scores, to = carray(at(place, f32), (length,)), carray(at(to_at, u16), (length,))
    total = f(0)
    for i in range(length):
        power = exponential(scores[i] - largest)
        total += power
        to[i] = narrow(power, u16)
    return total


@compiled(ORDERED)
def _fill(place: int, begin: int, end: int, value: Any, kind: Any) -> None:
    numbers = carray(at(place, kind), (end,))
    for i in range(begin, end):
        numbers[i] = narrow(value, kind)


@compiled(ORDERED)
def _fetch_lines(begin: int, end: int) -> None:
    for address in range(begin, end, LINE_BYTES):
        fetch(address)


@compiled(ORDERED)
def _softmax(kv: Any, place: int, to: int, seen: int, length: int, soon: int, soon_end: int) -> Any:
    """Weights of the first `seen` positions, zeros behind them up to `length`, as `kv`; returns what to scale the mix by.
    float32 in place, whatever `to` is. Sums run over the tiles of the row itself, so that their order is its own affair.
    Meanwhile memory between `soon` and `soon_end` is asked for."""
    own = (seen + TILE - 1) // TILE * TILE
    _fill(place, seen, own, f(-1e30), f32)
    largest = _largest(place, own)
    total = f(0)
    for begin in range(0, own, BLOCK):
        together = min(own - begin, BLOCK)
        if size_of(kv) == 4:
            total += _exponentials(place + begin * 4, together, largest)
        else:
            total += _narrow_exponentials(place + begin * 4, to + begin * 2, together, largest)
        _fetch_lines(soon, min(soon + together * FETCHED_PER_SCORE, soon_end))
        soon += together * FETCHED_PER_SCORE
    if size_of(kv) == 4:
        _fill(place, seen, length, f(0), f32)
    else:
        _fill(to, seen, length, f(0), u16)
    return f(1) / total


@compiled(ORDERED)
def _turn(kind: Any, from_at: int, gain_at: int, turns_at: int, scale: float, eps: float, to_at: int, pair: int, step:
    int, size: int, to_kind: Any) -> None:  # fmt: skip
    """One head's row, normalised if there is a gain, turned by its position, to pairs of numbers that stand `step` apart, the
    pairs `pair`."""
    x = carray(at(from_at, kind), (size,))
    turns = carray(at(turns_at, f32), (size,))
    to = carray(at(to_at, to_kind), (size // 2 * pair + step,))
    factor = f(scale)
    if gain_at != 0:
        gain = carray(at(gain_at, f32), (size,))
        squares = f(0)
        for i in range(size):
            squares += widen(x[i]) * widen(x[i])
        factor = factor / np.sqrt(squares + f(eps))
        for i in range(size // 2):
            a, b = widen(x[2 * i]) * factor * gain[2 * i], widen(x[2 * i + 1]) * factor * gain[2 * i + 1]
            to[i * pair] = narrow(a * turns[2 * i] - b * turns[2 * i + 1], to_kind)
            to[i * pair + step] = narrow(a * turns[2 * i + 1] + b * turns[2 * i], to_kind)
    else:
        for i in range(size // 2):
            a, b = widen(x[2 * i]) * factor, widen(x[2 * i + 1]) * factor
            to[i * pair] = narrow(a * turns[2 * i] - b * turns[2 * i + 1], to_kind)
            to[i * pair + step] = narrow(a * turns[2 * i + 1] + b * turns[2 * i], to_kind)


@compiled(ORDERED)
def attended(act: Any, out: Any, kv: Any, qkv_at: int, out_at: int, cache_at: int, tiles: int, turns_at: int, gain_at:
    int, scratch_at: int, start: int, rows: int, qkv_stride: int, heads: int, kv_heads: int, size: int, eps: float, first:
    int, stop: int) -> None:  # fmt: skip
    """See `kernels.attending`. Rows of `qkv` are `qkv_stride` numbers apart; `out` is what the mix is written in."""
    group = heads // kv_heads
    scale = 1.0 / np.sqrt(np.float64(size))
    padded = (size + LANES - 1) // LANES * LANES
    tile_bytes = padded * TILE * size_of(kv)
    # Numbers that `panels` reads at once, of keys by dimension and of values by position.
    pair = 4 // size_of(kv)
    for head in range(first, stop):
        keys = cache_at + 2 * head * tiles * tile_bytes
        values = keys + tiles * tile_bytes
        gain = gain_at + (heads + head) * size * 4 if gain_at != 0 else 0
        for row in range(rows):
            tile, place = (start + row) // TILE, (start + row) % TILE
            line = qkv_at + row * qkv_stride * size_of(act)
            _turn(act, line + (heads + head) * size * size_of(act), gain, turns_at + (start + row) * size * 4, 1.0, eps,
                  keys + tile * tile_bytes + place * pair * size_of(kv), 2 * TILE, TILE if pair == 1 else 1, size, kv)  # fmt: skip
            value = carray(at(line + (heads + kv_heads + head) * size * size_of(act), act), (size,))
            kept_at = (
                values + tile * tile_bytes + (place // pair * pair * padded + place % pair) * size_of(kv)
            )
            kept = carray(at(kept_at, kv), (size * pair,))
            for i in range(size):
                kept[i * pair] = narrow(widen(value[i]), kv)
        for begin in range(0, rows, CHUNK):
            _chunk(act, out, kv, qkv_at, out_at, keys, values, turns_at, gain_at, scratch_at, start, begin, min(rows, begin + CHUNK),
                   heads, group, qkv_stride, size, scale, eps, head)  # fmt: skip


@compiled(ORDERED, inline="always")
def scratch_numbers(queries: int, size: int, seen: int) -> int:
    """float32 that `_chunk` needs for so many queries over positions 0 … `seen`."""
    padded, length = (size + LANES - 1) // LANES * LANES, (seen + TILE - 1) // TILE * TILE + 16
    # Queries, mixes, factors, scores, weights (half a number each in bfloat16), a pair of values.
    return queries * (size + padded + 1 + length + length // 2) + padded


@compiled(ORDERED)
def _chunk(act: Any, out_kind: Any, kv: Any, qkv_at: int, out_at: int, keys: int, values: int, turns_at: int, gain_at: int,
    scratch_at: int, start: int, begin: int, end: int, heads: int, group: int, qkv_stride: int, size: int, scale: float,
    eps: float, head: int) -> None:  # fmt: skip
    """Rows `begin` … `end` of one key head, which all positions up to the last of them are in the cache for."""
    seen, queries = start + end, (end - begin) * group
    tiles = (seen + TILE - 1) // TILE
    # A few numbers more than whole tiles: rows that are a power of two apart would share a place in the processor's cache.
    length, padded = tiles * TILE + 16, (size + LANES - 1) // LANES * LANES
    tile_bytes = padded * TILE * size_of(kv)
    pair = 4 // size_of(kv)
    query_at = scratch_at
    mixed_at = query_at + queries * size * 4
    factors_at = mixed_at + queries * padded * 4
    scores_at = factors_at + queries * 4
    weights_at = scores_at + queries * length * 4 if pair == 2 else scores_at
    last_at = weights_at + queries * length * size_of(kv)
    for query in range(queries):
        row, member = begin + query // group, head * group + query % group
        gain = gain_at + member * size * 4 if gain_at != 0 else 0
        _turn(act, qkv_at + (row * qkv_stride + member * size) * size_of(act), gain, turns_at + (start + row) * size * 4, scale,
              eps, query_at + query * size * size_of(kv), 2, 1, size, kv)  # fmt: skip
    for tile in range(tiles):
        product(kv, query_at, size, keys + tile * tile_bytes, TILE, scores_at + tile * TILE * 4, length,
            queries, TILE, size, True)  # fmt: skip
    factors = carray(at(factors_at, f32), (queries,))
    for query in range(queries):
        factors[query] = _softmax(
            kv, scores_at + query * length * 4, weights_at + query * length * size_of(kv),
            start + begin + query // group + 1, tiles * TILE,
            values + query * tiles * TILE * FETCHED_PER_SCORE, values + tiles * tile_bytes if queries >= FETCHING else 0,
        )  # fmt: skip
    for tile in range(tiles):
        # Not behind the last position: what lies there may be no number, and 0 × NaN is NaN.
        count = min(TILE, seen - tile * TILE)
        whole = count // pair * pair
        weights, at_values = weights_at + tile * TILE * size_of(kv), values + tile * tile_bytes
        if whole > 0:
            product(
                kv, weights, length, at_values, padded, mixed_at, padded, queries, padded, whole, tile == 0
            )
        if whole < count:
            both = carray(at(at_values + whole * padded * 2, i32), (padded,))
            last = carray(at(last_at, i32), (padded,))
            for i in range(padded):
                last[i] = both[i] & i32(0xFFFF)
            product(
                kv, weights + whole * 2, length, last_at, padded, mixed_at, padded, queries, padded, 2,
                tile == 0 and whole == 0,
            )  # fmt: skip
    for query in range(queries):
        member = (begin + query // group) * heads + head * group + query % group
        out = carray(at(out_at + member * size * size_of(out_kind), out_kind), (size,))
        mixed = carray(at(mixed_at + query * padded * 4, f32), (size,))
        for i in range(size):
            out[i] = narrow(mixed[i] * factors[query], out_kind)
