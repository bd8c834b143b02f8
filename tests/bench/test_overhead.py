"""The overhead suite at a small size: real loop, real tokenizer, prepared logits; structure and truth, never times."""

from __future__ import annotations

import numpy as np
import pytest

from chatapp.bench import overhead
from chatapp.bench.overhead import MODES, RULES, Overhead, overhead_suite
from chatapp.bench.prepared_run import correlated_tables
from chatapp.bench.suites import SuiteOptions
from chatapp.engine.backends.prepared import PreparedModel


@pytest.fixture(scope="module")
def rows() -> list[Overhead]:
    return overhead_suite(vocabularies=(8_192,), steps=24)


def test_every_mode_and_rule_is_measured(rows: list[Overhead]) -> None:
    wanted = {(mode, rule) for mode in MODES if mode != "greedy" for rule in RULES} | {("greedy", "greedy")}
    assert {(row.mode, row.acceptor) for row in rows} == wanted
    for row in rows:
        assert row.steps == 20, "the first steps are left out"
        assert 0.0 < row.median_ms <= row.p90_ms


def test_the_pair_is_one_that_speculation_would_be_used_with(rows: list[Overhead]) -> None:
    shares = [row.tested_acceptance for row in rows]
    assert 0.5 < sum(shares) / len(shares) < 0.9


def test_the_logits_have_a_language_models_shape() -> None:
    target, draft = correlated_tables(8_192)
    assert target.dtype == draft.dtype == np.float32
    probs = np.exp(target - target.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    assert 0.2 < float(probs.max(axis=1).mean()) < 0.8, "neither sure nor flat"
    assert 0.9 < float(np.corrcoef(target[0], draft[0])[0, 1]) < 1.0


def test_prepared_logits_follow_the_position_and_their_time_is_known() -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    model = PreparedModel("prepared", table, 100)
    assert model.forward([5, 5, 5], 2, 2).tolist() == [table[3].tolist(), table[0].tolist()]
    spent = model.spent_ns
    assert spent > 0
    model.forward([1], 5, 1)
    assert model.spent_ns > spent


def test_the_suite_for_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: list[Overhead]
) -> None:
    slow = Overhead("greedy", 8_192, "greedy", 0.9, 1.0, 0.7, 20, 0.4)
    rounds = iter([[rows[0]], [slow], [slow]])
    monkeypatch.setattr(overhead, "overhead_suite", lambda: next(rounds))
    result = overhead.run_suite(SuiteOptions(rounds=3))
    assert [bar["met"] for bar in result["bars"]] == [False], "the median of the rounds counts"
    assert result["rows"][0]["median_ms"] == 0.9
    assert "8,192" in capsys.readouterr().out
