"""A whole decoder in one call: at batch 1 calling forty products a pass takes as long as reading a small model's weights.

Several threads may share a pass: each takes columns of every matrix and some of the heads, and they meet in between. What
one of them computes does not depend on how many there are. Knows no file.
"""

from __future__ import annotations

from typing import Any

from chatapp.engine.backends.decoder.kernels.attention import CHUNK, attended, scratch_numbers
from chatapp.engine.backends.decoder.kernels.compiling import LANES, ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.meeting import meet
from chatapp.engine.backends.decoder.kernels.numbers import at, carray, f32, i64, size_of, widen
from chatapp.engine.backends.decoder.kernels.panels import STRIP, matrix_product
from chatapp.engine.backends.decoder.kernels.rows import add_and_normalise, gated

LAYER_NUMBERS = 12
"""Of a layer: the addresses of gain, qkv, its bias, the gain of queries and keys, out, its bias, gain of the MLP, gate and
up, their bias, down, its bias, and the KV. Address 0: there is none."""
MODEL_NUMBERS = 16
"""Of a model: the address of the layers' numbers, how many layers, the addresses of embedding, last gain and head (0: the
rows that a head would read are the result) and its bias, the vocabulary, tiles of a KV, the addresses of the positions'
turns, of the scratch and of the meeting place, hidden size, heads, key heads, their size, and the MLP's."""


@compiled(ORDERED, inline="always")
def _whole(columns: int) -> int:
    return (columns + LANES - 1) // LANES * LANES


@compiled(ORDERED, inline="always")
def _line(size: int) -> int:
    """Bytes in whole lines of the processor's cache."""
    return (size + 63) // 64 * 64


@compiled(ORDERED)
def scratch_bytes(kind_bytes: int, count: int, seen: int, parts: int, hidden: int, heads: int, kv_heads: int, size: int,
    inner: int) -> int:  # fmt: skip
    """What a pass of `count` rows needs that ends at position `seen`."""
    shared = (
        _line(count * _whole((heads + 2 * kv_heads) * size) * 4) + _line(count * heads * size * kind_bytes)
        + _line(count * _whole(hidden) * 4) + _line(count * _whole(2 * inner) * 4) + _line(count * inner * kind_bytes)
    )  # fmt: skip
    return shared + parts * _private_bytes(kind_bytes, count, seen, hidden, heads // kv_heads, size)


@compiled(ORDERED)
def _private_bytes(kind_bytes: int, count: int, seen: int, hidden: int, group: int, size: int) -> int:
    rows = _line(count * hidden * 4) + _line(count * hidden * kind_bytes)
    return rows + _line(scratch_numbers(min(count, CHUNK) * group, size, seen) * 4)


@compiled(ORDERED)
def passed(kind: Any, model_at: int, norm_eps: float, ids_at: int, count: int, start: int, rows: int, result_at: int, part:
    int, parts: int) -> None:  # fmt: skip
    """See `kernels.passing`."""
    model = carray(at(model_at, i64), (MODEL_NUMBERS,))
    layers_at, layers, embedding_at, gain_at, head_at, head_bias, vocabulary, tiles = (
        model[0], model[1], model[2], model[3], model[4], model[5], model[6], model[7]
    )  # fmt: skip
    turns_at, scratch_at, meeting_at, hidden, heads, kv_heads, size, inner = (
        model[8], model[9], model[10], model[11], model[12], model[13], model[14], model[15]
    )  # fmt: skip
    ids = carray(at(ids_at, i64), (count,))
    number, wide_hidden, mixed_size = size_of(kind), _whole(hidden), heads * size
    qkv_size, wide_inner = _whole((heads + 2 * kv_heads) * size), _whole(2 * inner)
    qkv_at = scratch_at
    mixed_at = qkv_at + _line(count * qkv_size * 4)
    added_at = mixed_at + _line(count * mixed_size * number)
    both_at = added_at + _line(count * wide_hidden * 4)
    gated_at = both_at + _line(count * wide_inner * 4)
    # Every thread has the rows for itself: to normalise them again is sooner done than to wait for another.
    x_at = gated_at + _line(count * inner * number)
    x_at += part * _private_bytes(number, count, start + count, hidden, heads // kv_heads, size)
    h_at = x_at + _line(count * hidden * 4)
    rest_at = h_at + _line(count * hidden * number)
    eps = hidden * norm_eps
    for row in range(count):
        x = carray(at(x_at + row * hidden * 4, f32), (hidden,))
        embedded = carray(at(embedding_at + ids[row] * hidden * number, kind), (hidden,))
        for i in range(hidden):
            x[i] = widen(embedded[i])
    summed = 0
    for index in range(layers):
        layer = carray(at(layers_at + index * LAYER_NUMBERS * 8, i64), (LAYER_NUMBERS,))
        add_and_normalise(f32, kind, x_at, summed, wide_hidden, layer[0], h_at, count, hidden, eps)
        _share(kind, h_at, hidden, layer[1], layer[2], qkv_at, qkv_size, count, part, parts)
        meet(meeting_at, parts)
        attended(
            f32, kind, kind, qkv_at, mixed_at, layer[11], tiles, turns_at, layer[3], rest_at, start, count, qkv_size, heads,
            kv_heads, size, size * norm_eps, kv_heads * part // parts, kv_heads * (part + 1) // parts,
        )  # fmt: skip
        meet(meeting_at, parts)
        _share(kind, mixed_at, mixed_size, layer[4], layer[5], added_at, wide_hidden, count, part, parts)
        meet(meeting_at, parts)
        add_and_normalise(f32, kind, x_at, added_at, wide_hidden, layer[6], h_at, count, hidden, eps)
        _share(kind, h_at, hidden, layer[7], layer[8], both_at, wide_inner, count, part, parts)
        meet(meeting_at, parts)
        gated(
            f32,
            kind,
            both_at,
            wide_inner,
            gated_at,
            count,
            inner,
            inner * part // parts,
            inner * (part + 1) // parts,
        )
        meet(meeting_at, parts)
        _share(kind, gated_at, inner, layer[9], layer[10], added_at, wide_hidden, count, part, parts)
        meet(meeting_at, parts)
        summed = added_at
    first = count - rows
    x_at += first * hidden * 4
    if summed != 0:
        summed += first * wide_hidden * 4
    if head_at != 0:
        add_and_normalise(f32, kind, x_at, summed, wide_hidden, gain_at, h_at, rows, hidden, eps)
        _share(kind, h_at, hidden, head_at, head_bias, result_at, _whole(vocabulary), rows, part, parts)
    elif part == 0:
        add_and_normalise(f32, f32, x_at, summed, wide_hidden, gain_at, result_at, rows, hidden, eps)
    # Until the last is through, what it reads must stay.
    meet(meeting_at, parts)


@compiled(ORDERED)
def _share(kind: Any, a: int, count: int, b: int, bias: int, c: int, columns: int, rows: int, part: int, parts:
    int) -> None:  # fmt: skip
    """A thread's strips of a product."""
    strips = (columns + STRIP - 1) // STRIP
    first, stop = strips * part // parts, strips * (part + 1) // parts
    matrix_product(kind, a, count, b, bias, c, columns, rows, first, stop)
