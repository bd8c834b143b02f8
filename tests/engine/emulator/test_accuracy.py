"""What the emulator computes is what transformers computes, in float32; with bf16 it is that with bf16's grain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from chatapp.resources import builtin_pair
from tests.helpers import checkpoints

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CONFIGS: dict[str, Any] = {
    "grouped": checkpoints.llama_config(),
    "multi-query": checkpoints.llama_config(num_key_value_heads=1),
    "as many": checkpoints.llama_config(num_key_value_heads=4),
    "untied": checkpoints.llama_config(tie_word_embeddings=False),
    "rotary base": checkpoints.llama_config(rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    "llama3 positions": checkpoints.llama_config(rope_parameters=LLAMA3),
    "wide epsilon": checkpoints.llama_config(rms_norm_eps=0.1),
}
LENGTH = 90
IDS = torch.tensor([[(index * index * 7 + index * 3) % checkpoints.VOCABULARY for index in range(LENGTH)]])


def expected(path: Path, ids: torch.Tensor) -> torch.Tensor:
    """transformers' logits of every position, `[n, V]`."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        logits: torch.Tensor = model(ids).logits[0]
    return logits


def emulated(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Logits from the last position of a prefill of 20 on: by windows of 8 and 4 in turn, and by single tokens."""
    rows = [model(ids[:, :20])]
    place, turn = 20, 0
    while place < ids.shape[1]:
        count = (8, 1, 4)[turn % 3]
        turn += 1
        if place + count > ids.shape[1]:
            count = 1
        positions = torch.arange(place, place + count)
        part = ids[:, place : place + count]
        if count == 1:
            rows.append(model(part, positions))
        else:
            rows.append(model.speculative_forward(part, positions, None, 8)[:, :, 0])
        place += count
    return torch.cat(rows)


@pytest.mark.parametrize("name", CONFIGS)
def test_float32_is_transformers(make: Callable[..., Any], tmp_path: Path, name: str) -> None:
    path = checkpoints.save(tmp_path, CONFIGS[name], seed=3)
    got = emulated(make(path=path, tp_degree=1), IDS)
    assert (got - expected(path, IDS)[19:]).abs().max() <= 1e-4


@pytest.mark.parametrize("side", ["target", "draft"])
def test_float32_is_transformers_on_the_pair_that_comes_along(library: ModuleType, side: str) -> None:
    """Its explicit head_dim is hidden_size / num_attention_heads, so nothing is lost where the library ignores it."""
    path = getattr(builtin_pair(), side)
    model = library.LlamaForSampling.from_pretrained(
        str(path), n_positions=[256], context_length_estimate=[64]
    )
    model.enable_speculative_decoder([4, 8])
    model.to_neuron()
    ids = (IDS * 7) % 3072
    assert (emulated(model, ids) - expected(path, ids)[19:]).abs().max() <= 1e-4


def test_greedy_text_is_transformers(library: ModuleType) -> None:
    path = builtin_pair().target
    reference = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    prompt = (IDS[:, :23] * 5) % 3072
    model = library.LlamaForSampling.from_pretrained(
        str(path), n_positions=[128], context_length_estimate=[64]
    )
    model.to_neuron()
    with torch.no_grad():
        wanted = reference.generate(prompt, max_new_tokens=60, min_new_tokens=60, do_sample=False)
    ids = prompt
    logits = model(ids)
    # transformers keeps the end away by its logit
    for place in range(prompt.shape[1], wanted.shape[1]):
        logits[:, 1] = -torch.inf
        token = logits.argmax(1, keepdim=True)
        ids = torch.cat((ids, token), 1)
        logits = model(token, torch.tensor([place]))
    assert ids.tolist() == wanted.tolist()


@pytest.mark.parametrize(("amp", "dtype"), [("bf16", torch.bfloat16), ("f16", torch.float16)])
def test_logits_have_the_grain_of_the_type(
    make: Callable[..., Any], directory: Path, amp: str, dtype: torch.dtype
) -> None:
    """neuron-contract.md §2.3: computed in `amp`, cast to float32 on the host, so ties are possible."""
    got = emulated(make(amp=amp), IDS)
    assert got.dtype == torch.float32
    assert torch.equal(got, got.to(dtype).float())
    difference = (got - expected(directory, IDS)[19:]).abs().max()
    assert 0 < difference < 0.5
