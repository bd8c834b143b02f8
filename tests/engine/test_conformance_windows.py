"""Window policies with faults do not pass the suite, each by the law it breaks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from chatapp.domain.events import WindowChoice
from chatapp.engine.windows.fixed import FixedWindow
from tests.helpers.conformance import (
    Nonconforming,
    check_window,
)


class ExceedsTheCap(FixedWindow):
    def plan(self, most: int) -> int:
        return super().plan(most) + 1


class PlansNothing(FixedWindow):
    def plan(self, most: int) -> int:
        return super().plan(most) - 1


class Breaks(FixedWindow):
    """Divides by a duration that may be 0."""

    def observe(self, outcome: Any) -> None:
        self._rate = outcome.window / outcome.verify_ns


class SaysNothing(FixedWindow):
    def choice(self) -> WindowChoice:
        return WindowChoice(self.name, " ")


class NamesAnother(FixedWindow):
    def choice(self) -> WindowChoice:
        return WindowChoice("adaptive", "because")


class NotANumber(FixedWindow):
    def choice(self) -> WindowChoice:
        return WindowChoice(self.name, "because", (("verify_ms", float("nan")),))


class Whimsical(FixedWindow):
    """Decides by something that it was not told: here a count that all instances share."""

    count = itertools.count()

    def plan(self, most: int) -> int:
        self._window = 1 + next(self.count) % most
        return self._window


class AnswersWithNumbers(FixedWindow):
    def more(self, drafted: int, confidence: float, source: str) -> bool:
        return confidence  # type: ignore[return-value]  # on purpose


@pytest.mark.parametrize(
    ("faulty", "law"),
    [
        (ExceedsTheCap, "of at most"),
        (PlansNothing, "of at most"),
        (SaysNothing, "has a reason"),
        (NamesAnother, "names 'adaptive'"),
        (NotANumber, "estimate 'verify_ms' is nan"),
        (Whimsical, "same story"),
        (AnswersWithNumbers, "`more` answered"),
    ],
)
def test_faulty_policies_are_seen(faulty: Callable[..., Any], law: str) -> None:
    with pytest.raises(Nonconforming, match=re.escape(law)):
        check_window(faulty)


def test_a_policy_that_raises_is_seen() -> None:
    with pytest.raises(ZeroDivisionError):
        check_window(Breaks)
