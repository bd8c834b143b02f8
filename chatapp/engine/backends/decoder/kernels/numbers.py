"""Numbers as kernels see them: float32, and bfloat16 as the upper half of one (`u16`). Knows no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.np import numpy_support

from chatapp.engine.backends.decoder.kernels.compiling import ORDERED, compiled, declared, instruction

u16, i32, i64, f32, f64, f = (
    types.uint16, types.int32, types.int64, types.float32, types.float64, np.float32
)  # fmt: skip
carray: Any = numpy_support.carray
pointer_to: Any = types.CPointer
FIRST_CACHE, SECOND_CACHE = 3, 2
"""For `emit_fetch`."""


@instruction
def bits_to_float(_context: Any, bits: Any) -> Any:
    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), build


@instruction
def widen(_context: Any, number: Any) -> Any:
    """To float32."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        if number == f32:
            return args[0]
        word = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(args[0], word), word(16)), ir.FloatType())

    return types.float32(number), build


@instruction
def narrow(_context: Any, number: Any, kind: Any) -> Any:
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


@instruction
def at(_context: Any, address: Any, kind: Any) -> Any:
    """An address as a pointer to `kind`."""
    signature = pointer_to(kind.dtype)(types.intp, kind)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, build


@instruction
def size_of(_context: Any, kind: Any) -> Any:
    """Bytes of one `kind`."""

    def build(_: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return ir.Constant(ir.IntType(64), kind.dtype.bitwidth // 8)

    return types.int64(kind), build


@instruction
def multiply_add(_context: Any, one: Any, other: Any, added: Any) -> Any:
    """one · other + added, rounded once where the processor can, and in this order whatever the code around it allows."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = ir.FloatType()
        kind = ir.FunctionType(number, [number] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [number], kind), args)

    return types.float32(one, other, added), build


@instruction
def fetch_to_write(_context: Any, address: Any) -> Any:
    """Has the line of memory at an address brought near, since something will be written there soon."""

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(prefetch, [builder.inttoptr(args[0], pointer), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(address), build


def square_turner(side: int) -> Any:
    """`(source, source_step, out, out_step)`: a square of `side` (4, 8) float32 rows turned round, in registers; steps are
    bytes from one row to the next."""

    def turn(_context: Any, source: Any, source_step: Any, out: Any, out_step: Any) -> Any:
        return types.void(source, source_step, out, out_step), build

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        source, source_step, out, out_step = args
        row, word = ir.VectorType(ir.FloatType(), side), ir.IntType(64)

        def place(address: Any, step: Any, index: int) -> Any:
            return builder.inttoptr(builder.add(address, builder.mul(step, word(index))), row.as_pointer())

        def merged(one: Any, other: Any, first: int) -> Any:
            picked = [number for i in range(first, first + side // 2) for number in (i, i + side)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), side), picked)
            return builder.shuffle_vector(one, other, mask)

        rows = [builder.load(place(source, source_step, index), align=4) for index in range(side)]
        # Like the halves of a pack of cards, each card's numbers one by one, as often as `side` can be halved.
        for _ in range(side.bit_length() - 1):
            pairs = list(zip(rows[: side // 2], rows[side // 2 :], strict=True))
            rows = [merged(*pair, first) for pair in pairs for first in (0, side // 2)]
        for index, turned in enumerate(rows):
            builder.store(turned, place(out, out_step, index), align=4)
        return context.get_dummy_value()

    return instruction(turn)


@instruction
def bits_above(_context: Any, address: Any, least: Any) -> Any:
    """Of 64 float32 at an address, which are at least so large: a bit for each, the first the lowest."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        row, word = ir.VectorType(ir.FloatType(), 64), ir.IntType(64)
        numbers = builder.load(builder.inttoptr(args[0], row.as_pointer()), align=4)
        first = builder.insert_element(ir.Constant(row, ir.Undefined), args[1], ir.IntType(32)(0))
        all_lanes = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        border = builder.shuffle_vector(first, first, all_lanes)
        return builder.bitcast(builder.fcmp_ordered(">=", numbers, border), word)

    return types.int64(address, least), build


@instruction
def lowest_bit(_context: Any, bits: Any) -> Any:
    """Where the lowest bit that is set stands."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.int64(bits), build


@compiled(ORDERED, inline="always")
def exponential(x: Any) -> Any:
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
    return power * bits_to_float((np.int32(whole) + np.int32(127)) << np.int32(23))


@compiled(ORDERED, inline="always")
def power_of_two(x: Any, factor: Any, rest: Any) -> Any:
    """2^(x · (factor + rest)) within 2 units of the last place, for products of -126 … 0: `rest` is what `factor` is short of in
    float32. The polynomial is that of Cephes' exp2f (Moshier 1989)."""
    whole = np.floor(x * factor + f(0.5))
    part = multiply_add(x, rest, multiply_add(x, factor, -whole))
    power = f(1.535336188319500e-4)
    power = power * part + f(1.339887440266574e-3)
    power = power * part + f(9.618437357674640e-3)
    power = power * part + f(5.550332471162809e-2)
    power = power * part + f(2.402264791363012e-1)
    power = power * part + f(6.931472028550421e-1)
    power = power * part + f(1.0)
    return power * bits_to_float((np.int32(whole) + np.int32(127)) << np.int32(23))


def emit_fetch(builder: Any, address: Any, cache: int) -> None:
    """The instruction that asks for a line of memory."""
    word, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
    prefetch = declared(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(prefetch, [builder.inttoptr(address, pointer), word(0), word(cache), word(1)])


@instruction
def fetch(_context: Any, address: Any) -> Any:
    """Ask for the line of memory at `address`, which need not exist, into a cache that has room for many."""

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        emit_fetch(builder, args[0], SECOND_CACHE)
        return context.get_dummy_value()

    return types.void(types.intp), build
