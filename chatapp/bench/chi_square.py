"""Pearson's chi-square test without a statistics library."""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST_EXPECTATION = 5.0
"""Cells of a smaller expectation are pooled: the statistic is only then distributed as it should be."""


def chi_square_p(observed: Sequence[float], expected: Sequence[float], *, constraints: int = 1) -> float:
    """The chance of a deviation at least this large.

    `constraints` is the number of totals that observed and expected share. Any count where nothing is expected gives 0.
    """
    statistic, cells, rest_observed, rest_expected = 0.0, 0, 0.0, 0.0
    for seen, awaited in zip(observed, expected, strict=True):
        if awaited == 0.0:
            if seen:
                return 0.0
        elif awaited < SMALLEST_EXPECTATION:
            rest_observed, rest_expected = rest_observed + seen, rest_expected + awaited
        else:
            statistic, cells = statistic + (seen - awaited) ** 2 / awaited, cells + 1
    if rest_expected:
        statistic, cells = statistic + (rest_observed - rest_expected) ** 2 / rest_expected, cells + 1
    freedom = cells - constraints
    if freedom > 0:
        return upper_gamma(freedom / 2, statistic / 2)
    # Without freedom the totals settle every cell: any deviation is impossible, however small the sample.
    return 1.0 if statistic < 1e-9 else 0.0


def upper_gamma(a: float, x: float) -> float:
    """Regularised upper incomplete gamma function Q(a, x), a > 0, x ≥ 0, to about 1e-12.

    Source: DLMF 8.7.1 (series of P = 1 − Q) below x = a + 1, 8.9.2 (continued fraction, by Lentz's method) above.
    """
    if x <= 0.0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = whole = 1.0 / a
        n = a
        while term > whole * 1e-16:
            n += 1.0
            term *= x / n
            whole += term
        return max(1.0 - whole * scale, 0.0)
    b = x + 1.0 - a
    c, d = 1e300, 1.0 / b
    fraction = d
    for i in range(1, 10_000):
        step = i * (a - i)
        b += 2.0
        d = 1.0 / (b + step * d)
        c = b + step / c
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return scale * fraction
