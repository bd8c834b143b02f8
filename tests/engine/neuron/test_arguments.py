"""The options that choose NeuronCores."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.bench.suites import SuiteOptions
from chatapp.cli import main
from chatapp.commands import neuron_arguments
from chatapp.commands.neuron_arguments import add_neuron_arguments, neuron_settings, on_neuron_host
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron import NeuronSettings
from chatapp.resources import builtin_pair


def parsed(*words: str, rehearsal: bool = True, paced: bool = False) -> NeuronSettings | None:
    parser = argparse.ArgumentParser()
    add_neuron_arguments(parser, rehearsal=rehearsal, paced=paced)
    return neuron_settings(parser.parse_args(words))


def test_options_become_settings() -> None:
    assert parsed("--neuron", "tnx", "--tp", "8", "--context", "4096", "--artefacts", "x") == NeuronSettings(
        "tnx", 8, 4096, artefacts=Path("x")
    )
    assert parsed("--rehearse", "trn1.32xlarge") == NeuronSettings(rehearse="trn1.32xlarge")
    assert parsed("--tp", "2", rehearsal=False) == NeuronSettings(tp_degree=2)


def test_without_options_the_machine_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_arguments, "on_neuron_host", lambda: False)
    assert parsed() is None
    monkeypatch.setattr(neuron_arguments, "on_neuron_host", lambda: True)
    assert parsed() == NeuronSettings()


def test_a_device_alone_is_no_neuron_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "neuron0"
    monkeypatch.setitem(neuron_arguments.MODULES, "tnx", "json")
    assert not on_neuron_host(device)
    device.touch()
    assert on_neuron_host(device)
    monkeypatch.setattr(neuron_arguments, "MODULES", {"tnx": "no_such_module"})
    assert not on_neuron_host(device)


@pytest.mark.parametrize("words", [("--tp", "0"), ("--context", "-1"), ("--tp", "two"), ("--neuron", "gpu")])
def test_what_is_no_number_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*words)
    assert words[0] in capsys.readouterr().err


def test_a_rehearsal_of_the_window_is_paced() -> None:
    assert parsed("--rehearse", "trn1.32xlarge", paced=True) == NeuronSettings(
        rehearse="trn1.32xlarge", rehearse_pair="llama-2-70b+7b"
    )
    chosen = parsed("--rehearse", "inf2.48xlarge", "--rehearse-pair", "llama-3-70b+8b", paced=True)
    assert chosen == NeuronSettings(rehearse="inf2.48xlarge", rehearse_pair="llama-3-70b+8b")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--rehearse", "trn1.2xlarge"), "No latencies of llama-2-70b+7b were published for trn1.2xlarge"),
        (("--rehearse", "a100"), "There is no instance type a100 to rehearse. There is: inf2.48xlarge with"),
        (("--rehearse-pair", "llama-3-70b+8b"), "--rehearse-pair needs --rehearse"),
    ],
)
def test_the_window_refuses_what_cannot_be_rehearsed(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([*words])
    assert left.value.code == 2
    assert why in " ".join(capsys.readouterr().err.split())


def test_a_benchmark_measures_no_rehearsal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--rehearse", "trn1.32xlarge"])
    assert "nothing in it to measure" in capsys.readouterr().err
    rehearsed = NeuronSettings(rehearse="trn1.32xlarge", rehearse_pair="llama-2-70b+7b")
    with pytest.raises(InvalidSetting, match="nothing in it to measure"):
        SuiteOptions(location=replace(builtin_pair(), neuron=rehearsed))
