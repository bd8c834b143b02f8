"""Products with a matrix of a few rows at most, at the speed of the processor. Knows no model."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from chatapp.engine.backends.decoder.kernels.compiling import (
    LANES,
    ORDERED,
    PAIRS,
    compiled,
    declared,
    instruction,
)
from chatapp.engine.backends.decoder.kernels.numbers import (
    FIRST_CACHE,
    at,
    carray,
    emit_fetch,
    f32,
    size_of,
    u16,
)

LINE_BYTES = 64
AHEAD_BYTES = 1 << 14
"""How far in front of a panel memory is asked for. Of 4 to 64 KiB this was the fastest for one row and for eight, by up to a
fifth, with matrices that come from memory; with those in a cache they differ little."""


def _panel(rows: int, vectors: int) -> Any:
    """c[r, j] = Σ a[r, i] · b[i, j] for `rows` rows and `vectors` · LANES columns, with every sum in a register of its own
    and in the order of i. Written as LLVM instructions because no compiler makes them of loops over memory that may
    overlap. `a` and `b` are of `kind`, `c` is float32; strides count numbers. Not `fresh`: on top of what is in c.

    Of bfloat16 the i are taken in twos: `b` is `[count / 2, columns, 2]`, `count` and `a_stride` are even, and an
    instruction of its own multiplies such pairs where the processor has it.
    """

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
    # What is read of a row at a time: a number, or a pair of two bytes each.
    read, read_by_lane = (word, words) if half else (number, vector)
    multiply_add = _pairs_multiplied(builder) if half else _numbers_multiplied(builder)

    def load(base: Any, offset: Any, kind: Any) -> Any:
        address = builder.add(base, builder.mul(offset, index(4)))
        value = builder.load(builder.inttoptr(address, kind.as_pointer()))
        value.align = 4
        return value

    def everywhere(value: Any) -> Any:
        empty = ir.Constant(read_by_lane, ir.Undefined)
        first = builder.insert_element(empty, value, word(0))
        return builder.shuffle_vector(first, empty, ir.Constant(words, [0] * LANES))

    if half:
        count, a_stride = builder.sdiv(count, index(2)), builder.sdiv(a_stride, index(2))
    places = [
        [builder.add(builder.mul(index(row), c_stride), index(v * LANES)) for v in range(vectors)]
        for row in range(rows)
    ]
    zero = ir.Constant(vector, [0.0] * LANES)
    begin = [[builder.select(fresh, zero, load(c, place, vector)) for place in row] for row in places]
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
    row_of_b = builder.mul(step, b_stride)
    soon = builder.add(b, builder.add(builder.mul(row_of_b, index(4)), index(AHEAD_BYTES)))
    for line in range(-(-vectors * LANES * 4 // LINE_BYTES)):
        emit_fetch(builder, builder.add(soon, index(line * LINE_BYTES)), FIRST_CACHE)
    columns = [load(b, builder.add(row_of_b, index(v * LANES)), read_by_lane) for v in range(vectors)]
    results = []
    for row in range(rows):
        factor = load(a, builder.add(builder.mul(index(row), a_stride), step), read)
        results.append(multiply_add(everywhere(factor), columns, sums[row]))
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


def _numbers_multiplied(builder: Any) -> Any:
    vector = ir.VectorType(ir.FloatType(), LANES)
    fma = declared(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32")

    def multiplied(factor: Any, columns: list[Any], sums: list[Any]) -> list[Any]:
        return [
            builder.call(fma, [factor, column, total]) for column, total in zip(columns, sums, strict=True)
        ]

    return multiplied


def _pairs_multiplied(builder: Any) -> Any:
    vector, words = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
    if PAIRS:
        pairs = ir.VectorType(_BFloat(), 2 * LANES)
        dot = declared(
            builder.module,
            ir.FunctionType(vector, [vector, pairs, pairs]),
            "llvm.x86.avx512bf16.dpbf16ps.512",
        )

        def in_one(factor: Any, columns: list[Any], sums: list[Any]) -> list[Any]:
            twice = builder.bitcast(factor, pairs)
            return [
                builder.call(dot, [total, twice, builder.bitcast(column, pairs)])
                for column, total in zip(columns, sums, strict=True)
            ]

        return in_one
    by_number = _numbers_multiplied(builder)
    upper, shift = ir.Constant(words, [0xFFFF0000] * LANES), ir.Constant(words, [16] * LANES)

    def second(both: Any) -> Any:
        return builder.bitcast(builder.and_(both, upper), vector)

    def first(both: Any) -> Any:
        return builder.bitcast(builder.shl(both, shift), vector)

    def one_by_one(factor: Any, columns: list[Any], sums: list[Any]) -> list[Any]:
        sums = by_number(first(factor), [first(column) for column in columns], sums)
        return by_number(second(factor), [second(column) for column in columns], sums)  # type: ignore[no-any-return] # untyped

    return one_by_one


class _BFloat(ir.Type):  # type: ignore[misc] # untyped
    """LLVM's type, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


