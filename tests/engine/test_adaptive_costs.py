"""What the adaptive window learns: costs of passes and drafts, and what a confidence is worth."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.windows.calibration import doubt, draw_rates, rate_of, take_in
from chatapp.engine.windows.costs import cost_of, observe_draft, observe_host, observe_pass
from chatapp.engine.windows.records import CENTRES, EACH, START, Calibration, Costs, DraftCost
from tests.helpers.windows import UNIT, blocks_of_eight, by_the_row

# -- costs --------------------------------------------------------------------------------------------------------


def curve_of(costs: Costs) -> list[float]:
    """By k from 1, in ns."""
    return [math.exp(costs.scale) * cost for cost in costs.passes[1 : MAX_WINDOW + 1]]


def observe_drafts(
    costs: Costs, drafts: dict[str, DraftCost], counts: dict[str, int], took_ns: float
) -> None:
    expected = {source: cost_of(drafts[source], count) for source, count in counts.items()}
    for source, count in counts.items():
        others = sum(expected.values()) - expected[source]
        observe_draft(costs, drafts[source], count, others, took_ns)


def test_costs_find_the_curve_through_noise_and_late_steps() -> None:
    rng, costs, draft = random.Random(5), Costs(), DraftCost()
    for _ in range(60):
        for window in (1, 2, 4, 8, 9, 16):
            late = 5.0 if rng.random() < 0.05 else 1.0
            observe_pass(costs, window, UNIT * blocks_of_eight(window) * math.exp(rng.gauss(0, 0.1)) * late)
            took = UNIT * 0.1 * window * math.exp(rng.gauss(0, 0.1))
            observe_drafts(costs, {"model": draft}, {"model": window}, took)
    curve = curve_of(costs)
    for window in range(1, MAX_WINDOW + 1):
        assert curve[window - 1] / curve[0] == pytest.approx(blocks_of_eight(window), rel=0.12)
    assert cost_of(draft, 8) / costs.passes[1] == pytest.approx(0.8, rel=0.12)
    assert curve[0] == pytest.approx(UNIT, rel=0.2)


@given(st.lists(st.tuples(st.integers(1, MAX_WINDOW), st.integers(0, 10**11)), min_size=1, max_size=60))
def test_a_larger_pass_never_seems_cheaper(passes: list[tuple[int, int]]) -> None:
    costs = Costs()
    for window, took in passes:
        observe_pass(costs, window, took)
        curve = costs.passes[1 : MAX_WINDOW + 1]
        assert all(0 < low <= high for low, high in itertools.pairwise(curve))


def test_a_size_that_was_late_once_is_not_given_up() -> None:
    """Its first time was ten times too long, and that of a larger one: both stay worth a try."""
    costs = Costs()
    for _ in range(10):
        for window in (1, 4):
            observe_pass(costs, window, UNIT)
    for window in (5, 10):
        observe_pass(costs, window, 10 * UNIT)
    assert max(costs.passes[1 : MAX_WINDOW + 1]) < 1.5
    for took in (10 * UNIT, UNIT, UNIT):
        observe_pass(costs, 5, took)
    assert costs.passes[5] / costs.passes[1] == pytest.approx(1.0, abs=0.15)


def test_a_size_that_was_timed_on_a_busy_machine_is_tried_again() -> None:
    costs = Costs()
    for window in (1, 1, 1, 4, 4, 4):
        observe_pass(costs, window, UNIT)
    for _ in range(3):
        observe_pass(costs, 5, 3 * UNIT)
    assert costs.passes[5] > 2.5
    for _ in range(100):
        observe_pass(costs, 4, UNIT)
    assert costs.passes[5] < 1.2, "worth a try"
    observe_pass(costs, 5, 3 * UNIT)
    assert costs.passes[5] > 2.5, "no better than before: one try is enough"


def test_a_slower_machine_scales_every_size() -> None:
    costs = Costs()
    for _ in range(20):
        for window in (1, 8):
            observe_pass(costs, window, UNIT * by_the_row(window))
    for _ in range(40):
        observe_pass(costs, 1, 3 * UNIT)
    assert curve_of(costs)[7] == pytest.approx(3 * UNIT * by_the_row(8), rel=0.3)


def test_each_source_has_a_cost_of_its_own() -> None:
    costs, drafts = Costs(), {"model": DraftCost(), "ngram": DraftCost()}
    observe_pass(costs, 1, UNIT)
    for step in range(300):
        model, ngram = (3, 1) if step % 2 else (1, 6)
        took = UNIT * (0.2 * model + 0.005 * ngram)
        observe_drafts(costs, drafts, {"model": model, "ngram": ngram}, took)
    assert cost_of(drafts["model"], 3) == pytest.approx(0.6, rel=0.15)
    assert cost_of(drafts["ngram"], 6) < 0.18


def test_what_it_takes_to_begin_is_told_from_what_each_draft_takes() -> None:
    costs, draft, rng = Costs(), DraftCost(), random.Random(9)
    observe_pass(costs, 1, UNIT)
    for _ in range(200):
        count = rng.randint(1, 15)
        observe_draft(costs, draft, count, 0.0, UNIT * (0.3 + 0.05 * count) * math.exp(rng.gauss(0, 0.05)))
    assert draft.line[START] == pytest.approx(0.3, rel=0.25)
    assert draft.line[EACH] == pytest.approx(0.05, rel=0.25)
    late = cost_of(draft, 8)
    observe_draft(costs, draft, 8, 0.0, 100 * UNIT)
    assert cost_of(draft, 8) < 1.1 * late, "one late step moves little"


@pytest.mark.parametrize("late", [(0,), (1,), (2,), (0, 1), (5,)])
@pytest.mark.parametrize("counts", [(4,), (15, 1)])
def test_drafts_that_were_late_while_little_was_known_do_not_scare_off(
    late: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    costs, draft = Costs(), DraftCost()
    observe_pass(costs, 1, UNIT)
    for place in range(8):
        count = counts[place % len(counts)]
        took = UNIT * (0.1 + 0.05 * count) * (100 if place in late else 1)
        observe_draft(costs, draft, count, 0.0, took)
    assert cost_of(draft, 8) < 2 * 0.5


@given(st.lists(st.tuples(st.integers(1, MAX_WINDOW - 1), st.integers(0, 10**11)), min_size=1, max_size=60))
@example([(1, 0), (1, 0), (2, 0)])
def test_more_drafts_never_seem_cheaper(steps: list[tuple[int, int]]) -> None:
    costs, draft = Costs(), DraftCost()
    observe_pass(costs, 1, UNIT)
    for count, took in steps:
        observe_draft(costs, draft, count, 0.0, took)
        assert draft.line[START] >= 0.0
        assert draft.line[EACH] >= 0.0
        assert math.isfinite(cost_of(draft, MAX_WINDOW))


def test_tokens_cost_the_host_what_they_cost_whatever_the_window() -> None:
    costs, rng = Costs(), random.Random(9)
    observe_pass(costs, 1, UNIT)
    for _ in range(200):
        tokens = rng.randint(1, 16)
        observe_host(costs, tokens, UNIT * (0.08 + 0.03 * tokens) * math.exp(rng.gauss(0, 0.05)))
    assert costs.host[EACH] == pytest.approx(0.03, rel=0.25)


def test_sizes_that_were_never_tried_are_expected_on_the_line_of_those_that_were() -> None:
    costs = Costs()
    for window in range(1, 9):
        for _ in range(4):
            observe_pass(costs, window, UNIT * by_the_row(window))
    assert costs.passes[12] == pytest.approx(by_the_row(12), rel=0.05)


def test_sizes_that_are_met_for_the_first_time_leave_the_scale_where_it_is() -> None:
    """The quickest of three times is quicker than the size; taken for a slower machine, every new size would make what is
    known of plain steps and of drafts cheaper than it is."""
    costs, rng = Costs(), random.Random(4)
    for size in [1] * 30 + [size for size in range(2, MAX_WINDOW + 1) for _ in range(10)]:
        observe_pass(costs, size, 1e6 * by_the_row(size) * math.exp(rng.gauss(0.0, 0.15)))
    assert curve_of(costs)[0] == pytest.approx(1e6, rel=0.08)


def test_one_quick_time_is_believed_and_one_slow_time_is_not() -> None:
    for took in (1.1, 9.0):
        costs = Costs()
        for window in (1, 4, 8):
            for _ in range(4):
                observe_pass(costs, window, UNIT * by_the_row(window))
        observe_pass(costs, 12, UNIT * took * by_the_row(8))
        expected = min(took * by_the_row(8), by_the_row(12))
        assert costs.passes[12] == pytest.approx(expected, rel=0.05)


# -- calibration --------------------------------------------------------------------------------------------------


def test_calibration_finds_what_a_confidence_is_worth() -> None:
    """A drafter that is too sure of itself: kept with the square of its confidence."""
    rng, calibration = random.Random(7), Calibration()
    for _ in range(6000):
        confidence = rng.random()
        take_in(calibration, confidence, float(rng.random() < confidence**2))
    draw_rates(calibration)
    for confidence in (0.1, 0.3, 0.5, 0.7, 0.88):
        assert rate_of(calibration, confidence) == pytest.approx(confidence**2, abs=0.1)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=80))
def test_more_confidence_never_means_less(tests: list[tuple[float, bool]]) -> None:
    calibration = Calibration()
    for confidence, kept in tests:
        take_in(calibration, confidence, float(kept))
    draw_rates(calibration)
    rates = [rate_of(calibration, centre) for centre in CENTRES]
    assert rates == sorted(rates)
    assert 0.0 < rates[0] <= rates[-1] < 1.0


def test_a_text_that_changes_for_ever_leaves_bins_that_were_never_tested_as_they_were() -> None:
    calibration = Calibration()
    before = [rate_of(calibration, centre) for centre in CENTRES]
    for _ in range(3000):
        doubt(calibration)
    draw_rates(calibration)
    assert [rate_of(calibration, centre) for centre in CENTRES] == pytest.approx(before)
