"""Products with a matrix of a few rows at most, at the speed of the processor. Knows no model."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from chatapp.engine.backends.decoder.kernels.compiling import LANES, ORDERED, compiled, instruction
from chatapp.engine.backends.decoder.kernels.numbers import size_of, u16

WIDE = 4 * LANES
"""Columns that the wide panels compute at once."""
LINE_BYTES = 64
AHEAD_BYTES = 1 << 13
"""How far in front of a wide panel memory is asked for. A pass over 4,096 positions took 0.5 ms a layer with it, 0.83 without."""
KEEP_ALL = 3
"""For the prefetch instruction: into the nearest cache."""
declared: Any = cgutils.get_or_insert_function


def _panel(rows: int, vectors: int) -> Any:
    """c[r, j] = Σ a[r, i] · b[i, j] for `rows` rows and `vectors` · LANES columns, with every sum in a register of its own
    and in the order of i. Written as LLVM instructions because no compiler makes them of loops over memory that may
    overlap. `b` is of `kind`, `a` and `c` are float32; strides count numbers. Not `fresh`: on top of what is in c."""

    @instruction
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

    fetch = declared(
        builder.module,
        ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word]),
        "llvm.prefetch.p0i8",
    )

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
    soon = builder.add(
        b, builder.add(builder.mul(builder.mul(step, b_stride), index(b_bytes)), index(AHEAD_BYTES))
    )
    for line in range(-(-vectors * LANES * b_bytes // LINE_BYTES)):
        address = builder.inttoptr(builder.add(soon, index(line * LINE_BYTES)), ir.IntType(8).as_pointer())
        builder.call(fetch, [address, word(0), word(KEEP_ALL), word(1)])
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


@compiled(ORDERED)
def product(kind: Any, a: int, a_stride: int, b: int, b_stride: int, c: int, c_stride: int, rows: int, columns:
    int, count: int, fresh: bool) -> None:  # fmt: skip
    """The panels over `rows` and `columns`, a multiple of LANES. `c` may be read even where it is `fresh`."""
    row = 0
    while row < rows:
        four = row + 4 <= rows
        a_row, c_row = a + row * a_stride * 4, c + row * c_stride * 4
        column = 0
        while column < columns:
            b_at, c_at = b + column * size_of(kind), c_row + column * 4
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


_STRIP = _panel(1, 8)
STRIP = 8 * LANES
"""Columns of a matrix that one row is multiplied with at once: as many sums as the processor has begun at a time."""


@compiled(ORDERED)
def row_product(kind: Any, a: int, b: int, c: int, columns: int, count: int) -> None:
    """c = a · b for one row of `count` numbers; `b` lies strip by strip, `[columns / STRIP, count, STRIP]` of `kind`."""
    for column in range(0, columns, STRIP):
        _STRIP(a, 0, b + column * count * size_of(kind), STRIP, c + column * 4, 0, count, True, kind)
