"""Normalisation with the residual's sum in front, and the gate of the MLP, row by row. Knows no weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatapp.engine.backends.decoder.kernels.compiling import ANY_ORDER, ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import (
    at,
    carray,
    exponential,
    f,
    f32,
    narrow,
    size_of,
    widen,
)


@compiled(ANY_ORDER)
def _squares(x: Any, size: int) -> Any:
    total = f(0)
    for i in range(size):
        total += x[i] * x[i]
    return total


@compiled(ORDERED)
def add_and_normalise(act: Any, out: Any, x_at: int, y_at: int, y_stride: int, gain_at: int, h_at: int, rows: int, size:
    int, eps: float) -> None:  # fmt: skip
    """See `kernels.normalising`; `y` is of `act`, rows `y_stride` numbers apart, and `h` of `out`."""
    gain = carray(at(gain_at, f32), (size,))
    for row in range(rows):
        x = carray(at(x_at + row * size * 4, f32), (size,))
        if y_at != 0:
            y = carray(at(y_at + row * y_stride * size_of(act), act), (size,))
            for i in range(size):
                x[i] = x[i] + widen(y[i])
        factor = f(1) / np.sqrt(_squares(x, size) + f(eps))
        h = carray(at(h_at + row * size * size_of(out), out), (size,))
        for i in range(size):
            h[i] = narrow(x[i] * factor * gain[i], out)


@compiled(ORDERED)
def gated(act: Any, out_kind: Any, gate_up_at: int, stride: int, out_at: int, rows: int, size: int, first: int, stop:
    int) -> None:  # fmt: skip
    """See `kernels.gating`; numbers `first` … `stop` of each row, which are `stride` apart and of `act`, in `out_kind`."""
    for row in range(rows):
        gate = carray(at(gate_up_at + row * stride * size_of(act), act), (size,))
        up = carray(at(gate_up_at + (row * stride + size) * size_of(act), act), (size,))
        out = carray(at(out_at + row * size * size_of(out_kind), out_kind), (size,))
        for i in range(first, stop):
            x = widen(gate[i])
            out[i] = narrow(x / (f(1) + exponential(-x)) * widen(up[i]), out_kind)
