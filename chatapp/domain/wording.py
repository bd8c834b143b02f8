"""Words that the window and every export share, so that a decision reads the same wherever it is shown. Knows no format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chatapp.domain.events import StepCommitted, WindowChoice

_PROPOSERS = {"model": "draft model", "ngram": "n-gram look-up"}


def proposer(source: str) -> str:
    """Who proposed a draft. An unknown name is a stranger's drafter and stands as it is; empty where nobody knows."""
    return _PROPOSERS.get(source, source)


def replies_words(numbers: Sequence[int]) -> str:
    """Replies by number: `reply 2`, `replies 1, 2 and 4`."""
    if len(numbers) == 1:
        return f"reply {numbers[0]}"
    return f"replies {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def named_acceptor(name: str, *, lossless: bool) -> str:
    """An acceptor's name, with what it does to the text where it does something."""
    return name if lossless else f"{name} (lossy)"


def step_acceptor(step: StepCommitted) -> str:
    """The rule of one step; empty where the record does not say."""
    return named_acceptor(step.acceptor, lossless=step.lossless) if step.acceptor else ""


def estimates(choice: WindowChoice) -> str:
    """A policy's figures: `expected tokens 3.25, draft 2 ms`."""
    return ", ".join(_estimate(name, value) for name, value in choice.estimates)


def _estimate(name: str, value: float) -> str:
    words, unit = (name[:-3], " ms") if name.endswith("_ms") else (name, "")
    return f"{words.replace('_', ' ')} {value:.3g}{unit}"


def share_of_bandwidth(rate: float | None, bandwidth: float) -> float | None:
    """Bytes per second over what the memory gives; None where one of both is not known."""
    if rate is None or not (math.isfinite(bandwidth) and bandwidth > 0):
        return None
    return rate / bandwidth


def gauge(rate: float | None, bandwidth: float) -> str:
    """`41 % of 25.0 GB/s`; empty where nothing is known."""
    share = share_of_bandwidth(rate, bandwidth)
    return "" if share is None else f"{100 * share:.0f} % of {bandwidth / 1e9:.1f} GB/s"
