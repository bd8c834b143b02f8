"""What is done with every logit of a long row before a token can be drawn, in one pass over it. Knows no model."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatapp.engine.backends.decoder.kernels.compiling import ANY_ORDER, ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import at, carray, exponential, f, f32

BLOCK = 512
"""As in `distribution`: short enough for float32 sums of 1e-7; over the blocks the sum is float64."""

STRETCH = 64
"""Numbers of a row that are written at once; a count that is known when it is compiled makes it three times as fast."""


@compiled(ANY_ORDER)
def _weigh_block(x: Any, out: Any, size: int, top: Any, temperature: Any) -> Any:
    total = f(0)
    for i in range(size):
        scaled = (x[i] - top) / temperature
        # Below, `exponential` stays where float32 ends: what is banned must weigh nothing.
        weight = exponential(scaled) if scaled > f(-87.0) else f(0)
        out[i] = weight
        total += weight
    return total


@compiled(ANY_ORDER)
def _block_mass(x: Any, size: int, top: Any) -> Any:
    total = f(0)
    for i in range(size):
        total += exponential(x[i] - top)
    return total


@compiled(ORDERED)
def weighed(scores_at: int, out_at: int, size: int, top: float, temperature: float) -> float:
    mass = 0.0
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        x = carray(at(scores_at + begin * 4, f32), (count,))
        out = carray(at(out_at + begin * 4, f32), (count,))
        mass += np.float64(_weigh_block(x, out, count, f(top), f(temperature)))
    return mass


@compiled(ORDERED)
def massed(scores_at: int, size: int, top: float) -> float:
    mass = 0.0
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        x = carray(at(scores_at + begin * 4, f32), (count,))
        mass += np.float64(_block_mass(x, count, f(top)))
    return mass


@compiled(ORDERED)
def turned(source_at: int, out_at: int, rows: int, columns: int) -> None:
    source = carray(at(source_at, f32), (columns, rows))
    out = carray(at(out_at, f32), (rows, columns))
    whole = columns // STRETCH * STRETCH
    for begin in range(0, whole, STRETCH):
        for row in range(rows):
            out_row = out[row]
            for place in range(STRETCH):
                out_row[begin + place] = source[begin + place, row]
    for column in range(whole, columns):
        for row in range(rows):
            out[row, column] = source[column, row]
