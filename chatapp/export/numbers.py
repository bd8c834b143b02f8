"""Numbers as people read them, the same in every format. A number that does not exist is an en dash."""

from __future__ import annotations

import math

from chatapp.domain.metrics import Metrics

NOTHING = "–"


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    value = seconds * 1e3
    if value < 10:
        return f"{value:.2f} ms"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.2f} s" if value >= 1 else milliseconds(value)


def percent(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio * 100:.0f} %"


def plain(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def probability(value: float | None) -> str:
    """Three significant digits: 0.734, 0.00212, 1e-07."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3g}"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def metric_rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    """`(name, value, meaning)` of every number, in the order of the glossary."""
    return [
        ("TPOT", milliseconds(metrics.tpot_s), "time per output token after the first"),
        ("TTFT", seconds(metrics.ttft_s), "from submit to the first token"),
        ("Tokens/s", plain(metrics.tokens_per_s, 1), "decode speed, prefill left out"),
        ("Acceptance", percent(metrics.acceptance_rate), "accepted / drafted"),
        ("Tested acceptance", percent(metrics.tested_acceptance), "accepted / (accepted + rejected at test)"),
        (
            "Mean length",
            plain(metrics.mean_acceptance_length),
            "mean acceptance length: committed tokens per verify step",
        ),
        ("Tokens", f"{metrics.tokens:,}", "committed tokens"),
    ]
