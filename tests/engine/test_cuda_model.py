"""The device path's decoder, on the CPU: transformers' logits, rewinds, the same bits for a row wherever it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.cuda.device import ROW_SIZES, DeviceModel
from chatapp.engine.backends.cuda.loading import load_cuda
from chatapp.engine.backends.loading import load_model
from tests.helpers import checkpoints
from tests.helpers.device import device_model, tiny_shape

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CONFIGS: dict[str, Any] = {
    "llama": checkpoints.llama_config(),
    "llama, untied, one group": checkpoints.llama_config(tie_word_embeddings=False, num_key_value_heads=1),
    "llama, biases": checkpoints.llama_config(attention_bias=True, mlp_bias=True),
    "llama, every head its own, scaled": checkpoints.llama_config(
        num_key_value_heads=4, rope_parameters=LLAMA3
    ),
    "mistral": checkpoints.mistral_config(sliding_window=None),
    "qwen2": checkpoints.qwen2_config(),
    "qwen3": checkpoints.qwen3_config(),
}
LENGTH = 300
IDS = [(index * index * 7 + index * 3) % checkpoints.VOCABULARY for index in range(LENGTH)]


@pytest.fixture(params=CONFIGS, scope="module")
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DeviceModel, torch.Tensor]:
    """The device path and transformers' logits of all of `IDS`."""
    config = CONFIGS[request.param]
    directory = checkpoints.save(tmp_path_factory.mktemp("device"), config)
    with torch.inference_mode():
        logits = checkpoints.reference(config)(torch.tensor([IDS])).logits[0]
    return load_cuda(read_checkpoint(directory), "cpu", role="target"), logits


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return float((ours - theirs).abs().max()) <= 1e-4


def test_logits_are_those_of_transformers(both: tuple[DeviceModel, torch.Tensor]) -> None:
    model, theirs = both
    assert float(theirs.abs().max()) > 1
    assert close(model.forward(IDS, 0, LENGTH), theirs)
    assert close(model.forward(IDS, 0, 1), theirs[-1:])


def test_rewinding_is_starting_earlier(both: tuple[DeviceModel, torch.Tensor]) -> None:
    model, theirs = both
    model.forward(IDS, 0, 1)
    for start in (290, 256, 250, 128, 63, 1):
        junk = [(token + 5) % checkpoints.VOCABULARY for token in IDS[start : start + 9]]
        model.forward(junk, start, len(junk))
        assert close(model.forward(IDS[start : start + 9], start, 9), theirs[start : start + 9])
    assert close(model.forward(IDS[:9], 0, 9), theirs[:9])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_bits_wherever_it_stands(dtype: torch.dtype) -> None:
    model = device_model(tiny_shape(), dtype=dtype)
    assert model.exact_rows
    assert "rows exact" in model.info.runs_on
    ids = [token % model.vocabulary for token in IDS]
    # Over the border of a reach, too: 256 positions.
    model.forward(ids[:244], 0, 1)
    single = torch.cat([model.forward([ids[at]], at, 1) for at in range(244, 276)])
    for width in (2, 3, 5, 7, 11, 16):
        model.forward(ids[:244], 0, 1)
        parts = [
            model.forward(ids[at : min(at + width, 276)], at, min(width, 276 - at))
            for at in range(244, 276, width)
        ]
        assert torch.equal(torch.cat(parts), single), width


@pytest.mark.parametrize("context_limit", [9, 16, 100, 256, 264])
def test_every_length_of_context_is_measured_right(context_limit: int) -> None:
    model = device_model(tiny_shape(context_limit=context_limit))
    assert model.exact_rows
    ids = [token % model.vocabulary for token in IDS[:context_limit]]
    rows = min(16, context_limit)
    together = model.forward(ids, 0, rows)
    alone = [model.forward([ids[at]], at, 1) for at in range(context_limit - rows, context_limit)]
    assert torch.equal(together, torch.cat(alone))