# With vectors of 512 bits a processor has 32 registers for them, else 16.
MANY = LANES == 16
_WIDEST, _WIDE, _SLIM = 8, 4 if MANY else 2, 2
_EIGHT_SLIM = _panel(8, _SLIM)
"""Matrices that come from memory are read once for eight rows: a tenth faster than twice for four."""
_FOUR_WIDE, _THREE_WIDE, _TWO_WIDE = _panel(4, _WIDE), _panel(3, _WIDE), _panel(2, _WIDE)
_ONE_WIDEST, _ONE_WIDE = _panel(1, _WIDEST), _panel(1, _WIDE)
_FOUR_NARROW, _ONE_NARROW = _panel(4, 1), _panel(1, 1)
STRIP = _WIDEST * LANES
"""Columns of a matrix that lie together: as many sums as the processor has begun at a time for one row."""


@compiled(ORDERED)
def product(kind: Any, a: int, a_stride: int, b: int, b_stride: int, c: int, c_stride: int, rows: int, columns:
    int, count: int, fresh: bool) -> None:  # fmt: skip
    """The panels over `rows` and `columns`, a multiple of LANES. `c` may be read even where it is `fresh`."""
    row, slim = 0, _SLIM * LANES
    while MANY and row + 8 <= rows and columns % slim == 0:
        a_row, c_row = a + row * a_stride * size_of(kind), c + row * c_stride * 4
        for column in range(0, columns, slim):
            _EIGHT_SLIM(
                a_row, a_stride, b + column * 4, b_stride, c_row + column * 4, c_stride, count, fresh, kind
            )
        row += 8
    while row < rows:
        together = min(rows - row, 4)
        a_row, c_row = a + row * a_stride * size_of(kind), c + row * c_stride * 4
        _few(kind, a_row, a_stride, b, b_stride, c_row, c_stride, together, columns, count, fresh)
        row += together


@compiled(ORDERED)
def _few(kind: Any, a: int, a_stride: int, b: int, b_stride: int, c: int, c_stride: int, rows: int, columns: int, count:
    int, fresh: bool) -> None:  # fmt: skip
    """`product` for 1 … 4 rows."""
    column, wide = 0, _WIDE * LANES
    while column < columns:
        b_at, c_at = b + column * 4, c + column * 4
        if rows == 1 and column + STRIP <= columns:
            _ONE_WIDEST(a, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
            column += STRIP
        elif column + wide <= columns:
            if rows == 4:
                _FOUR_WIDE(a, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
            elif rows == 3:
                _THREE_WIDE(a, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
            elif rows == 2:
                _TWO_WIDE(a, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
            else:
                _ONE_WIDE(a, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
            column += wide
        else:
            if rows == 4:
                _FOUR_NARROW(a, a_stride, b_at, b_stride, c_at, c_stride, count, fresh, kind)
            else:
                for row in range(rows):
                    a_row, c_row = a + row * a_stride * size_of(kind), c_at + row * c_stride * 4
                    _ONE_NARROW(a_row, a_stride, b_at, b_stride, c_row, c_stride, count, fresh, kind)
            column += LANES


@compiled(ORDERED)
def matrix_product(kind: Any, a: int, count: int, b: int, bias_at: int, c: int, columns: int, rows: int, first: int, stop:
    int) -> None:  # fmt: skip
    """c = a · b + bias (address 0: none) for the strips `first` … `stop` of a matrix, `columns` of it a multiple of LANES.
    `a` is `[rows, count]`, `c` `[rows, columns]`; `b` lies strip by strip, each `[count, STRIP]`, in pairs where it is
    bfloat16, and the last as wide as it is."""
    for strip in range(first, stop):
        column = strip * STRIP
        wide = min(STRIP, columns - column)
        if bias_at != 0:
            bias = carray(at(bias_at, f32), (columns,))
            for row in range(rows):
                line = carray(at(c + row * columns * 4, f32), (columns,))
                for i in range(column, column + wide):
                    line[i] = bias[i]
        product(
            kind, a, count, b + column * count * size_of(kind), wide, c + column * 4, columns, rows, wide, count, bias_at == 0
        )  # fmt: skip
