"""The options that choose NeuronCores."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from chatapp.commands import neuron_arguments
from chatapp.commands.neuron_arguments import add_neuron_arguments, neuron_settings, on_neuron_host
from chatapp.domain.neuron import NeuronSettings


def parsed(*words: str, rehearsal: bool = True) -> NeuronSettings | None:
    parser = argparse.ArgumentParser()
    add_neuron_arguments(parser, rehearsal=rehearsal)
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
