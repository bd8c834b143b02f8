"""What stands between a decoder's matrix products, compiled for the processor at hand by numba: normalisation with the
residual's sum, attention with everything around it, and the gate of the MLP. Knows no weights and no model.

As torch operators these are some forty small calls a layer, which at batch 1 take longer than the products themselves; here
they are four. A row's bits depend on nothing but the row: every sum runs in an order that neither the number of rows nor
the length of the KV changes.

Arguments are addresses and counts, which numba unpacks in a fraction of a microsecond. `act` is the type that products take
and give and `kv` the type of keys and values: `u16` for the upper half of a float32 (bfloat16), or `f32`.

All of it is one file on purpose: numba's cache on disk notices a change of the file that a kernel stands in, not of others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import numpy_support

F = TypeVar("F", bound=Callable[..., Any])
u16, f32, f = types.uint16, types.float32, np.float32
carray: Any = numpy_support.carray
pointer_to: Any = types.CPointer
declared: Any = cgutils.get_or_insert_function

TILE = 64
"""Positions whose keys lie side by side, dimension by dimension, so that a score needs no sum across a vector."""
CHUNK = 16
"""Rows of a pass whose scores are held at once."""


def _lanes() -> int:
    """Numbers of float32 in a vector of this processor."""
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


LANES = _lanes()
WIDE = 4 * LANES
"""Columns that the wide panels compute at once. Divides `TILE`."""

# A product and a sum may become one instruction. Sums may be reordered only where nothing but the code decides how.
_ORDERED = {"contract", "nsz"}
_ANY_ORDER = {*_ORDERED, "reassoc", "nnan"}


def _compiled(flags: set[str], **options: Any) -> Callable[[F], F]:
    # numpy's way of dividing: without a branch for zero, which would keep loops from being vectorised.
    return numba.njit(nogil=True, fastmath=flags, error_model="numpy", **options)  # type: ignore[no-any-return] # untyped


def _instruction(build: Callable[..., Any]) -> Any:
    """A function that becomes the LLVM instructions that `build` names; numba types its arguments by their number."""
    return intrinsic(build)


def _entry(function: F) -> F:
    """A kernel that is called from outside; kept on disk wherever numba finds a folder to write to."""
    try:
        return _compiled(_ORDERED, cache=True)(function)
    except RuntimeError:
        return _compiled(_ORDERED)(function)


# -- numbers ------------------------------------------------------------------------------------------------------


@_instruction
def _bits_to_float(_context: Any, bits: Any) -> Any:
    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), build


@_instruction
def _widen(_context: Any, number: Any) -> Any:
    """To float32."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        if number == f32:
            return args[0]
        word = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(args[0], word), word(16)), ir.FloatType())

    return types.float32(number), build


@_instruction
def _narrow(_context: Any, number: Any, kind: Any) -> Any:
    """From float32 to `kind`: to the nearest, the even one of two."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        if kind.dtype == f32:
            return args[0]
        word = ir.IntType(32)
        bits = builder.bitcast(args[0], word)
        odd = builder.and_(builder.lshr(bits, word(16)), word(1))
        rounded = builder.add(bits, builder.add(odd, word(0x7FFF)))
        # Rounding would make an infinity of some bits that are no number: those keep their upper half.
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        rounded = builder.select(nan, builder.or_(bits, word(0x400000)), rounded)
        return builder.trunc(builder.lshr(rounded, word(16)), ir.IntType(16))

    return kind.dtype(types.float32, kind), build


@_instruction
def _at(_context: Any, address: Any, kind: Any) -> Any:
    """An address as a pointer to `kind`."""
    signature = pointer_to(kind.dtype)(types.intp, kind)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, build


@_instruction
def _size(_context: Any, kind: Any) -> Any:
    """Bytes of one `kind`."""

    def build(_: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return ir.Constant(ir.IntType(64), kind.dtype.bitwidth // 8)

    return types.int64(kind), build


@_compiled(_ORDERED, inline="always")
def _exp(x: Any) -> Any:
    """e^x within 2 units of the last place, of -87 below it and of 88 above it; in plain arithmetic, so that loops are vectorised
    without a library for it. The polynomial is Cephes' (Moshier 1989)."""
    x = min(max(x, f(-87.0)), f(88.0))
    whole = np.floor(x * f(1.4426950408889634) + f(0.5))
    rest = x - whole * f(0.693359375)
    rest = rest + whole * f(2.12194440e-4)
    power = f(1.9875691500e-4)
    power = power * rest + f(1.3981999507e-3)
    power = power * rest + f(8.3334519073e-3)
    power = power * rest + f(4.1665795894e-2)
    power = power * rest + f(1.6666665459e-1)
    power = power * rest + f(5.0000001201e-1)
    power = power * (rest * rest) + rest + f(1.0)
    return power * _bits_to_float((np.int32(whole) + np.int32(127)) << np.int32(23))


