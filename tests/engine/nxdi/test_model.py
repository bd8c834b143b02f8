"""The model over the emulated library: logits at any position, the end of the context, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.domain.errors import GenerationFailed, ModelError, UnsupportedModel
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends import emulator
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.emulator import Launch
from chatapp.engine.backends.neuron.errors import LaunchFailed
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.nxdi.loading import NxdiBackend
from chatapp.engine.backends.nxdi.nxdi import NxdiModel
from chatapp.engine.contracts import ChunkingModel
from tests.helpers import checkpoints
from tests.helpers.conformance import check_backend

IDS = [(index * 31 + 7) % checkpoints.VOCABULARY for index in range(128)]


def model(directory: Path, role: Role = "target", **changes: Any) -> NxdiModel:
    asked: dict[str, Any] = {
        "library": "nxdi",
        "tp_degree": 2,
        "positions": 128,
        "token_buckets": (64, 128),
        "context_buckets": (32, 96),
        "windows": (8,),
        "dtype": "f32",
        "rehearse": "trn1.32xlarge",
        **changes,
    }
    loaded = NxdiBackend(NeuronSettings(**asked)).load(read_checkpoint(directory), "neuron", role=role)
    assert isinstance(loaded, NxdiModel)
    return loaded


@pytest.fixture(scope="module")
def truth(llama: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(llama)(torch.tensor([IDS])).logits[0]
    return logits


@pytest.mark.parametrize("role", ["target", "draft"])
def test_it_conforms(llama: Path, role: Role) -> None:
    loaded = model(llama, role)
    assert isinstance(loaded, ChunkingModel)
    check_backend(lambda: loaded)


@pytest.mark.parametrize("role", ["target", "draft"])
def test_up_to_the_last_position(llama: Path, truth: torch.Tensor, role: Role) -> None:
    """The last windows begin over ids that were computed before, and give the same logits."""
    loaded = model(llama, role)
    loaded.forward(IDS[:110], 0, 1)
    for start, count in ((110, 5), (112, 8), (120, 8), (121, 7), (125, 3), (127, 1), (123, 2)):
        found = loaded.forward(IDS[start : start + count], start, count)
        torch.testing.assert_close(found, truth[start : start + count], atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="in a KV of 128 positions"):
        loaded.forward(IDS[:2], 127, 1)
    loaded.forward(IDS[:2], 0, 1)
    with pytest.raises(ValueError, match="nothing was computed for position 5 behind 2 others"):
        loaded.forward(IDS[:2], 5, 1)


def test_a_window_at_the_end_is_computed_over_the_ids_that_stand_there(llama: Path) -> None:
    """Rewound and continued otherwise, it must not see what stood there before."""
    loaded, fresh = model(llama), model(llama)
    loaded.forward(IDS[:126], 0, 1)
    other = [(token + 1) % checkpoints.VOCABULARY for token in IDS[118:124]]
    loaded.forward(other, 118, 1)
    found = loaded.forward([9, 8], 124, 2)
    fresh.forward([*IDS[:118], *other], 0, 1)
    torch.testing.assert_close(found, fresh.forward([9, 8], 124, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("role", "after"), [("target", {("window", 8): 3}), ("draft", {("token", 1): 20})])
def test_launches_are_those_of_the_plan(llama: Path, role: Role, after: dict[tuple[str, int], int]) -> None:
    loaded = model(llama, role)
    assert emulator.launches.of(loaded.application).total() == 0, "the warm-up is not counted"
    loaded.forward(IDS[:50], 0, 1)
    loaded.forward(IDS[50:70], 50, 3)
    counted = emulator.launches.of(loaded.application)
    assert counted[Launch("context", 96, 96)] == 1
    assert counted.total() == loaded.launched.total()
    assert loaded.launched == {("context", 96): 1, **after}


def test_what_it_declares(llama: Path) -> None:
    target, draft = model(llama), model(llama, "draft")
    assert (target.compiled_windows, draft.compiled_windows) == ((8,), ())
    assert target.info.runs_on == (
        "neuronx-distributed-inference, 2 NeuronCores, every pass in the one compiled window of 8, "
        "a single token too, float32"
    )
    assert "token by token" in draft.info.runs_on
    assert target.context_limit == 128
    longer = model(llama, positions=512, token_buckets=(), context_buckets=())
    assert longer.context_limit == checkpoints.LLAMA["max_position_embeddings"]
    # One launch in windows of 8, and two.
    assert target.traffic(9, 50) > 1.8 * target.traffic(8, 50)


def test_int8_is_not_promised(llama: Path) -> None:
    settings = NeuronSettings(library="nxdi", rehearse="inf2.xlarge", positions=128)
    with pytest.raises(UnsupportedModel, match="cannot run on NeuronCores with int8 weights"):
        NxdiBackend(settings).load(read_checkpoint(llama), "neuron", role="target", weights="int8")


def test_a_failed_launch_in_our_words(llama: Path) -> None:
    def fail(launch: Launch, owner: object) -> Any:
        raise RuntimeError("nrt_execute status=1006 out-of-bound access")

    target, draft = model(llama), model(llama, "draft")
    for loaded in (target, draft):
        loaded.forward(IDS[:10], 0, 1)
    emulator.launches.pacer = fail
    with pytest.raises(
        GenerationFailed, match="index out of bounds in a window of 8 at position 10"
    ) as raised:
        target.forward(IDS[10:12], 10, 2)
    assert raised.value.kept
    assert raised.value.remedy
    with pytest.raises(LaunchFailed, match="out of bounds in a token at position 10"):
        draft.forward(IDS[10:11], 10, 1)
    emulator.launches.pacer = None
    assert target.forward(IDS[10:12], 10, 2).shape == (2, checkpoints.VOCABULARY)


@pytest.mark.parametrize(
    ("cores", "memory", "message"),
    [
        (2, 1 << 30, "is to run on 8 NeuronCores, and this process has fewer"),
        (8, 1000, "memory is full while loading llama"),
    ],
)
def test_too_few_cores_and_too_little_memory_in_our_words(
    llama: Path, cores: int, memory: int, message: str
) -> None:
    settings = NeuronSettings(
        library="nxdi", rehearse="trn1.32xlarge", tp_degree=8, positions=128, windows=(8,)
    )
    backend = NxdiBackend(settings)
    emulator.behaviour.cores, emulator.behaviour.memory_per_core = cores, memory
    with pytest.raises(ModelError, match=message):
        backend.load(read_checkpoint(llama), "neuron", role="target")
