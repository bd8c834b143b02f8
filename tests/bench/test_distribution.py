"""The distribution suite: what it covers, that it passes, that it sees every planted fault; and its own arithmetic."""

from __future__ import annotations

import math

import pytest
import torch

from chatapp.bench import distribution
from chatapp.bench.chi_square import chi_square_p, upper_gamma
from chatapp.bench.controls import CONTROLS
from chatapp.bench.distribution import ANY, CHANGING, Combination, Result, combinations, distribution_suite
from chatapp.bench.suites import SuiteOptions
from chatapp.engine.registry import ACCEPTORS, DRAFTERS, POLICIES

FAMILY = combinations()
SOUND = [one for one in FAMILY if not one.control]
LOSSLESS = [part.name for part in ACCEPTORS.values() if part.lossless]


def test_every_lossless_acceptor_meets_every_drafter_at_every_k_and_under_every_policy() -> None:
    for acceptor in LOSSLESS:
        for drafter in DRAFTERS:
            if drafter == "none":
                continue
            for k in range(1, 9):
                assert Combination(acceptor, drafter, k) in SOUND
            assert Combination(acceptor, drafter, CHANGING) in SOUND
            for policy in set(POLICIES) - {"fixed"}:
                assert Combination(acceptor, drafter, 8, policy) in SOUND
                assert Combination(ANY, drafter, CHANGING, policy) in SOUND
    assert {one.control for one in FAMILY if one.control} == set(CONTROLS)
    assert not any(one.acceptor == "typical" for one in SOUND)


@pytest.mark.statistical
@pytest.mark.parametrize("combination", SOUND, ids=str)
def test_the_engine_has_the_targets_distribution(combination: Combination) -> None:
    """Through the whole engine. A correct one would fail any of these, with other seeds, with probability 1e-3 in all."""
    threshold = distribution.FAMILY_WISE / len(SOUND)
    result = distribution.measure(combination, 1_000, threshold)
    assert result.samples >= 1_000
    assert result.passed, result
    assert (result.drafted == 0) == (combination.window == 1)


@pytest.mark.statistical
@pytest.mark.parametrize("fault", CONTROLS)
def test_every_planted_fault_is_seen(fault: str) -> None:
    """At a tenth of what the command runs."""
    combination = next(one for one in FAMILY if one.control == fault)
    threshold = distribution.FAMILY_WISE / len(SOUND)
    result = distribution.measure(combination, 6_000, threshold)
    assert result.p < threshold
    assert result.passed


@pytest.mark.statistical
def test_a_lossy_rule_is_seen_by_the_same_statistics() -> None:
    assert distribution.measure(Combination("typical", "model", 4), 3_000).p < 1e-9


def test_a_fault_that_is_not_seen_and_a_rule_that_fails_are_failures() -> None:
    assert not Result(Combination(control="raw q"), 1, 0.5, 1, 1.0).passed
    assert not Result(Combination(), 1, 1e-9, 1, 1.0).passed


def test_the_same_seeds_give_the_same_figures_and_processes_share_the_work() -> None:
    chosen = [Combination("coupled", "model", CHANGING), Combination("block", "model", 3)]
    alone = distribution_suite(1_000, chosen=chosen)
    assert [result.combination for result in alone] == chosen
    assert alone == distribution_suite(1_000, jobs=2, chosen=chosen)
    assert alone[0].threshold == distribution.FAMILY_WISE / 2


def test_the_suite_for_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [Combination("rejection", "model", 4), Combination(window=4, control="two chances")]
    monkeypatch.setattr(distribution, "combinations", lambda: few)
    result = distribution.run_suite(SuiteOptions(samples=3_000))
    assert [bar["met"] for bar in result["bars"]] == [True, True]
    assert set(result["combinations"]) == {str(one) for one in few}
    assert "fault: two chances" in capsys.readouterr().out


@pytest.mark.parametrize("a", [0.5, 1.0, 1.5, 10.0, 96.0, 400.0])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.9, 1.0, 1.1, 2.0, 6.0])
def test_the_incomplete_gamma_function(a: float, ratio: float) -> None:
    wanted = torch.special.gammaincc(*(torch.tensor(x, dtype=torch.float64) for x in (a, a * ratio)))
    assert upper_gamma(a, a * ratio) == pytest.approx(float(wanted), rel=1e-9, abs=1e-300)
    assert upper_gamma(a, 0.0) == 1.0


def test_pearsons_test() -> None:
    # One degree of freedom: p = erfc(√(χ²/2)).
    assert chi_square_p([60, 40], [50, 50]) == pytest.approx(math.erfc(math.sqrt(4 / 2)))
    assert chi_square_p([50, 50], [50, 50]) == 1.0
    assert chi_square_p([50, 1, 49], [50, 0, 50]) == 0.0, "what cannot be was seen"
    assert chi_square_p([3, 1, 2], [3, 1, 2]) == 1.0, "all pooled into one cell"
    assert chi_square_p([60], [50]) == 0.0, "no freedom, and yet another count"
    observed, expected = [55.0, 30.0, 12.0, 2.0, 1.0], [50.0, 35.0, 10.0, 3.0, 2.0]
    # The two smallest cells are one of 3 against 5: four cells, three degrees of freedom.
    statistic = 25 / 50 + 25 / 35 + 4 / 10 + 4 / 5
    wanted = torch.special.gammaincc(torch.tensor(1.5), torch.tensor(statistic / 2))
    assert chi_square_p(observed, expected) == pytest.approx(float(wanted), rel=1e-5)
