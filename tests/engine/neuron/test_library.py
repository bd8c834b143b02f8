"""What is said of a library that is missing, wrong or too old for what stands beside it, and of models it cannot run."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from chatapp.domain.errors import UnsupportedModel
from chatapp.domain.neuron_fitness import misfit
from chatapp.engine.backends.checkpoint import Checkpoint, read_checkpoint
from chatapp.engine.backends.neuron.cores import Cores, find_cores
from chatapp.engine.backends.neuron.fitness import require_fit
from chatapp.engine.backends.neuron.library import library_trouble
from chatapp.resources import builtin_pair


def trouble(library: str | None, transformers: str = "4.47.1") -> str:
    def version_of(name: str) -> str:
        found = {"transformers-neuronx": library, "transformers": transformers}[name]
        if found is None:
            raise PackageNotFoundError(name)
        return found

    return " ".join(library_trouble(version_of) or ())


def test_the_last_working_set_is_fine() -> None:
    assert trouble("0.13.380") == trouble("0.13.1315") == trouble("0.12.313+ge5b7") == ""
    assert trouble("0.13.1315", "4.51.3") == "", "what later wheels ask for is not public"


@pytest.mark.parametrize(
    ("library", "transformers", "what", "remedy"),
    [
        (None, "4.47.1", "not installed", "--extra-index-url"),
        ("0.1", "4.47.1", "placeholder of the public index", "pip uninstall"),
        ("0.1.0", "4.47.1", "placeholder", "--extra-index-url"),
        ("0.13.380", "4.48.0", "transformers 4.48.0 is too new for transformers-neuronx 0.13.380", "<4.48"),
        ("0.13.1315", "5.0.0", "too new", "<4.48"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    library: str | None, transformers: str, what: str, remedy: str
) -> None:
    said = trouble(library, transformers)
    assert what in said
    assert remedy in said


LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "num_attention_heads": 4, "head_dim": 64, "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
}  # fmt: skip


def test_llamas_fit() -> None:
    assert misfit(LLAMA) is None
    pair = builtin_pair()
    assert pair.draft is not None
    for directory in (pair.target, pair.draft):
        require_fit(read_checkpoint(directory))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model_type": "mistral"}, "only Llama verifies several tokens at once, this is mistral"),
        ({"head_dim": 128}, "heads of 64 numbers .* says 128"),
        ({"rope_scaling": {"type": "yarn"}}, "scaled by yarn"),
        ({"rope_scaling": {"rope_type": "linear"}}, "scaled by linear"),
        ({"rope_theta": None, "rope_parameters": {"rope_theta": 5e5}}, "transformers 5"),
        ({"rope_scaling": None, "rope_parameters": {"rope_type": "llama3"}}, "transformers 5"),
        ({"attention_bias": True}, "no attention_bias"),
        ({"hidden_act": "gelu"}, "activation is gelu"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_would_fail_or_run_wrongly_is_refused_beforehand(change: dict[str, Any], what: str) -> None:
    config = {name: value for name, value in (LLAMA | change).items() if value is not None}
    with pytest.raises(UnsupportedModel, match=what) as refused:
        require_fit(Checkpoint(Path("some-model"), config))
    assert "some-model" in refused.value.what
    assert refused.value.remedy


def test_cores_are_counted_as_the_runtime_counts_them(tmp_path: Path) -> None:
    def found(**environment: str) -> Cores:
        return find_cores(tmp_path / "devices", tmp_path / "product", tmp_path / "dev", environment)

    assert found() == Cores(0, "")
    assert found().words == "NeuronCores"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "neuron0").touch()
    assert found() == Cores(2, "")
    for name in ("neuron0", "neuron1"):
        (tmp_path / "devices" / name).mkdir(parents=True)
        (tmp_path / "devices" / name / "core_count").write_text("2\n")
    (tmp_path / "product").write_text("inf2.24xlarge\n")
    assert found().words == "inf2.24xlarge, 4 NeuronCores"
    assert found(NEURON_RT_NUM_CORES="3").count == 3
    assert found(NEURON_RT_NUM_CORES="0").count == 4
    assert found(NEURON_RT_NUM_CORES="3", NEURON_RT_VISIBLE_CORES="0-1,3").count == 3
    assert found(NEURON_RT_VISIBLE_CORES="1").words == "inf2.24xlarge, 1 NeuronCore"
    (tmp_path / "product").write_text("HVM domU")
    assert found(NEURON_RT_VISIBLE_CORES="x").words == "4 NeuronCores"
