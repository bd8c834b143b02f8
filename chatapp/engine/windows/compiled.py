"""The adaptive window's arithmetic as machine code, to the bit what it is in Python, over records that are fields of one block of
memory.

Functions take addresses: numba unpacks those in a tenth of the time of arrays. In their arguments `c` are costs, `b` a belief,
`s` a source's calibration and `d` its drafts' cost.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba import types
from numba.extending import register_jitable
from numba.np.numpy_support import from_dtype

from chatapp.engine.backends.decoder.kernels.compiling import (
    AS_WRITTEN,
    entry,
    instruction,
    stamp_of_sources,
)
from chatapp.engine.windows import calibration, costs, deciding
from chatapp.engine.windows.arithmetic import Arithmetic, State
from chatapp.engine.windows.records import Belief, Calibration, Costs, DraftCost

F = TypeVar("F", bound=Callable[..., Any])
DTYPES = {float: np.float64, int: np.int64, bool: np.bool_}

for _module in (costs, calibration, deciding):
    for _function in _module.ARITHMETIC:
        register_jitable(_function)


def _dtype(kind: type[Any]) -> np.dtype[Any]:
    """A record's fields, one behind the other."""
    whole = kind()

    def of(value: Any) -> tuple[Any, ...]:
        return (DTYPES[type(value[0])], (len(value),)) if isinstance(value, list) else (DTYPES[type(value)],)

    return np.dtype([(one.name, *of(getattr(whole, one.name))) for one in fields(kind)], align=True)


def _record_at(kind: type[Any]) -> Any:
    """The instruction that takes an address for that of a record."""
    record = from_dtype(_dtype(kind))

    def build(_context: Any, _address: Any) -> Any:
        def cast(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(record))

        return record(types.intp), cast

    return instruction(build)


_costs, _belief, _calibration, _draft = (_record_at(kind) for kind in (Costs, Belief, Calibration, DraftCost))


def fresh(kind: type[Any]) -> State:
    """A record of this type as it begins."""
    whole, record = kind(), np.zeros(1, _dtype(kind))
    for one in fields(kind):
        record[one.name] = getattr(whole, one.name)

    told = record["told"][0] if "told" in record.dtype.names else record
    return State(record.ctypes.data, told.tobytes)  # which keeps the memory


def told(copied: bytes) -> Sequence[float]:
    """See `Arithmetic`."""
    numbers: list[float] = np.frombuffer(copied).tolist()
    return numbers


def _stamp() -> int:
    """See `kernels.compiling.stamp_of_sources`: what is kept on disk is of these files as they are now, and of records laid out
    as they are now, since their sizes come from elsewhere (`domain.request`)."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    layouts = repr([_dtype(kind) for kind in (Costs, Belief, Calibration, DraftCost)])
    return zlib.crc32(sources + layouts.encode(), stamp_of_sources())


def _entry(function: F) -> F:
    return entry(function, AS_WRITTEN)


def arithmetic() -> Arithmetic:
    """Compiled at once, or read from disk where that was done before."""
    stamp = _stamp()

    @_entry
    def plan(c: int, b: int, d: int, most: int, slept: int) -> int:
        _ = stamp
        return deciding.plan(_costs(c), _belief(b), _draft(d), most, slept)

    @_entry
    def nap(b: int) -> int:
        _ = stamp
        return deciding.nap(_belief(b))

    @_entry
    def more(c: int, b: int, s: int, d: int, drafted: int, confidence: float) -> bool:
        _ = stamp
        return deciding.more(_costs(c), _belief(b), _calibration(s), _draft(d), drafted, confidence)

    @_entry
    def observe(
        c: int, b: int, s: int, d: int, window: int, accepted: int, tested: int, last: float, draft_ns: float,
        verify_ns: float, host_ns: float,
    ) -> bool:  # fmt: skip
        _ = stamp
        return deciding.observe(
            _costs(c),
            _belief(b),
            _calibration(s),
            _draft(d),
            window,
            accepted,
            tested,
            last,
            draft_ns,
            verify_ns,
            host_ns,
        )

    @_entry
    def remember(b: int, place: int, confidence: float) -> None:
        _ = stamp
        deciding.remember(_belief(b), place, confidence)

    @_entry
    def learn(b: int, s: int, begin: int, end: int, accepted: int) -> None:
        _ = stamp
        deciding.learn(_belief(b), _calibration(s), begin, end, accepted)

    @_entry
    def settle(c: int, b: int, d: int, window: int, accepted: int, drafted: float) -> None:
        _ = stamp
        deciding.settle(_costs(c), _belief(b), _draft(d), window, accepted, drafted)

    @_entry
    def cost_of(d: int, count: int) -> float:
        _ = stamp
        return costs.cost_of(_draft(d), count)

    @_entry
    def observe_pass(c: int, window: int, took_ns: float) -> None:
        _ = stamp
        costs.observe_pass(_costs(c), window, took_ns)

    @_entry
    def observe_host(c: int, tokens: int, took_ns: float) -> None:
        _ = stamp
        costs.observe_host(_costs(c), tokens, took_ns)

    @_entry
    def observe_draft(c: int, d: int, count: int, others: float, took_ns: float) -> None:
        _ = stamp
        costs.observe_draft(_costs(c), _draft(d), count, others, took_ns)

    return Arithmetic(
        fresh=fresh,
        told=told,
        plan=plan,
        nap=nap,
        more=more,
        observe=observe,
        remember=remember,
        learn=learn,
        settle=settle,
        cost_of=cost_of,
        observe_pass=observe_pass,
        observe_host=observe_host,
        observe_draft=observe_draft,
    )
