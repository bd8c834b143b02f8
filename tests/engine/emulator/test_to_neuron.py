"""neuron-contract.md §1.5: from a constructed model to one that runs, and artefacts."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.engine.backends import emulator
from tests.helpers import checkpoints

IDS = torch.arange(10, 30)[None]
NOT_TRACED = "^cannot unpack non-iterable NoneType object$"


def test_calls_before_to_neuron_are_type_errors(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.5 and §4.6."""
    model = make(on_cores=False)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: model(IDS),
        lambda: model(IDS[:, :1], torch.tensor([0])),
        lambda: model.speculative_forward(IDS[:, :4], torch.arange(4), None, 4),
    )
    for call in calls:
        with pytest.raises(TypeError, match=NOT_TRACED):
            call()


def test_a_window_enabled_too_late_is_never_traced(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.5 and §4.6: its first use fails, the others go on."""
    model = make(windows=[4])
    model.enable_speculative_decoder(8)
    with pytest.raises(TypeError, match=NOT_TRACED):
        model.speculative_forward(IDS[:, :8], torch.arange(8), None, 8)
    assert model.speculative_forward(IDS[:, :4], torch.arange(4), None, 4).shape[0] == 4


def test_to_neuron_twice_appends_the_layers_again(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.5: it works once; the model is then twice as deep and says something else."""
    model = make()
    before = model(IDS)
    model.to_neuron()
    assert len(model._shared.arithmetic.layers) == 4
    assert not torch.allclose(model(IDS), before)


def test_there_is_no_way_to_unload(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.5 and §4.7: memory is held until the process ends, whoever forgets the model."""
    model = make()
    used = emulator.device.used(0)
    assert used > 0
    assert not [name for name in dir(model) if "unload" in name or name == "close"]
    del model
    make()
    assert emulator.device.used(0) == 2 * used


def test_weights_come_before_compiling(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.5, order: too few cores show before anything is compiled, topology after everything was."""
    compiled: list[str] = []
    emulator.behaviour.compile_hook = lambda tag, _: compiled.append(tag)
    emulator.behaviour.cores = 2
    with pytest.raises(RuntimeError, match="nrt_tensor_allocate status=2"):
        make(tp_degree=4, replicate=True)
    assert compiled == []
    emulator.reset()
    emulator.behaviour.compile_hook = lambda tag, _: compiled.append(tag)
    emulator.behaviour.allowed_degrees = emulator.TRN1_DEGREES
    with pytest.raises(RuntimeError, match="nrt_load_collectives status=2"):
        make(tp_degree=4, replicate=True)
    assert len(compiled) == 8


def test_layers_are_counted_by_new_layer(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """neuron-contract.md §1.5: the one method to count for progress while weights are loaded."""
    model = make(on_cores=False)
    made = []
    original = model.decoder_lm_head.new_layer

    def counted(**kwargs: Any) -> Any:
        made.append(original(**kwargs))
        return made[-1]

    monkeypatch.setattr(model.decoder_lm_head, "new_layer", counted)
    model.to_neuron()
    assert len(made) == model.config.num_hidden_layers == 2


def test_graphs_are_tagged_by_kind_length_and_batch(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.1."""
    tags = [kernel.tag for kernel in make(windows=[4])._get_all_kernels()]
    assert tags == [
        "token-seqlen64-batch1",
        "token-seqlen128-batch1",
        "context-seqlen16-batch1",
        "context-seqlen32-batch1",
        "speculation-k4-seqlen64-batch1",
        "speculation-k4-seqlen128-batch1",
    ]


def test_one_file_per_graph_named_by_a_hash_of_its_program(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.5, save: the first 20 hex digits of sha256."""
    model = make()
    model.save(tmp_path / "made" / "here")
    kernels = model._get_all_kernels()
    wanted = {
        hashlib.sha256(kernel.hlo_module.SerializeToString()).hexdigest()[:20] + ".neff" for kernel in kernels
    }
    assert {path.name for path in (tmp_path / "made" / "here").iterdir()} == wanted
    assert len(wanted) == len(kernels) == 8


def test_graphs_of_one_shape_and_two_kinds_are_two(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.5: a context of 64, a window of 64 for verifying and one for a prompt's rest."""
    model = make(windows=[64], context_length_estimate=[64], n_positions=[64], on_cores=False)
    model.enable_window_context_decoder(64)
    model.cpu_compile()
    programs = {kernel.hlo_module.SerializeToString() for kernel in model._get_all_kernels()}
    assert len(programs) == len(model._get_all_kernels()) == 4


def test_saving_needs_a_compiled_model_and_a_directory(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.5, save."""
    assert not make(on_cores=False).is_compiled()
    with pytest.raises(AttributeError):
        make(on_cores=False).save(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="Artifacts should be saved to a directory"):
        make().save(tmp_path / "file")


def test_loading_compiles_nothing(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.5, load: before `to_neuron`, after the same `enable_*` calls."""
    first = make()
    first.save(tmp_path)
    compiled: list[str] = []
    emulator.behaviour.compile_hook = lambda tag, _: compiled.append(tag)
    second = make(on_cores=False)
    second.load(tmp_path)
    second.to_neuron()
    assert (compiled, second.is_compiled()) == ([], True)
    assert torch.equal(second(IDS), first(IDS))


@pytest.mark.parametrize(
    "change",
    [
        {"windows": [4, 16]},
        {"n_positions": [64, 96]},
        {"context_length_estimate": [16, 24]},
        {"amp": "bf16"},
        {"tp_degree": 1},
        {"batch_size": 2},
    ],
)
def test_any_difference_of_a_program_finds_no_file(
    make: Callable[..., Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    """neuron-contract.md §1.5, load."""
    make().save(tmp_path)
    model = make(on_cores=False, **change)
    model.load(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="Could not find a matching NEFF for your HLO in this directory"
    ):
        model.to_neuron()


def test_a_directory_that_is_not_there(make: Callable[..., Any], tmp_path: Path) -> None:
    model = make(on_cores=False)
    model.load(tmp_path / "nowhere")  # not looked at yet
    with pytest.raises(FileNotFoundError, match="Did not find directory"):
        model.to_neuron()


def test_weights_are_no_part_of_a_program(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.5: the key is the program alone, so another checkpoint of this shape takes the same files."""
    make().save(tmp_path / "artefacts")
    other = checkpoints.save(tmp_path / "other", checkpoints.llama_config(), seed=5)
    model = make(on_cores=False, path=other)
    model.load(tmp_path / "artefacts")
    model.to_neuron()
    assert not torch.equal(model(IDS), make()(IDS))


def test_compiling_without_a_device(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.5, cpu_compile: its files are those of `to_neuron`; the model itself cannot run."""
    emulator.behaviour.driver = False
    model = make(on_cores=False)
    model.cpu_compile()
    model.save(tmp_path)
    with pytest.raises(KeyError):
        model(IDS[:, :1], torch.tensor([0]))
    emulator.reset()
    other = make(on_cores=False)
    other.load(tmp_path)
    other.to_neuron()
    assert other(IDS).shape == (1, checkpoints.VOCABULARY)


FORKING = """
import os, sys
from chatapp.engine.backends import emulator

def tell(tag, name):
    with open(sys.argv[2], "a") as told:
        print(os.getpid(), file=told)

with emulator.installed():
    from transformers_neuronx import LlamaForSampling
    emulator.behaviour.compile_in_processes = True
    emulator.behaviour.compile_hook = tell
    LlamaForSampling.from_pretrained(sys.argv[1], n_positions=[64], context_length_estimate=[16]).to_neuron()
    print(os.getpid())
"""


def test_compiling_forks_when_asked_to(directory: Path, tmp_path: Path) -> None:
    """neuron-contract.md §1.5 and §4.7: a pool of processes, which a window must not have."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, str(directory), str(tmp_path / "told")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    workers = (tmp_path / "told").read_text().split()
    assert len(workers) == 2
    assert done.stdout.strip() not in workers


def test_a_killed_compiler_breaks_the_pool(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.6."""
    emulator.behaviour.compiler_killed = True
    with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="terminated abruptly"):
        make()


def test_a_compile_may_take_a_while(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only if asked, and once per program."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    make()
    assert slept == []
    emulator.behaviour.compile_seconds = 2.5
    make()
    assert slept == [2.5] * 8