# -- panels -------------------------------------------------------------------------------------------------------


def _panel(rows: int, vectors: int) -> Any:
    """c[r, j] = Σ a[r, i] · b[i, j] for `rows` rows and `vectors` · LANES columns, with every sum in a register of its own
    and in the order of i. Written as LLVM instructions because no compiler makes them of loops over memory that may
    overlap. `b` is of `kind`, `a` and `c` are float32; strides count numbers. Not `fresh`: on top of what is in c."""

    @_instruction
    def panel(_context: Any, a: Any, a_stride: Any, b: Any, b_stride: Any, c: Any, c_stride: Any, count: Any,
        fresh: Any, kind: Any) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            _emit_panel(builder, args[:8], rows, vectors, half=kind.dtype == u16)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7, types.boolean, kind), build

    return panel


def _emit_panel(builder: Any, args: Any, rows: int, vectors: int, *, half: bool) -> None:
    a, a_stride, b, b_stride, c, c_stride, count, fresh = args
    number, word, index = ir.FloatType(), ir.IntType(32), a.type
    vector, words = ir.VectorType(number, LANES), ir.VectorType(word, LANES)
    loaded = ir.VectorType(ir.IntType(16), LANES) if half else vector
    b_bytes = 2 if half else 4
    fma = declared(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32")

    def load(base: Any, offset: Any, size: int, kind: Any) -> Any:
        address = builder.add(base, builder.mul(offset, index(size)))
        value = builder.load(builder.inttoptr(address, kind.as_pointer()))
        value.align = size
        return value

    def everywhere(value: Any) -> Any:
        empty = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(empty, value, word(0))
        return builder.shuffle_vector(first, empty, ir.Constant(words, [0] * LANES))

    places = [
        [builder.add(builder.mul(index(row), c_stride), index(v * LANES)) for v in range(vectors)]
        for row in range(rows)
    ]
    zero = ir.Constant(vector, [0.0] * LANES)
    begin = [[builder.select(fresh, zero, load(c, place, 4, vector)) for place in row] for row in places]
    before, loop, after = (
        builder.block,
        builder.append_basic_block("panel"),
        builder.append_basic_block("panel.end"),
    )
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(index)
    step.add_incoming(index(0), before)
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    columns = []
    for v in range(vectors):
        value = load(b, builder.add(builder.mul(step, b_stride), index(v * LANES)), b_bytes, loaded)
        if half:
            value = builder.bitcast(
                builder.shl(builder.zext(value, words), ir.Constant(words, [16] * LANES)), vector
            )
        columns.append(value)
    results = []
    for row in range(rows):
        factor = everywhere(load(a, builder.add(builder.mul(index(row), a_stride), step), 4, number))
        results.append([builder.call(fma, [factor, columns[v], sums[row][v]]) for v in range(vectors)])
        for v in range(vectors):
            sums[row][v].add_incoming(begin[row][v], before)
            sums[row][v].add_incoming(results[row][v], loop)
    following = builder.add(step, index(1))
    step.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    for row in range(rows):
        for v in range(vectors):
            address = builder.add(c, builder.mul(places[row][v], index(4)))
            builder.store(results[row][v], builder.inttoptr(address, vector.as_pointer())).align = 4


_four_wide, _one_wide, _four_narrow, _one_narrow = _panel(4, 4), _panel(1, 4), _panel(4, 1), _panel(1, 1)


@_compiled(_ORDERED)
def _product(kind: Any, a: int, a_stride: int, b: int, b_stride: int, c: int, c_stride: int, rows: int, columns:
    int, count: int, fresh: bool) -> None:  # fmt: skip
    """The panels over `rows` and `columns`, a multiple of LANES. `c` may be read even where it is `fresh`."""
    row = 0
    while row < rows:
        four = row + 4 <= rows
        a_row, c_row = a + row * a_stride * 4, c + row * c_stride * 4
        column = 0
        while column < columns:
            b_at, c_at = b + column * _size(kind), c_row + column * 4
            if column + WIDE <= columns:
                if four:
                    _four_wide(a_row, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
                else:
                    _one_wide(a_row, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
                column += WIDE
            else:
                if four:
                    _four_narrow(a_row, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
                else:
                    _one_narrow(a_row, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
                column += LANES
        row += 4 if four else 1


# -- rows ---------------------------------------------------------------------------------------------------------


@_compiled(_ANY_ORDER)
def _squares(x: Any, size: int) -> Any:
    total = f(0)
    for i in range(size):
        total += x[i] * x[i]
    return total


@_compiled(_ORDERED)
def _add_and_normalise(act: Any, x_at: int, y_at: int, gain_at: int, h_at: int, rows: int, size: int, eps:
    float) -> None:  # fmt: skip
    gain = carray(_at(gain_at, f32), (size,))
    for row in range(rows):
        x = carray(_at(x_at + row * size * 4, f32), (size,))
        if y_at != 0:
            y = carray(_at(y_at + row * size * _size(act), act), (size,))
            for i in range(size):
                x[i] = x[i] + _widen(y[i])
        factor = f(1) / np.sqrt(_squares(x, size) + f(eps))
        h = carray(_at(h_at + row * size * _size(act), act), (size,))
        for i in range(size):
            h[i] = _narrow(x[i] * factor * gain[i], act)


@_compiled(_ORDERED)
def _gated(act: Any, gate_up_at: int, out_at: int, rows: int, size: int) -> None:
    for row in range(rows):
        gate = carray(_at(gate_up_at + 2 * row * size * _size(act), act), (size,))
        up = carray(_at(gate_up_at + (2 * row + 1) * size * _size(act), act), (size,))
        out = carray(_at(out_at + row * size * _size(act), act), (size,))
        for i in range(size):
            x = _widen(gate[i])
            out[i] = _narrow(x / (f(1) + _exp(-x)) * _widen(up[i]), act)


# -- attention ----------------------------------------------------------------------------------------------------


@_compiled(_ANY_ORDER)
def _largest(at: int) -> Any:
    scores = carray(_at(at, f32), (TILE,))
    largest = scores[0]
    for i in range(TILE):
        largest = max(largest, scores[i])
    return largest


@_compiled(_ANY_ORDER)
def _sum(at: int) -> Any:
    """Of one tile; tiles are added up in their order, so that a tile of zeros behind them changes nothing."""
    weights = carray(_at(at, f32), (TILE,))
    total = f(0)
    for i in range(TILE):
        total += weights[i]
    return total


@_compiled(_ORDERED)
def _exponentials(at: int, largest: Any) -> None:
    scores = carray(_at(at, f32), (TILE,))
    for i in range(TILE):
        scores[i] = _exp(scores[i] - largest)


@_compiled(_ORDERED)
def _fill(at: int, begin: int, end: int, value: Any) -> None:
    scores = carray(_at(at, f32), (end,))
    for i in range(begin, end):
        scores[i] = value


@_compiled(_ORDERED)
def _softmax(at: int, seen: int, length: int) -> Any:
    """Weights of the first `seen` positions in place, zeros behind them up to `length`; returns what to scale the mix by."""
    tiles = (seen + TILE - 1) // TILE
    _fill(at, seen, tiles * TILE, f(-1e30))
    largest = f(-1e30)
    for tile in range(tiles):
        largest = max(largest, _largest(at + tile * TILE * 4))
    for tile in range(tiles):
        _exponentials(at + tile * TILE * 4, largest)
    _fill(at, seen, length, f(0))
    total = f(0)
    for tile in range(tiles):
        total = total + _sum(at + tile * TILE * 4)
    return f(1) / total


@_compiled(_ORDERED)
def _turn(act: Any, from_at: int, gain_at: int, turns_at: int, scale: float, eps: float, to_at: int, stride:
    int, size: int, to_kind: Any) -> None:  # fmt: skip
    """One head's row, normalised if there is a gain, turned by its position, to numbers that stand `stride` apart."""
    x = carray(_at(from_at, act), (size,))
    turns = carray(_at(turns_at, f32), (size,))
    to = carray(_at(to_at, to_kind), (size * stride,))
    factor = f(scale)
    if gain_at != 0:
        gain = carray(_at(gain_at, f32), (size,))
        squares = f(0)
        for i in range(size):
            squares += _widen(x[i]) * _widen(x[i])
        factor = factor / np.sqrt(squares + f(eps))
        for i in range(size // 2):
            a, b = _widen(x[2 * i]) * factor * gain[2 * i], _widen(x[2 * i + 1]) * factor * gain[2 * i + 1]
            to[2 * i * stride] = _narrow(a * turns[2 * i] - b * turns[2 * i + 1], to_kind)
            to[(2 * i + 1) * stride] = _narrow(a * turns[2 * i + 1] + b * turns[2 * i], to_kind)
    else:
        for i in range(size // 2):
            a, b = _widen(x[2 * i]) * factor, _widen(x[2 * i + 1]) * factor
            to[2 * i * stride] = _narrow(a * turns[2 * i] - b * turns[2 * i + 1], to_kind)
            to[(2 * i + 1) * stride] = _narrow(a * turns[2 * i + 1] + b * turns[2 * i], to_kind)


@_compiled(_ORDERED)
def _attended(act: Any, kv: Any, qkv_at: int, out_at: int, cache_at: int, tiles: int, turns_at: int, gain_at:
    int, scratch_at: int, start: int, rows: int, heads: int, kv_heads: int, size: int, eps: float, first: int, stop:
    int) -> None:  # fmt: skip
    group, wide = heads // kv_heads, (heads + 2 * kv_heads) * size
    scale = 1.0 / np.sqrt(np.float64(size))
    padded = (size + LANES - 1) // LANES * LANES
    tile_bytes = padded * TILE * _size(kv)
    for head in range(first, stop):
        keys = cache_at + 2 * head * tiles * tile_bytes
        values = keys + tiles * tile_bytes
        gain = gain_at + (heads + head) * size * 4 if gain_at != 0 else 0
        for row in range(rows):
            tile, place = (start + row) // TILE, (start + row) % TILE
            line = qkv_at + row * wide * _size(act)
            _turn(act, line + (heads + head) * size * _size(act), gain, turns_at + (start + row) * size * 4, 1.0, eps,
                  keys + tile * tile_bytes + place * _size(kv), TILE, size, kv)  # fmt: skip
            value = carray(_at(line + (heads + kv_heads + head) * size * _size(act), act), (size,))
            kept = carray(_at(values + tile * tile_bytes + place * padded * _size(kv), kv), (size,))
            for i in range(size):
                kept[i] = _narrow(_widen(value[i]), kv)
        for begin in range(0, rows, CHUNK):
            _chunk(act, kv, qkv_at, out_at, keys, values, turns_at, gain_at, scratch_at, start, begin, min(rows, begin + CHUNK),
                   heads, group, wide, size, scale, eps, head)  # fmt: skip


@_compiled(_ORDERED)
def _chunk(act: Any, kv: Any, qkv_at: int, out_at: int, keys: int, values: int, turns_at: int, gain_at: int,
    scratch_at: int, start: int, begin: int, end: int, heads: int, group: int, wide: int, size: int, scale: float,
    eps: float, head: int) -> None:  # fmt: skip
    """Rows `begin` … `end` of one key head, which all positions up to the last of them are in the cache for."""
    seen, queries = start + end, (end - begin) * group
    tiles = (seen + TILE - 1) // TILE
    # A few numbers more than whole tiles: rows that are a power of two apart would share a place in the processor's cache.
    length, padded = tiles * TILE + 16, (size + LANES - 1) // LANES * LANES
    tile_bytes = padded * TILE * _size(kv)
    query_at = scratch_at
    mixed_at = query_at + queries * size * 4
    factors_at = mixed_at + queries * padded * 4
    scores_at = factors_at + queries * 4
    for query in range(queries):
        row, member = begin + query // group, head * group + query % group
        gain = gain_at + member * size * 4 if gain_at != 0 else 0
        _turn(act, qkv_at + (row * wide + member * size) * _size(act), gain, turns_at + (start + row) * size * 4, scale, eps,
              query_at + query * size * 4, 1, size, f32)  # fmt: skip
    for tile in range(tiles):
        _product(kv, query_at, size, keys + tile * tile_bytes, TILE, scores_at + tile * TILE * 4, length,
            queries, TILE, size, True)  # fmt: skip
    factors = carray(_at(factors_at, f32), (queries,))
    for query in range(queries):
        factors[query] = _softmax(
            scores_at + query * length * 4, start + begin + query // group + 1, tiles * TILE
        )
    for tile in range(tiles):
        # Not behind the last position: what lies there may be no number, and 0 × NaN is NaN.
        count = min(TILE, seen - tile * TILE)
        _product(kv, scores_at + tile * TILE * 4, length, values + tile * tile_bytes, padded, mixed_at, padded,
            queries, padded, count, tile == 0)  # fmt: skip
    for query in range(queries):
        member = (begin + query // group) * heads + head * group + query % group
        out = carray(_at(out_at + member * size * _size(act), act), (size,))
        mixed = carray(_at(mixed_at + query * padded * 4, f32), (size,))
        for i in range(size):
            out[i] = _narrow(mixed[i] * factors[query], act)


# -- entries ------------------------------------------------------------------------------------------------------


@_entry
def add_and_normalise_bf16(x: int, y: int, gain: int, h: int, rows: int, size: int, eps: float) -> None:
    _add_and_normalise(u16, x, y, gain, h, rows, size, eps)


@_entry
def add_and_normalise_f32(x: int, y: int, gain: int, h: int, rows: int, size: int, eps: float) -> None:
    _add_and_normalise(f32, x, y, gain, h, rows, size, eps)


@_entry
def gated_bf16(gate_up: int, out: int, rows: int, size: int) -> None:
    _gated(u16, gate_up, out, rows, size)


@_entry
def gated_f32(gate_up: int, out: int, rows: int, size: int) -> None:
    _gated(f32, gate_up, out, rows, size)


@_entry
def attend_bf16(qkv: int, out: int, cache: int, tiles: int, turns: int, gain: int, scratch: int, start: int,
    rows: int, heads: int, kv_heads: int, size: int, eps: float, first: int, stop: int) -> None:  # fmt: skip
    _attended(u16, u16, qkv, out, cache, tiles, turns, gain, scratch, start, rows, heads, kv_heads, size, eps,
        first, stop)  # fmt: skip


@_entry
def attend_f32(qkv: int, out: int, cache: int, tiles: int, turns: int, gain: int, scratch: int, start: int,
    rows: int, heads: int, kv_heads: int, size: int, eps: float, first: int, stop: int) -> None:  # fmt: skip
    _attended(f32, f32, qkv, out, cache, tiles, turns, gain, scratch, start, rows, heads, kv_heads, size, eps,
        first, stop)  # fmt: skip


@_entry
def attend_f32_over_bf16(qkv: int, out: int, cache: int, tiles: int, turns: int, gain: int, scratch: int, start:
    int, rows: int, heads: int, kv_heads: int, size: int, eps: float, first: int, stop: int) -> None:  # fmt: skip
    _attended(f32, u16, qkv, out, cache, tiles, turns, gain, scratch, start, rows, heads, kv_heads, size, eps,
        first, stop)  # fmt: skip
