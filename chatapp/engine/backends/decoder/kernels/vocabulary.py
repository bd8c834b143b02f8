"""What is done with every logit of a long row before a token can be drawn, in one pass over it. Knows no model."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatapp.engine.backends.decoder.kernels.compiling import ANY_ORDER, ORDERED, compiled
from chatapp.engine.backends.decoder.kernels.numbers import (
    at,
    carray,
    f,
    f32,
    f64,
    fetch_to_write,
    power_of_two,
    square_turner,
)

BLOCK = 512
"""As in `distribution`: short enough for float32 sums of 1e-7; over the blocks the sum is float64."""
STRETCH = 16
"""Numbers of a row that are turned at once: a line of the processor's cache."""
AHEAD = 64
"""So many numbers before they are written their memory is asked for: a window's has gone cold since the last one."""


@compiled(ORDERED, inline="always")
def factors(temperature: float) -> Any:
    """log2(e) / temperature, what float32 falls short of it by, and the difference of logits below which a weight leaves
    float32's range."""
    exact = 1.4426950408889634 / temperature
    factor = f(exact)
    return factor, f(exact - np.float64(factor)), f(-126.0 / exact)


@compiled(ANY_ORDER)
def _weigh_block(x: Any, out: Any, size: int, top: Any, factor: Any, rest: Any, least: Any) -> Any:
    total = f(0)
    for i in range(size):
        below = x[i] - top
        within = below if below > least else least
        # What is banned must weigh nothing.
        weight = power_of_two(within, factor, rest) if below > least else f(0)
        out[i] = weight
        total += weight
    return total


@compiled(ANY_ORDER)
def mass_of_block(x: Any, size: int, top: Any, factor: Any, rest: Any, least: Any) -> Any:
    total = f(0)
    for i in range(size):
        below = x[i] - top
        below = below if below > least else least
        total += power_of_two(below, factor, rest)
    return total


@compiled(ORDERED)
def weighed(scores_at: int, out_at: int, sums_at: int, size: int, top: float, temperature: float) -> float:
    factor, rest, least = factors(temperature)
    mass = 0.0
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        x = carray(at(scores_at + begin * 4, f32), (count,))
        out = carray(at(out_at + begin * 4, f32), (count,))
        block = np.float64(_weigh_block(x, out, count, f(top), factor, rest, least))
        carray(at(sums_at + begin // BLOCK * 8, f64), (1,))[0] = block
        mass += block
    return mass


@compiled(ORDERED)
def massed(scores_at: int, size: int, top: float) -> float:
    factor, rest, least = factors(1.0)
    mass = 0.0
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        x = carray(at(scores_at + begin * 4, f32), (count,))
        mass += np.float64(mass_of_block(x, count, f(top), factor, rest, least))
    return mass


@compiled(ANY_ORDER)
def _remaining_block(target: Any, draft: Any, out: Any, size: int, factor: Any, masses: Any) -> Any:
    total = f(0)
    for i in range(size):
        rest = target[i] / masses[0] * factor - draft[i] / masses[1]
        rest = rest if rest > f(0) else f(0)
        out[i] = rest
        total += rest
    return total


@compiled(ORDERED)
def remaining(
    target_at: int, draft_at: int, out_at: int, sums_at: int, size: int, factor: float, target_mass: float, draft_mass: float
) -> float:  # fmt: skip
    mass = 0.0
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        target = carray(at(target_at + begin * 4, f32), (count,))
        draft = carray(at(draft_at + begin * 4, f32), (count,))
        out = carray(at(out_at + begin * 4, f32), (count,))
        masses = (f(target_mass), f(draft_mass))
        block = np.float64(_remaining_block(target, draft, out, count, f(factor), masses))
        carray(at(sums_at + begin // BLOCK * 8, f64), (1,))[0] = block
        mass += block
    return mass


def _turner(side: int) -> Any:
    """`turned` for at least `side` rows, by squares of so many. Where the last rows are fewer, some are turned once more: the same
    numbers to the same place."""
    turn_square = square_turner(side)

    @compiled(ORDERED)
    def turn(source_at: int, out_at: int, rows: int, columns: int) -> None:
        whole = columns // STRETCH * STRETCH
        for begin in range(0, whole, STRETCH):
            for group in range(0, rows, side):
                row = min(group, rows - side)
                for fetched in range(row, row + side):
                    fetch_to_write(out_at + (fetched * columns + begin + AHEAD) * 4)
                for column in range(begin, begin + STRETCH, side):
                    source, out = source_at + (column * rows + row) * 4, out_at + (row * columns + column) * 4
                    turn_square(source, rows * 4, out, columns * 4)
        left = carray(at(source_at, f32), (columns, rows))
        turned_left = carray(at(out_at, f32), (rows, columns))
        for column in range(whole, columns):
            for row in range(rows):
                turned_left[row, column] = left[column, row]

    return turn


_by_two, _by_four, _by_eight = _turner(2), _turner(4), _turner(8)


@compiled(ORDERED)
def turned(source_at: int, out_at: int, rows: int, columns: int) -> None:
    if rows >= 8:
        _by_eight(source_at, out_at, rows, columns)
    elif rows >= 4:
        _by_four(source_at, out_at, rows, columns)
    else:
        _by_two(source_at, out_at, rows, columns)
