"""How replies are summed up, against figures worked out by hand."""

from __future__ import annotations

import pytest

from chatapp.bench.measure import Cell, Reply, in_turn, measure_engine, speed_up
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from tests.helpers.toys import toy_engine


def reply(decode_ms: float, tokens: int, ttft_ms: float = 1.0) -> Reply:
    return Reply(int(ttft_ms * 1e6), int(decode_ms * 1e6), tokens, ())


def test_tpot_is_a_sum_over_prompts_and_a_median_over_rounds() -> None:
    cell = Cell(
        [[reply(10, 10), reply(30, 10)], [reply(90, 10), reply(10, 10)], [reply(20, 10), reply(40, 10)]]
    )
    assert cell.tpot_ms(0) == pytest.approx(2.0)
    assert cell.tpot_ms(1) == pytest.approx(5.0)
    assert cell.tpot_ms() == pytest.approx(3.0)


def test_speed_up_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine is twice as slow in round two; both sides of a round feel it alike.
    fast = Cell([[reply(10, 10)], [reply(20, 10)], [reply(10, 10)]])
    slow = Cell([[reply(30, 10)], [reply(60, 10)], [reply(10, 10)]])
    assert speed_up(fast, slow) == pytest.approx(3.0)


def test_a_reply_of_one_token_has_no_tpot() -> None:
    cell = Cell([[reply(0, 0)]])
    assert cell.tpot_ms() is None
    assert speed_up(cell, cell) is None


def test_sides_answer_in_turn_in_another_order_each_time_and_the_first_round_is_thrown_away() -> None:
    calls: list[tuple[str, int]] = []

    def side(name: str) -> Reply:
        return reply(len(calls), 1)

    def one(index: int) -> Reply:
        calls.append(("one", index))
        return side("one")

    def two(index: int) -> Reply:
        calls.append(("two", index))
        return side("two")

    cells = in_turn([one, two], prompts=2, rounds=2)
    turns = [calls[begin : begin + 2] for begin in range(0, len(calls), 2)]
    assert [sorted(turn) for turn in turns] == [[("one", prompt), ("two", prompt)] for prompt in (0, 1)] * 3
    assert {turn[0][0] for turn in turns} == {"one", "two"}
    first, calls = calls, []
    in_turn([one, two], prompts=2, rounds=2)
    assert calls == first, "the same in every run"
    assert [len(cell.rounds) for cell in cells] == [2, 2]
    assert cells[0].rounds[0][0].decode_ns == int(1e6 * (5 + turns[2].index(("one", 0)))), (
        "the fifth reply or the sixth"
    )


def test_every_measured_reply_starts_from_cold_caches() -> None:
    engine = toy_engine()
    sampling = SamplingSettings(temperature=0.0, max_tokens=12)
    request = GenerationRequest((Message(Role.USER, "hello there"),), sampling)
    first = measure_engine(engine, request)
    prefilled = sum(count for _, count in engine.pair.target.model.calls)  # type: ignore[attr-defined]  # a toy model
    second = measure_engine(engine, request)
    again = sum(count for _, count in engine.pair.target.model.calls) - prefilled  # type: ignore[attr-defined]  # as above
    assert first.tokens == second.tokens
    assert again == prefilled
