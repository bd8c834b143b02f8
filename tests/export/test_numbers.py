"""How numbers read: times of small models keep the digits in which windows differ."""

from __future__ import annotations

import pytest

from chatapp.export import numbers as exported
from chatapp.ui import numbers as shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.000_284, "0.28 ms"), (0.00999, "9.99 ms"), (0.0206, "20.6 ms"), (None, "–")],
)
def test_a_time_reads_the_same_in_the_window_and_in_exports(seconds: float | None, words: str) -> None:
    assert shown.milliseconds(seconds) == exported.milliseconds(seconds) == words


def test_long_times_lose_the_digits_that_say_nothing() -> None:
    assert shown.milliseconds(12.34) == "12.3 s"
    assert exported.milliseconds(0.2371) == "237 ms"
    assert exported.seconds(12.34) == "12.34 s"
