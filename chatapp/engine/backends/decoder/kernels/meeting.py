"""Where threads that compute one pass wait for one another. Knows nothing of what they compute."""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba import types

from chatapp.engine.backends.decoder.kernels.compiling import ORDERED, compiled, declared, instruction

MEETING_BYTES = 192
"""How many have arrived, and on lines of their own how often all have, and whether nobody is waited for any more."""
GIVEN_UP = 128
"""Where the last of these stands. What is computed then is worth nothing."""
LOOKS = 2000
"""After so many, some 20 to 100 µs, a thread lets others run: the one it waits for may be waiting for its core."""
_X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


@instruction
def _arrive(_context: Any, address: Any) -> Any:
    """One more; gives how many had arrived before."""

    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = ir.IntType(64)
        place = builder.inttoptr(args[0], number.as_pointer())
        return builder.atomic_rmw("add", place, number(1), "seq_cst")

    return types.int64(address), build


@instruction
def _read(_context: Any, address: Any) -> Any:
    def build(_: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(address), build


@instruction
def _write(_context: Any, address: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store_atomic(args[1], place, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(address, types.int64), build


@instruction
def _rest(_context: Any) -> Any:
    """Tells the processor that this thread only waits, so that the other one on its core runs faster."""

    def build(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), build


@instruction
def _let_others_run(_context: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        if sys.platform != "win32":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(declared(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), build


@compiled(ORDERED)
def meet(place: int, parts: int) -> None:
    """Returns when as many threads as there are parts have come here, or somebody gave up. They wait by looking: a part is a
    few microseconds, and waking a thread takes longer."""
    if parts == 1:
        return
    times = _read(place + 64)
    if _arrive(place) == parts - 1:
        _write(place, 0)
        _write(place + 64, times + 1)
    else:
        looks = 0
        while _read(place + 64) == times and _read(place + GIVEN_UP) == 0:
            looks += 1
            if looks < LOOKS:
                _rest()
            else:
                _let_others_run()
