"""How numbers read on screen: units, digits that stay put, dashes where no number exists. Standard library only."""

from __future__ import annotations

DASH = "–"


def milliseconds(seconds: float | None) -> str:
    """`42.1 ms`, `0.84 ms`; from ten seconds on `12.3 s`."""
    if seconds is None:
        return DASH
    if seconds >= 10:
        return f"{seconds:.1f} s"
    value = seconds * 1000
    if value < 10:
        return f"{value:.2f} ms"
    return f"{value:.1f} ms" if value < 1000 else f"{value:,.0f} ms"


def rate(per_second: float | None) -> str:
    return DASH if per_second is None else f"{per_second:.1f}"


def percent(fraction: float | None) -> str:
    return DASH if fraction is None else f"{100 * fraction:.1f} %"


def length(tokens: float | None) -> str:
    return DASH if tokens is None else f"{tokens:.2f}"


def probability(value: float | None) -> str:
    """Four digits, and never a 0 or a 1 that is none."""
    if value is None:
        return DASH
    if 0 < value < 0.0001:
        return "< 0.0001"
    if 0.9999 < value < 1:
        return "> 0.9999"
    return f"{value:.4f}"


def gibibytes(count: int | None) -> str:
    """`212.4 GiB`, `12 MiB` below a tenth of a GiB."""
    if count is None:
        return DASH
    return f"{count / (1 << 30):.1f} GiB" if count >= (1 << 30) / 10 else f"{count / (1 << 20):.0f} MiB"


def parameter_count(count: int) -> str:
    """`9.4 M`, `610 k`."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            value = count / size
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return str(count)
