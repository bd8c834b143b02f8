"""The fast path against transformers' Llama, and the same bits for a row wherever it stands."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends import llama
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.llama import KV_BLOCK, PADDED_ROWS, LlamaModel, LlamaShape
from chatapp.engine.backends.loading import fast_path_obstacle, llama_shape, load_model
from tests.helpers import checkpoints

SHAPES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "one group": {"num_attention_heads": 4, "num_key_value_heads": 4},
    "multi-query": {"num_attention_heads": 4, "num_key_value_heads": 1},
    "three heads": {"hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 3},
    "six over three": {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3},
    "untied": {"tie_word_embeddings": False},
    "wide heads": {"head_dim": 20},
    "other rotary base": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
}
LENGTH = 300
IDS = [(index * index * 7 + index * 3) % checkpoints.VOCABULARY for index in range(LENGTH)]


@pytest.fixture(params=SHAPES, scope="module")
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LlamaModel, torch.Tensor]:
    """The fast path and transformers' logits of all of `IDS`."""
    config = checkpoints.llama_config(**SHAPES[request.param])
    directory = checkpoints.save(tmp_path_factory.mktemp("llama"), config)
    with torch.inference_mode():
        logits = checkpoints.reference(config)(torch.tensor([IDS])).logits[0]
    model = load_model(read_checkpoint(directory), "cpu")
    assert isinstance(model, LlamaModel)
    return model, logits


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    # The random logits reach about 20: 1e-4 is some 5e-6 of that.
    return float((ours - theirs).abs().max()) <= 1e-4


def test_logits_are_those_of_transformers(both: tuple[LlamaModel, torch.Tensor]) -> None:
    model, theirs = both
    assert float(theirs.abs().max()) > 1
    assert close(model.forward(IDS, 0, LENGTH), theirs)
    assert model.exact_rows


def test_in_prefill_chunks_and_token_by_token_across_blocks(both: tuple[LlamaModel, torch.Tensor]) -> None:
    model, theirs = both
    step = model.prefill_rows
    for begin in range(0, LENGTH, step):
        end = min(begin + step, LENGTH)
        assert close(model.forward(IDS[begin:end], begin, 1), theirs[end - 1 : end])
    for block in (KV_BLOCK, 2 * KV_BLOCK):
        for place in range(block - 3, block + 3):
            assert close(model.forward(IDS[place : place + 1], place, 1), theirs[place : place + 1])
        window = IDS[block - 5 : block + 6]
        assert close(model.forward(window, block - 5, 11), theirs[block - 5 : block + 6])


def test_rewinding_is_starting_earlier(both: tuple[LlamaModel, torch.Tensor]) -> None:
    model, theirs = both
    model.forward(IDS, 0, 1)
    for start in (0, 1, 63, 127, 128, 200, 256, 290):
        junk = [(token + 5) % checkpoints.VOCABULARY for token in IDS[start : start + 9]]
        model.forward(junk, start, len(junk))
        assert close(model.forward(IDS[start : start + 9], start, 9), theirs[start : start + 9])
        model.forward(IDS, 0, 1)


@lru_cache(maxsize=2)
def random_model(padded: bool) -> LlamaModel:
    shape = LlamaShape(checkpoints.VOCABULARY, 64, 2, 4, 2, 16, 96, 320, 10_000.0, 1e-5)
    weights: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(5)
    from chatapp.engine.backends.loading import expected_shapes

    for name, size in expected_shapes(shape, tied=True).items():
        weights[name] = torch.ones(size) if len(size) == 1 else torch.randn(size, generator=generator) * 0.2
    model = LlamaModel(shape, weights, ModelInfo("random", "llama", 0, "float32", ""))
    if padded:
        model._pad_rows = PADDED_ROWS
    return model


@lru_cache(maxsize=2)
def one_by_one(padded: bool) -> torch.Tensor:
    model = random_model(padded)
    return torch.cat([model.forward([token], at, 1) for at, token in enumerate(IDS)])


@pytest.mark.parametrize("padded", [False, True])
@settings(max_examples=60)
@given(data=st.data())
def test_a_rows_bits_do_not_depend_on_its_window(padded: bool, data: st.DataObject) -> None:
    single = one_by_one(padded)
    model = random_model(padded)
    model.forward(IDS, 0, 1)
    start = data.draw(st.integers(0, LENGTH - 17) | st.integers(KV_BLOCK - 16, KV_BLOCK))
    width = data.draw(st.integers(1, 17))
    kept = data.draw(st.integers(1, width))
    junk = data.draw(st.lists(st.integers(0, 419), min_size=width - kept, max_size=width - kept))
    logits = model.forward([*IDS[start : start + kept], *junk], start, width)
    assert torch.equal(logits[:kept], single[start : start + kept])