def test_a_cached_prompt_gives_the_same_first_row_as_a_fresh_one() -> None:
    model = device_model(tiny_shape())
    ids = [token % model.vocabulary for token in IDS]
    fresh = model.forward(ids[:270], 0, 1)
    assert torch.equal(model.forward(ids[269:270], 269, 1), fresh)
    in_two = torch.cat([model.forward(ids[:100], 0, 1), model.forward(ids[100:270], 100, 1)])[-1:]
    assert float((in_two - fresh).abs().max()) <= 1e-5


def test_bfloat16_stays_bfloat16(tmp_path: Path) -> None:
    directory = checkpoints.save(tmp_path, checkpoints.llama_config())
    kept = {
        name: tensor.bfloat16()
        for name, tensor in read_checkpoint(directory).load_weights(torch.float32).items()
    }
    checkpoints.change_weights(
        directory, **{name.replace(".", "__"): tensor for name, tensor in kept.items()}
    )
    model = load_cuda(read_checkpoint(directory), "cpu", role="draft")
    assert model.decoder.dtype == torch.bfloat16
    assert model.info.dtype == "bfloat16"
    full = load_cuda(
        read_checkpoint(checkpoints.save(tmp_path / "full", checkpoints.llama_config())), "cpu", role="target"
    )
    ours, theirs = model.forward(IDS[:40], 0, 16), full.forward(IDS[:40], 0, 16)
    assert ours.dtype == torch.float32
    # The grain of bfloat16 is 1/256 of a value; logits reach about 10 and two layers add some up.
    assert float((ours - theirs).abs().max()) < 0.5
    assert not torch.equal(ours, theirs)


def test_a_nan_that_was_left_in_the_kv_does_not_reach_the_next_reply() -> None:
    model = device_model(tiny_shape())
    first = model.forward([1, 2, 3], 0, 3)
    with torch.inference_mode():
        model.decoder._cache[:, :, 0, :, 50:60] = float("nan")
    assert not bool(torch.isfinite(model.forward([4], 3, 1)).all()), "behind a mask it would count"
    assert torch.equal(model.forward([1, 2, 3], 0, 3), first)


def test_the_end_of_the_context() -> None:
    model = device_model(tiny_shape(context_limit=300))
    ids = [token % model.vocabulary for token in IDS]
    assert model.forward(ids, 0, 1).shape == (1, model.vocabulary)
    with pytest.raises(ValueError, match="position 301 is past the context of 300"):
        model.forward(ids[:2], 299, 1)


def test_a_draft_takes_the_smallest_pass_and_a_target_what_is_exact() -> None:
    draft, target = device_model(tiny_shape(), exact=False), device_model(tiny_shape())
    assert [draft.pass_rows(count) for count in (1, 2, 3, 9, 16)] == [1, 2, 4, 16, 16]
    assert target.pass_rows(3) in ROW_SIZES


def test_traffic_counts_weights_and_kv_once() -> None:
    model = device_model(tiny_shape())
    per_position = model.traffic(1, 11) - model.traffic(1, 10)
    assert per_position == 2 * 2 * 2 * 4 * 4, "layers · (K, V) · kv_heads · head_dim · float32"
    assert model.traffic(1, 0) > 4 * 16 * model.vocabulary


def test_load_model_takes_the_device_path_for_cuda_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def note(checkpoint: Any, device: str, *, role: str) -> DeviceModel:
        seen.append((device, role))
        return load_cuda(checkpoint, "cpu", role=role)

    monkeypatch.setattr("chatapp.engine.backends.loading.load_cuda", note)
    directory = checkpoints.save(tmp_path, checkpoints.llama_config())
    model = load_model(read_checkpoint(directory), "cuda", role="target")
    assert isinstance(model, DeviceModel)
    assert seen == [("cuda", "target")]
    assert model.info.runs_on.startswith("device path, float32, plain launches, rows exact")
