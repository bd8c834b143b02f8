"""A whole small decoder in one call, row by row: for drafts whose matrices stay in the processor's cache, where calling
anything costs more than computing it. Knows no file.
"""

from __future__ import annotations

from typing import Any

from chatapp.engine.backends.decoder.kernels.attention import attended
from chatapp.engine.backends.decoder.kernels.compiling import ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import at, carray, f32, i64, size_of, widen
from chatapp.engine.backends.decoder.kernels.panels import STRIP, row_product
from chatapp.engine.backends.decoder.kernels.rows import add_and_normalise, gated

LAYER_ADDRESSES = 7
"""Of a layer: gain, qkv, gain of queries and keys, out, gain of the MLP, gate and up, down."""


@compiled(ORDERED)
def drafted(
    kind: Any, ids_at: int, count: int, start: int, rows: int, layers_at: int, layers: int, embedding_at: int, gain_at: int,
    head_at: int, result_at: int, width: int, cache_at: int, layer_bytes: int, tiles: int, turns_at: int, scratch_at: int,
    hidden: int, heads: int, kv_heads: int, size: int, inner: int, norm_eps: float,
) -> None:  # fmt: skip
    """See `kernels.drafting`. Scratch holds, each as wide as whole strips make it: x, h, a product's row, the mix, the
    gate's row, and then what attention needs."""
    ids, places = carray(at(ids_at, i64), (count,)), carray(at(layers_at, i64), (layers * LAYER_ADDRESSES,))
    qkv, mixed_size = (heads + 2 * kv_heads) * size, heads * size
    widest = _whole(max(qkv, 2 * inner, hidden, mixed_size))
    x_at, h_at = scratch_at, scratch_at + widest * 4
    row_at, mixed_at, gate_at, rest_at = (
        h_at + widest * 4, h_at + 2 * widest * 4, h_at + 3 * widest * 4, h_at + 4 * widest * 4
    )  # fmt: skip
    eps = hidden * norm_eps
    for index in range(count):
        x = carray(at(x_at, f32), (hidden,))
        embedded = carray(at(embedding_at + ids[index] * hidden * size_of(kind), kind), (hidden,))
        for i in range(hidden):
            x[i] = widen(embedded[i])
        added = 0
        for layer in range(layers):
            place = layer * LAYER_ADDRESSES
            add_and_normalise(f32, x_at, added, places[place], h_at, 1, hidden, eps)
            row_product(kind, h_at, places[place + 1], row_at, _whole(qkv), hidden)
            attended(
                f32, f32, row_at, mixed_at, cache_at + layer * layer_bytes, tiles, turns_at, places[place + 2], rest_at,
                start + index, 1, heads, kv_heads, size, size * norm_eps, 0, kv_heads,
            )  # fmt: skip
            row_product(kind, mixed_at, places[place + 3], row_at, _whole(hidden), mixed_size)
            add_and_normalise(f32, x_at, row_at, places[place + 4], h_at, 1, hidden, eps)
            row_product(kind, h_at, places[place + 5], row_at, _whole(2 * inner), hidden)
            gated(f32, row_at, gate_at, 1, inner)
            row_product(kind, gate_at, places[place + 6], row_at, _whole(hidden), inner)
            added = row_at
        if index < count - rows:
            continue
        to = result_at + (index - count + rows) * width * 4
        if head_at != 0:
            add_and_normalise(f32, x_at, added, gain_at, h_at, 1, hidden, eps)
            row_product(kind, h_at, head_at, to, width, hidden)
        else:
            add_and_normalise(f32, x_at, added, gain_at, to, 1, hidden, eps)


@compiled(ORDERED, inline="always")
def _whole(columns: int) -> int:
    return (columns + STRIP - 1) // STRIP * STRIP