@pytest.mark.parametrize("padded", [False, True])
def test_prefill_chunks_leave_the_same_bits_as_single_tokens(padded: bool) -> None:
    """So that a conversation gives the same text whether its KV was reused or computed anew."""
    single = one_by_one(padded)
    model = random_model(padded)
    step = model.prefill_rows
    for begin in range(0, LENGTH - 1, step):
        end = min(begin + step, LENGTH - 1)
        last = model.forward(IDS[begin:end], begin, 1)
        assert torch.equal(last[0], single[end - 1])
    assert torch.equal(model.forward(IDS[-1:], LENGTH - 1, 1)[0], single[-1])


def test_padding_changes_no_logits() -> None:
    assert close(one_by_one(padded=True), one_by_one(padded=False))
    padded, plain = random_model(padded=True), random_model(padded=False)
    assert padded.prefill_rows == PADDED_ROWS
    for rows in (1, 5, 16, 17, 40):
        assert close(padded.forward(IDS[:40], 0, rows), plain.forward(IDS[:40], 0, rows))
        assert padded.forward(IDS[:40], 0, rows).shape == (rows, checkpoints.VOCABULARY)


def test_rows_that_are_not_exact_are_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where single rows and several take different ways through the kernels, every pass gets one size."""
    plain = random_model(padded=False)
    real = llama.packed_linear

    def by_size(weight: torch.Tensor) -> Any:
        product = real(weight)
        return lambda x: product(x) * (1.0 + 1e-6 * (x.shape[0] % 16))

    monkeypatch.setattr(llama, "packed_linear", by_size)
    random_model.cache_clear()
    uneven = random_model(padded=False)
    random_model.cache_clear()
    assert uneven._pad_rows == PADDED_ROWS
    assert uneven.exact_rows
    assert close(uneven.forward(IDS[:30], 0, 30), plain.forward(IDS[:30], 0, 30))


def test_a_prefill_chunk_that_is_not_exact_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide passes may take another way through the kernels than windows do."""
    real = llama.packed_linear

    def by_size(weight: torch.Tensor) -> Any:
        product = real(weight)
        return lambda x: product(x) * (1.0 + 1e-6 * (x.shape[0] > 32))

    monkeypatch.setattr(llama, "packed_linear", by_size)
    random_model.cache_clear()
    uneven = random_model(padded=False)
    random_model.cache_clear()
    assert uneven.prefill_rows == PADDED_ROWS
    assert uneven.exact_rows


def test_the_kv_length_of_a_row_is_that_of_its_own_block() -> None:
    """Kernels may sum differently over another length, even where the rest is masked: the window must not choose it."""
    model = random_model(padded=False)
    for start in (0, 1, 100, 120, 127, 128, 250, 255, 256, 300):
        for count in (1, 2, 9, 16):
            seen = []
            for first, stop, length, mask in model._attention_groups(start, count):
                assert mask.shape == (stop - first, 1, 1, length)
                seen += [length] * (stop - first)
            wanted = [((start + row) // KV_BLOCK + 1) * KV_BLOCK for row in range(count)]
            assert seen == [min(length, 320) for length in wanted]


def test_the_end_of_the_context() -> None:
    model = random_model(padded=False)
    ids = [index % 400 for index in range(320)]
    model.forward(ids, 0, 1)
    with pytest.raises(ValueError, match="past the context of 320"):
        model.forward([1], 320, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "qwen2"}, "qwen2"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "scaled"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "scaled"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_the_fast_path_leaves_to_transformers(change: dict[str, Any], why: str) -> None:
    config = checkpoints.llama_config().to_dict()
    assert fast_path_obstacle(config) is None
    assert why in str(fast_path_obstacle({**config, **change}))


def test_rotary_base_of_old_and_new_configs(tmp_path: Path) -> None:
    directory = checkpoints.save(tmp_path, checkpoints.llama_config())
    checkpoints.change_config(
        directory, rope_parameters={"rope_type": "default", "rope_theta": 777.0}, rope_theta=None
    )
    assert llama_shape(read_checkpoint(directory)).rope_theta == 777.0
    checkpoints.change_config(directory, rope_parameters=None, rope_theta=888.0)
    assert llama_shape(read_checkpoint(directory)).rope_theta == 888.0
