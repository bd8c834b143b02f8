"""The table of suites: every entry loads, results carry what the machine did, bars say what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chatapp.bench
from chatapp.bench.suites import SUITES, Bar, Suite, SuiteOptions, run_suites
from chatapp.cli import main
from chatapp.domain.errors import InvalidSetting


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_is_there(name: str) -> None:
    assert callable(SUITES[name].load().run_suite)


def test_every_module_that_runs_as_a_suite_has_its_place_in_the_table() -> None:
    folder = Path(next(iter(chatapp.bench.__path__)))
    runnable = {file.stem for file in folder.glob("*.py") if "\ndef run_suite(" in file.read_text("utf-8")}
    assert {suite.module for suite in SUITES.values()} == runnable


def test_suites_run_in_the_order_asked_and_end_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--runs", "3", "--prompts", "1", "--rounds", "1", "--kinds", "guide", "--max-tokens", "40"]
    assert main(["bench", "--suite", "soak,switches", *few]) == 0
    out = capsys.readouterr().out
    assert out.index("== soak") < out.index("== switches")
    result = json.loads(out.strip().splitlines()[-1])
    assert set(result["suites"]) == {"soak", "switches"}
    for suite in result["suites"].values():
        assert {"own_cores", "other_cores", "load_before", "disturbed"} <= set(suite["machine"])
        assert all(bar["met"] in (True, False, None) for bar in suite["bars"])


def test_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bench", "--suite", "exact,speed"])
    assert left.value.code == 2
    assert "unknown suite 'speed'" in capsys.readouterr().err


@pytest.mark.parametrize("suite", ["models", "rigged", "context"])
def test_an_unknown_shape_is_named(capsys: pytest.CaptureFixture[str], suite: str) -> None:
    assert main(["bench", "--suite", suite, "--shape", "8T"]) == 1
    assert "There is no shape '8T'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--kinds", "guide"], ["--suite", "shapes"], ["--suite", "adaptive"]])
@pytest.mark.parametrize(("device", "words"), [("abacus", "There is no device"), ("cuda", "no CUDA device")])
def test_a_device_that_is_not_there_is_said(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    device: str,
    words: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["bench", "--device", device, *options]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bar", "met", "words"),
    [
        (Bar("time", 0.5, 0.6), True, "time: 0.5, bar ≤ 0.6: met"),
        (Bar("time", 0.6, 0.6), True, "time: 0.6, bar ≤ 0.6: met"),
        (Bar("time", 0.7, 0.6), False, "time: 0.7, bar ≤ 0.6: NOT MET"),
        (Bar("count", 9, 10, at_most=False), False, "count: 9, bar ≥ 10: NOT MET"),
        (Bar("count", 10, 10, at_most=False), True, "count: 10, bar ≥ 10: met"),
        (
            Bar("peer", None, 0.6, note="not installed"),
            None,
            "peer: bar ≤ 0.6: not measured (not installed)",
        ),
    ],
)
def test_a_bar_says_whether_it_was_met(bar: Bar, met: bool | None, words: str) -> None:
    assert bar.met is met
    assert str(bar) == words
    assert bar.as_json()["met"] is met


def test_options_fall_back_to_the_suites_own_choice() -> None:
    assert SuiteOptions().sampling(max_tokens=33, temperature=0.8).max_tokens == 33
    assert SuiteOptions(max_tokens=5, temperature=0.0).sampling(max_tokens=33, temperature=0.8).greedy
    with pytest.raises(InvalidSetting):
        SuiteOptions(temperature=-1.0).sampling()


def test_the_machines_share_is_added_to_what_a_suite_hands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def run_suite(options: SuiteOptions) -> dict[str, Any]:
            return {"seed": options.seed}

    monkeypatch.setattr(Suite, "load", lambda self: Module)
    results = run_suites(["soak"], SuiteOptions(seed=7))
    assert results["soak"]["seed"] == 7
    assert results["soak"]["machine"]["seconds"] > 0
