"""Sides in turn, paired ratios and quantiles, on clocks made by hand."""

from __future__ import annotations

import pytest

from chatapp.bench.timing import MOST_REPEATS, SAMPLE_NS, in_turn_ms, paired_ratio, quantile, timed


def test_sides_take_turns_and_the_order_turns_too() -> None:
    calls: list[str] = []

    def side(name: str) -> int:
        calls.append(name)
        return SAMPLE_NS

    samples = in_turn_ms({name: lambda name=name: side(name) for name in "ab"}, rounds=3)  # type: ignore[misc]  # a default binds the name
    assert "".join(calls) == "aabb" + "ab" + "ba" + "ab"
    assert samples == {"a": [5.0, 5.0, 5.0], "b": [5.0, 5.0, 5.0]}


def test_short_calls_are_repeated_and_averaged() -> None:
    times = iter([SAMPLE_NS // 4] * 2 + [1_000_000, 2_000_000, 3_000_000, 2_000_000])
    assert in_turn_ms({"one": lambda: next(times)}, rounds=1) == {"one": [2.0]}


def test_a_call_that_takes_no_time_is_not_repeated_for_ever() -> None:
    calls = 0

    def nothing() -> int:
        nonlocal calls
        calls += 1
        return 0

    in_turn_ms({"one": nothing}, rounds=1)
    assert calls == 2 + MOST_REPEATS


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    # The machine slows to a third in round two; both sides of a round feel it alike.
    assert paired_ratio([2.0, 6.0, 2.2], [4.0, 12.0, 4.0]) == pytest.approx(0.5)


def test_quantiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert quantile(values, 0.5) == 51.0
    assert quantile(values, 0.99) == 100.0
    assert quantile([3.0], 0.99) == 3.0


def test_all_of_the_work_counts() -> None:
    done: list[int] = []
    assert timed(lambda: done.append(1))() > 0
    assert done == [1]
