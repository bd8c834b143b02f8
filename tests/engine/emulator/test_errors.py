"""neuron-contract.md §1.6: every way in which the runtime refuses, with its type, its text and what it logs past Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from chatapp.engine.backends import emulator
from tests.helpers import checkpoints


def test_more_cores_than_there_are(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.6."""
    emulator.behaviour.cores = 2
    make(tp_degree=2)
    with pytest.raises(RuntimeError, match=r"^nrt_tensor_allocate status=2 "):
        make(tp_degree=4, replicate=True)


def test_cores_that_the_environment_left_out(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """neuron-contract.md §8.2: NEURON_RT_VISIBLE_CORES wins over NEURON_RT_NUM_CORES."""
    monkeypatch.setenv("NEURON_RT_NUM_CORES", "1")
    with pytest.raises(RuntimeError, match="status=2"):
        make(tp_degree=2)
    emulator.reset()
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "0-1")
    make(tp_degree=2)


def test_a_degree_that_trn1_lacks(make: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """neuron-contract.md §1.6."""
    emulator.behaviour.allowed_degrees = emulator.TRN1_DEGREES
    make(tp_degree=2)
    with pytest.raises(RuntimeError, match=r"^nrt_load_collectives status=2 "):
        make(tp_degree=4, replicate=True)
    assert "Supported number of Neuron Cores is 1, 2, 8, 16 or a multiple of 32" in capfd.readouterr().err


def test_a_head_that_cannot_be_shared_evenly(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """neuron-contract.md §1.6: padding of the vocabulary usually prevents it."""
    path = checkpoints.save(tmp_path, checkpoints.llama_config(vocab_size=421))
    make(path=path)
    monkeypatch.setenv("NEURON_VOCAB_PAD_DIVISOR", "1")
    with pytest.raises(ValueError, match=r"^Weight with shape .* cannot be sharded along dimension 1"):
        make(path=path)


def test_no_memory_for_weights(make: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """neuron-contract.md §1.6: the breakdown is per core, and on file descriptor 2."""
    make()
    emulator.behaviour.memory_per_core = 2 * emulator.device.used(0)
    make()  # fits to the byte
    with pytest.raises(RuntimeError, match=r'^nrt_tensor_allocate status=4 message="Allocation Failure"$'):
        make()
    err = capfd.readouterr().err
    assert "(usage: tensors) on ND 0:NC 0, current utilization:\n\t* total: " in err


def test_no_memory_for_graphs(make: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """neuron-contract.md §1.6."""
    make()
    emulator.behaviour.graph_bytes_per_core = 1 << 31
    emulator.behaviour.memory_per_core = 4 << 30
    with pytest.raises(RuntimeError, match=r'^nrt_load_collectives status=4 message="Allocation Failure"$'):
        make()
    assert "\t* model code: 2.000GB\n" in capfd.readouterr().err


def test_memory_is_charged_after_padding_and_replication(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.4: KV and weights of one core; a degree of 4 doubles the two key/value heads here."""
    make(tp_degree=1, windows=[])
    hidden, kv_heads, size, inner, positions, vocabulary = 32, 2, 8, 48, 128, 420
    layer = 2 * hidden * (4 + kv_heads) * size + 3 * hidden * inner + 2 * positions * kv_heads * size
    assert emulator.device.used(0) == 4 * (2 * layer + hidden * vocabulary)
    emulator.reset()
    make(tp_degree=4, windows=[], replicate=True)
    layer = 2 * hidden * (4 + 4) * size + 3 * hidden * inner + 2 * positions * 4 * size
    assert emulator.device.used(3) == (2 * layer + hidden * vocabulary)
    assert emulator.device.used(4) == 0


@pytest.mark.parametrize(
    ("setting", "logged"),
    [
        ({"driver": False}, "nrt_init .* Unable to determine Neuron Driver version"),
        ({"devices": False}, "TDRV:tdrv_get_dev_info .* No neuron device available"),
        (
            {"cores_held": 32},
            "nrt_allocate_neuron_cores .*NeuronCore\\(s\\) not available - Requested:32 Available:0",
        ),
    ],
)
def test_a_runtime_that_cannot_start(
    make: Callable[..., Any], capfd: pytest.CaptureFixture[str], setting: dict[str, Any], logged: str
) -> None:
    """neuron-contract.md §1.6: no driver, no device, cores held by another process. The error is one; the log tells."""
    for name, value in setting.items():
        setattr(emulator.behaviour, name, value)
    with pytest.raises(RuntimeError, match=r"^The PyTorch Neuron Runtime could not be initialized"):
        make()
    assert re.search(logged, capfd.readouterr().err)


def test_a_position_below_zero_is_out_of_bounds(
    make: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """neuron-contract.md §1.6, status 1006."""
    model = make()
    with pytest.raises(RuntimeError, match="status=1006"):
        model(torch.tensor([[7]]), torch.tensor([-1]))
    assert "out-of-bound access" in capfd.readouterr().err


def test_not_a_number_fails_the_execution(make: Callable[..., Any], directory: Path, tmp_path: Path) -> None:
    """neuron-contract.md §1.6, status 1003."""
    path = checkpoints.save(tmp_path, checkpoints.llama_config())
    gain = load_file(path / "model.safetensors")["model.norm.weight"]
    gain[3] = torch.nan
    checkpoints.change_weights(path, model__norm__weight=gain)
    model = make(path=path)
    with pytest.raises(RuntimeError, match="status=1003"):
        model(torch.tensor([[7, 8]]))


def test_an_execution_that_hangs_ends_in_a_timeout(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.6, status 5."""
    model = make()
    emulator.behaviour.executions_hang = True
    with pytest.raises(RuntimeError, match="status=5"):
        model(torch.tensor([[7, 8]]))
    assert emulator.launches.count(model) == 1
