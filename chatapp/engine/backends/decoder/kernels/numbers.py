"""Numbers as kernels see them: float32, and bfloat16 as the upper half of one (`u16`). Knows no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.np import numpy_support

from chatapp.engine.backends.decoder.kernels.compiling import ORDERED, compiled, instruction

u16, i32, i64, f32, f = types.uint16, types.int32, types.int64, types.float32, np.float32
carray: Any = numpy_support.carray
pointer_to: Any = types.CPointer


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
