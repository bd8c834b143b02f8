"""Very small drafts, compiled and in numpy: transformers' logits, at every width of a pass, after any rewind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends import loading
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.decoder import kernels
from chatapp.engine.backends.decoder.shape import read_shape
from chatapp.engine.backends.decoder.whole import WholeDecoder
from chatapp.engine.backends.loading import load_model
from chatapp.engine.backends.tiny import TinyDraft
from tests.helpers import checkpoints

SHAPES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "one group": {"num_attention_heads": 4, "num_key_value_heads": 4},
    "multi-query": {"num_attention_heads": 4, "num_key_value_heads": 1},
    "untied": {"tie_word_embeddings": False},
    "wide heads": {"head_dim": 20},
    "other rotary base": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
}
IDS = [(index * index * 7 + index * 3) % checkpoints.VOCABULARY for index in range(120)]


Tiny = TinyDraft | WholeDecoder
MAKERS: dict[str, Callable[..., Tiny]] = {
    "compiled": lambda shape, weights, info: WholeDecoder(shape, weights, info, kernels),
    "numpy": TinyDraft,
}


def tiny(directory: Path, way: str) -> Tiny:
    checkpoint = read_checkpoint(directory)
    weights = checkpoint.load_weights(torch.float32)
    named = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    info = ModelInfo("tiny", "LlamaForCausalLM", 0, "float32", "")
    return MAKERS[way](read_shape(directory, checkpoint.config), named, info)


@pytest.fixture(params=[(name, way) for name in SHAPES for way in MAKERS], ids=" - ".join, scope="module")
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tiny, torch.Tensor]:
    name, way = request.param
    config = checkpoints.llama_config(**SHAPES[name])
    directory = checkpoints.save(tmp_path_factory.mktemp("tiny"), config)
    with torch.inference_mode():
        logits = checkpoints.reference(config)(torch.tensor([IDS])).logits[0]
    return tiny(directory, way), logits


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= 1e-4


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_logits_are_those_of_transformers(both: tuple[Tiny, torch.Tensor], width: int) -> None:
    model, theirs = both
    assert float(theirs.abs().max()) > 1
    for start in range(0, len(IDS), width):
        ids = IDS[start : start + width]
        logits = model.forward(ids, start, len(ids))
        assert logits.dtype == torch.float32
        assert close(logits, theirs[start : start + len(ids)]), start


def test_a_rewind_is_a_smaller_position(both: tuple[Tiny, torch.Tensor]) -> None:
    model, theirs = both
    model.forward(IDS[:60], 0, 1)
    model.forward([3, 1, 4, 1, 5], 40, 5)
    assert close(model.forward([*IDS[40:50]], 40, 3), theirs[47:50])
    assert close(model.forward(IDS[50:51], 50, 1), theirs[50:51])


def test_extreme_gates_are_no_warning_and_no_nan(both: tuple[Tiny, torch.Tensor]) -> None:
    model, _ = both
    gates: list[Any] = (
        [layer.gate_up.weights for layer in model._layers]
        if isinstance(model, WholeDecoder)
        else [layer.gate_up for layer in model._layers]
    )
    for gate in gates:
        gate *= 1e4
    try:
        assert bool(torch.isfinite(model.forward(IDS[:1], 0, 1)).all())
        assert bool(torch.isfinite(model.forward(IDS[:9], 0, 9)).all())
    finally:
        for gate in gates:
            gate /= 1e4


def test_the_context_has_an_end_and_traffic_grows_with_it(both: tuple[Tiny, torch.Tensor]) -> None:
    model, _ = both
    limit = model.context_limit
    with pytest.raises(ValueError, match="past the context"):
        model.forward([1, 2], limit - 1, 1)
    assert model.traffic(1, 0) > 4 * 32 * checkpoints.VOCABULARY
    assert model.traffic(1, 200) > model.traffic(1, 100)


def test_a_row_is_the_same_however_many_are_computed(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoints.llama_config())
    model = tiny(tmp_path, "compiled")
    single = torch.cat([model.forward([token], at, 1) for at, token in enumerate(IDS)])
    assert torch.equal(model.forward(IDS, 0, len(IDS)), single)
    assert torch.equal(model.forward(IDS[50:53], 50, 2), single[51:53])


@pytest.mark.parametrize("token", [-1, checkpoints.VOCABULARY])
def test_ids_that_have_no_embedding_are_refused(tmp_path: Path, token: int) -> None:
    """The compiled call would read whatever lies there."""
    checkpoints.save(tmp_path, checkpoints.llama_config())
    with pytest.raises(IndexError, match="ids must lie in"):
        tiny(tmp_path, "compiled").forward([3, token], 0, 1)


def test_bfloat16_is_kept(tmp_path: Path) -> None:
    config = checkpoints.llama_config()
    checkpoints.save(tmp_path, config, dtype=torch.bfloat16)
    checkpoint = read_checkpoint(tmp_path)
    model = load_model(checkpoint, "cpu", role="draft")
    assert isinstance(model, WholeDecoder)
    assert model.info.dtype == "bfloat16"
    wide = {
        name.removeprefix("model."): tensor for name, tensor in checkpoint.load_weights(torch.float32).items()
    }
    same = WholeDecoder(read_shape(tmp_path, checkpoint.config), wide, model.info, kernels)
    expected = same.forward(IDS, 0, 60)
    # Eight bits of what every product reads; float32 is what they are summed in.
    error = (model.forward(IDS, 0, 60) - expected).abs()
    assert float(error.mean()) < 0.04 * float(expected.abs().mean())
    assert model.traffic(1, 0) < 0.55 * same.traffic(1, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("role", ["target", "draft"])
def test_a_size_that_is_odd(tmp_path: Path, role: Any, dtype: torch.dtype) -> None:
    """Kernels take bfloat16 two numbers at a time."""
    config = checkpoints.llama_config(intermediate_size=51)
    checkpoints.save(tmp_path, config, dtype=dtype)
    checkpoint = read_checkpoint(tmp_path)
    model = load_model(checkpoint, "cpu", role=role)
    wide = {
        name.removeprefix("model."): tensor for name, tensor in checkpoint.load_weights(torch.float32).items()
    }
    expected = TinyDraft(read_shape(tmp_path, checkpoint.config), wide, model.info).forward(IDS, 0, 60)
    error = (model.forward(IDS, 0, 60) - expected).abs()
    assert float(error.mean()) < (1e-5 if model.info.dtype == "float32" else 0.04) * float(
        expected.abs().mean()
    )
    if role == "draft":
        assert model.info.runs_on == "fast path for the smallest drafts, float32, one compiled call"


@pytest.mark.parametrize("weights", ["auto", "int8"])
def test_a_large_head_is_read_in_fewer_bytes(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is then most of what a draft step reads; the layers stay in float32. `auto` where a whole call is slower."""
    monkeypatch.setattr(loading, "suits", lambda *_: False)
    config = checkpoints.llama_config(vocab_size=40_000)
    checkpoints.save(tmp_path / "large", config)
    with torch.inference_mode():
        logits = checkpoints.reference(config)(torch.tensor([IDS])).logits[0]
    model = load_model(read_checkpoint(tmp_path / "large"), "cpu", role="draft", weights=weights)
    assert isinstance(model, WholeDecoder)
    assert ("the head in int8" if weights == "int8" else "the head in float32") in model.info.runs_on
    head_bytes = 40_000 * config.hidden_size * (1 if weights == "int8" else 4)
    assert head_bytes < model.traffic(1, 0) < 1.2 * head_bytes + 4e5
    ours = torch.cat(
        [model.forward(IDS[:64], 0, 64), *(model.forward([IDS[at]], at, 1) for at in range(64, 80))]
    )
    error = float((ours - logits[:80]).abs().max())
    assert error <= (0.05 * float(logits.abs().max()) if weights == "int8" else 1e-4)
    assert float((ours.argmax(-1) == logits[:80].argmax(-1)).float().mean()) > 0.9
