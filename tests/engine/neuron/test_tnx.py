"""The adapter over the emulated library: the laws of a model, launches as planned, and failures in our words."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.domain.errors import (
    DeviceMemoryFull,
    DeviceUnavailable,
    GenerationFailed,
    LoadFailed,
    ModelError,
    NotPrepared,
    UnsupportedModel,
)
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.neuron_hosts import neuron_host
from chatapp.domain.ports import PairLocation
from chatapp.engine.backends import emulator
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.loading import load_model
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.neuron.building import resolved
from chatapp.engine.backends.neuron.cores import Cores
from chatapp.engine.backends.neuron.errors import LaunchFailed
from chatapp.engine.backends.neuron.launches import plan
from chatapp.engine.backends.neuron.loading import TnxBackend
from chatapp.engine.backends.neuron.preparing import prepare
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.neuron.sides import sides_of
from chatapp.engine.backends.neuron.tnx import TnxModel
from tests.helpers import checkpoints
from tests.helpers.conformance import check_backend
from tests.helpers.neuron import SETTINGS, launched, load

GIB = 1 << 30


# -- laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["target", "draft"])
def test_it_obeys_the_laws_of_a_model(target: Path, role: Role) -> None:
    check_backend(lambda: load(target, role))


def test_in_bfloat16_too_up_to_its_grain(target: Path) -> None:
    check_backend(lambda: load(target, dtype="bf16"), grain=6e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": ()},
        {"windows": (64,)},
        {"context_buckets": (128,)},
        {"token_buckets": (128,)},
        {"positions": 96, "token_buckets": (), "context_buckets": ()},
        {"windows": (4, 3, 2, 200)},
    ],
)
def test_whatever_was_compiled(target: Path, changes: dict[str, Any]) -> None:
    check_backend(lambda: load(target, **changes))


@pytest.fixture(scope="module")
def other(target: Path) -> Any:
    """The same weights on the processor."""
    return load_model(read_checkpoint(target), "cpu", role="target")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_calls_gives_what_the_processor_gives(
    target: Path, other: Any, data: st.DataObject
) -> None:
    """Prompts, appended text, verify passes, rewinds, up to the last position: one KV, whatever graphs wrote it."""
    model = load(target)
    known: list[int] = []
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, min(len(known), 127)) | st.just(min(len(known), 127)))
        count = data.draw(st.integers(1, min(70, 128 - start)))
        rows = data.draw(st.just(1) | st.integers(1, min(count, 16)))
        ids = data.draw(st.lists(st.integers(0, 419), min_size=count, max_size=count))
        known[start:] = ids
        expected = other.forward(known, 0, rows)
        found = model.forward(ids, start, rows)
        assert torch.allclose(found, expected, atol=2e-4)


def test_every_call_launches_what_was_planned(target: Path) -> None:
    model = load(target)
    expected: dict[tuple[str, int], int] = {}
    for start, count, rows in (
        (0, 30, 1),
        (30, 1, 1),
        (31, 5, 5),
        (36, 40, 1),
        (40, 3, 3),
        (43, 81, 1),
        (124, 4, 4),
        (0, 90, 2),
    ):
        model.forward([7] * count, start, rows)
        for launch in plan(start, count, rows, model.graphs):
            expected[launch.kind, launch.size] = expected.get((launch.kind, launch.size), 0) + 1
    assert launched(model) == model.launched == expected


def test_what_it_returns_can_be_written_to_and_has_the_vocabulary(target: Path) -> None:
    model = load(target, tp_degree=2)
    for ids, start, rows in (([1, 2, 3], 0, 3), ([4], 3, 1), ([1] * 32, 0, 1)):
        logits = model.forward(ids, start, rows)
        assert logits.shape == (rows, 420)
        logits += 1.0
        assert not logits.is_inference()


def test_the_context_is_no_longer_than_the_model_knows(target: Path) -> None:
    assert load(target).context_limit == 128
    assert load(target, positions=512, token_buckets=(), context_buckets=()).context_limit == 320


def test_settings_are_made_whole() -> None:
    whole = resolved(NeuronSettings(rehearse="inf2.8xlarge", windows=(64, 1, 8, 8, 4096)))
    assert (whole.library, whole.tp_degree, whole.windows) == ("tnx", 2, (8, 64))
    assert (whole.token_buckets, whole.context_buckets) == ((512, 2048), (128, 512, 2048))
    with pytest.raises(DeviceUnavailable, match="24 NeuronCores are asked for, and there are 2"):
        resolved(NeuronSettings(tp_degree=24), 2)


@pytest.mark.parametrize(
    ("rehearse", "here", "tp", "refused"),
    [
        ("trn1.32xlarge", "", 24, True),
        ("trn1.32xlarge", "", 16, False),
        ("inf2.48xlarge", "", 10, True),
        ("", "trn1.32xlarge", 24, True),
        ("", "trn1.32xlarge", 8, False),
        ("", "inf2.48xlarge", 10, False),  # AWS's lists differ: the runtime has the last word
    ],
)
def test_cores_that_cannot_work_together_are_refused_before_anything_compiles(
    monkeypatch: pytest.MonkeyPatch, rehearse: str, here: str, tp: int, refused: bool
) -> None:
    monkeypatch.setattr(
        "chatapp.engine.backends.neuron.building.find_cores",
        lambda: Cores(neuron_host(here).cores if here else 0, here),
    )
    settings = NeuronSettings(library="tnx", tp_degree=tp, rehearse=rehearse)
    if refused:
        with pytest.raises(DeviceUnavailable, match=f"NeuronCores, not over {tp}"):
            resolved(settings)
    else:
        assert resolved(settings).tp_degree == tp


def test_a_hole_in_the_text_is_a_mistake_of_the_caller(target: Path) -> None:
    model = load(target)
    model.forward([1, 2, 3], 0, 1)
    with pytest.raises(ValueError, match="position 5 behind 3"):
        model.forward([1], 5, 1)


# -- loading --------------------------------------------------------------------------------------------------


def test_two_sides_have_configurations_of_their_own(small: PairLocation) -> None:
    assert small.draft is not None
    one, two = load(small.target), load(small.draft, "draft")
    assert one._model.neuron_config is not two._model.neuron_config
    assert one.compiled_windows == (1, 2, 4, 8, 16)
    assert two.compiled_windows == (1, 64)


def test_a_split_checkpoint_is_the_same_model(target: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    save_pretrained_split = import_module("transformers_neuronx.module").save_pretrained_split
    split = tmp_path / "split"
    split.mkdir()
    save_pretrained_split(AutoModelForCausalLM.from_pretrained(target), split)
    (split / "config.json").write_text((target / "config.json").read_text())
    assert not list(split.glob("*.safetensors"))
    ids = list(range(40, 70))
    assert torch.equal(load(split).forward(ids, 0, 4), load(target).forward(ids, 0, 4))
    assert load(split).info.weights_sha256 != load(target).info.weights_sha256


def hold_cores() -> None:
    emulator.behaviour.cores_held = 8


def no_driver() -> None:
    emulator.behaviour.driver = False


def no_device() -> None:
    emulator.behaviour.devices = False


def little_memory() -> None:
    emulator.behaviour.memory_per_core = 10_000


def large_graphs() -> None:
    emulator.behaviour.graph_bytes_per_core = 7 * GIB


def one_core() -> None:
    emulator.behaviour.cores = 1


def topology() -> None:
    emulator.behaviour.allowed_degrees = (1, 8)


def killed() -> None:
    emulator.behaviour.compiler_killed = True


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (hold_cores, DeviceUnavailable, "Another process holds NeuronCores: of 32 .* 24 are free"),
        (no_driver, DeviceUnavailable, "driver is not there"),
        (no_device, DeviceUnavailable, "no Neuron device"),
        (little_memory, DeviceMemoryFull, "memory is full"),
        (
            large_graphs,
            DeviceMemoryFull,
            r"One core holds, in GiB: total 14\.00, model code 14\.00, tensors 0\.00",
        ),
        (one_core, DeviceUnavailable, "is to run on 2 NeuronCores, and this process has fewer"),
        (topology, DeviceUnavailable, "2 NeuronCores cannot work together .* 1, 2, 8, 16"),
        (killed, LoadFailed, "compiler's process ended"),
    ],
)
def test_a_device_that_cannot_be_had_says_why(
    target: Path, trouble: Any, kind: type[ModelError], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    trouble()
    with pytest.raises(kind, match=words) as raised:
        load(target)
    assert raised.value.remedy
    assert not isinstance(raised.value.__cause__, StopIteration)
    if "NRT" in str(capfd.readouterr().err):
        assert "NRT" not in str(raised.value), "the runtime's words stay in the log"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"head_dim": 16}, "heads of 8 numbers"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "scaled by yarn"),
        ({"model_type": "mistral"}, "only Llama"),
    ],
)
def test_a_model_that_it_would_run_wrongly_is_refused(
    target: Path, tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    shutil.copytree(target, tmp_path / "model")
    checkpoints.change_config(tmp_path / "model", **config)
    with pytest.raises(UnsupportedModel, match=words):
        load(tmp_path / "model")


def test_int8_is_refused(target: Path) -> None:
    with pytest.raises(UnsupportedModel, match="int8"):
        TnxBackend(SETTINGS).load(read_checkpoint(target), "neuron", role="target", weights="int8")


# -- prepared graphs ------------------------------------------------------------------------------------------


def test_what_is_not_prepared_is_refused_and_what_is_loads_without_compiling(
    small: PairLocation, tmp_path: Path
) -> None:
    asked = replace(SETTINGS, artefacts=tmp_path)
    backend = TnxBackend(asked)
    checkpoint = read_checkpoint(small.target)
    with pytest.raises(NotPrepared, match="not prepared") as refused:
        backend.load(checkpoint, "neuron", role="target")
    assert "repare" in refused.value.remedy
    store = ArtefactStore(tmp_path)
    prepare(sides_of(replace(small, neuron=asked), 1), store, lambda _: None)
    emulator.behaviour.compiler_killed = True  # compiling would fail
    model = backend.load(checkpoint, "neuron", role="target")
    assert torch.equal(
        model.forward([1, 2, 3], 0, 3),
        backend.load(checkpoint, "neuron", role="target").forward([1, 2, 3], 0, 3),
    )
    with pytest.raises(NotPrepared, match="windows"):
        TnxBackend(replace(asked, windows=(2, 4))).load(checkpoint, "neuron", role="target")


# -- running --------------------------------------------------------------------------------------------------


class Beyond(TnxModel):
    """Believes in graphs that were not compiled."""

    @classmethod
    def of(cls, model: TnxModel, **changes: Any) -> Beyond:
        model.__class__ = cls
        model.graphs = replace(model.graphs, **changes)
        assert isinstance(model, Beyond)
        return model


@pytest.mark.parametrize("role", ["target", "draft"])
@pytest.mark.parametrize(
    ("changes", "ids", "start", "words"),
    [
        ({"positions": 256, "token_buckets": (256,)}, [1], 200, "past the context that was compiled"),
        ({"windows": (3,)}, [1, 2, 3], 5, "no graph for a window of 3 at position 5 .*different shapes"),
    ],
)
def test_the_librarys_exceptions_never_get_out(
    target: Path, role: Role, changes: dict[str, Any], ids: Sequence[int], start: int, words: str
) -> None:
    model = Beyond.of(load(target, role), **changes)
    model._ids = [0] * start
    with pytest.raises(GenerationFailed if role == "target" else LaunchFailed, match=words):
        model.forward(ids, start, len(ids))


@pytest.mark.parametrize("role", ["target", "draft"])
def test_a_device_that_hangs(target: Path, role: Role) -> None:
    model = load(target, role)
    emulator.behaviour.executions_hang = True
    with pytest.raises(GenerationFailed if role == "target" else LaunchFailed, match="in time"):
        model.forward([1], 0, 1)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_a_row_stays_what_it_was_when_other_launches_follow(target: Path, dtype: str) -> None:
    """In bfloat16 it is the library's own memory, which its conversion to float32 makes anew for every launch."""
    model = load(target, dtype=dtype)
    rows = [model.forward([5, 6, 7], 0, 1), model.forward([8], 3, 1)]
    before = [row.clone() for row in rows]
    model.forward([9], 4, 1)
    model.forward([9, 10, 11], 5, 3)
    assert all(torch.equal(row, copy) for row, copy in zip(rows, before, strict=True))
    assert not torch.equal(rows[0], rows[1])


def test_a_call_before_loading_is_an_error_of_ours(target: Path) -> None:
    backend = TnxBackend(SETTINGS)
    from chatapp.engine.backends.neuron.building import build_model, graphs_of

    bare = build_model(backend.library, target, backend.settings, "target")
    model = TnxModel(
        bare,
        graphs_of(backend.settings, "target"),
        load(target).info,
        role="target",
        vocabulary=420,
        context_limit=128,
        weight_bytes=0,
        position_bytes=0,
    )
    with pytest.raises(GenerationFailed, match="no graph"):
        model.forward([1, 2], 0, 2)
