"""neuron-contract.md §3: `forward` for prompts and single tokens, `reset`, `sample`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from chatapp.engine.backends import emulator
from tests.helpers import checkpoints

IDS = torch.tensor([[(index * index * 7 + index * 3) % checkpoints.VOCABULARY for index in range(128)]])


def ran(model: Any) -> dict[tuple[str, int, int], int]:
    return {(one.kind, one.rows, one.bucket): times for one, times in emulator.launches.of(model).items()}


def singly(model: Any, count: int) -> torch.Tensor:
    """Logits after `count` tokens, one at a time."""
    logits = torch.empty(0)
    for place in range(count):
        logits = model(IDS[:, place : place + 1], torch.tensor([place]))
    return logits


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (10, {("context", 16, 16): 1}),
        (16, {("context", 16, 16): 1}),
        (20, {("context", 32, 32): 1}),
        (40, {("context", 32, 32): 1, ("token", 1, 64): 8}),
        (1, {("token", 1, 64): 1}),
    ],
)
def test_a_prompt_is_padded_to_a_bucket_and_its_rest_goes_singly(
    make: Callable[..., Any], given: bool, count: int, wanted: dict[tuple[str, int, int], int]
) -> None:
    """neuron-contract.md §3, table, and §4.4: eight tokens past the largest bucket are eight launches, without a word."""
    model = make()
    logits = model(IDS[:, :count], torch.arange(count) if given else None)
    assert ran(model) == wanted
    assert (tuple(logits.shape), logits.dtype) == ((1, checkpoints.VOCABULARY), torch.float32)
    assert torch.allclose(logits, singly(make(), count), atol=1e-4)


def test_padding_is_token_0_and_it_is_written(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3 and §4.3: a prefill writes all of [0, bucket)."""
    model, padded = make(), make()
    model(IDS[:, :10])
    padded(torch.nn.functional.pad(IDS[:, :10], (0, 6)))
    cache = model._shared.caches[1]
    assert torch.equal(cache.keys[0], padded._shared.caches[1].keys[0])
    written = cache.values[0].flatten(1).abs().sum(1).nonzero().flatten().tolist()
    assert written == list(range(16))


def test_a_prefill_starts_over(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3: it always starts at 0, and what is beyond the prompt is masked."""
    model = make()
    model(IDS[:, :40])
    assert torch.equal(model(IDS[:, 60:70]), make()(IDS[:, 60:70]))


def test_padding_on_the_left_is_hidden_by_start_ids(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.3 `start_ids`, of a prompt: what stands before is not seen."""
    model = make()
    start = torch.tensor([5])
    other = IDS[:, :16].clone()
    other[:, :5] = 0
    assert torch.equal(model(IDS[:, :16], None, start), model(other, None, start))
    assert not torch.allclose(model(IDS[:, :16]), model(other))


def test_one_token_at_its_position(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3, table: the bucket is the smallest past it."""
    model = make()
    model(IDS[:, :10])
    for place, bucket in ((10, 64), (63, 64), (64, 128), (127, 128)):
        before = ran(model).get(("token", 1, bucket), 0)
        model(IDS[:, :1], torch.tensor([place]))
        assert ran(model)["token", 1, bucket] == before + 1


def test_one_token_without_a_position_overwrites_the_first(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3, table, and §4.4: silently at position 0."""
    model = make()
    model(IDS[:, :10])
    wanted = model(IDS[:, 10:11], torch.tensor([10]))
    cache = model._shared.caches[1].keys[0]
    before = cache.clone()
    assert torch.equal(model(IDS[:, 77:78]), make()(IDS[:, 77:78], torch.tensor([0])))
    changed = (cache != before).flatten(1).any(1).nonzero().flatten().tolist()
    assert changed == [0]
    assert not torch.allclose(model(IDS[:, 10:11], torch.tensor([10])), wanted)


def test_one_token_past_the_end_is_a_stop_iteration(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3, table."""
    with pytest.raises(StopIteration):
        make()(IDS[:, :1], torch.tensor([128]))


@pytest.mark.parametrize(
    ("count", "error"),
    [(3, ValueError), (15, ValueError), (20, ValueError), (16, StopIteration), (32, StopIteration)],
)
def test_several_tokens_later_than_0_never_work(
    make: Callable[..., Any], count: int, error: type[Exception]
) -> None:
    """neuron-contract.md §3, table, and §4.4."""
    model = make()
    model(IDS[:, :10])
    with pytest.raises(error) as caught:
        model(IDS[:, 10 : 10 + count], torch.arange(10, 10 + count))
    if error is ValueError:
        estimate = 16 if count < 16 else 32
        assert (
            str(caught.value) == f"context_length ({count}) shouldn't be smaller than estimate ({estimate})"
        )
    assert ran(model) == {("context", 16, 16): 1}


@pytest.mark.parametrize("window", [False, True])
def test_without_context_graphs_positions_are_ignored(make: Callable[..., Any], window: bool) -> None:
    """neuron-contract.md §3, table: silent corruption; the tokens run from position 0."""
    model = make(context_length_estimate=0, on_cores=False)
    if window:
        model.enable_window_context_decoder(4)
    model.to_neuron()
    model(IDS[:, :10])
    got = model(IDS[:, 10:18], torch.arange(10, 18))
    assert torch.allclose(got, make()(IDS[:, 10:18]), atol=1e-4)


def test_a_batch_that_was_not_compiled_is_a_key_error(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3, table."""
    model = make()
    with pytest.raises(KeyError, match=r"^\(16, 2\)$"):
        model(IDS[:, :10].expand(2, -1))
    with pytest.raises(KeyError, match=r"^\(64, 2\)$"):
        model(IDS[:, :1].expand(2, -1), torch.tensor([0]))


def test_all_logits_come_over_the_padded_vocabulary(
    library: ModuleType, make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """neuron-contract.md §3: `(batch, rows, padded vocabulary)`, and only of calls with several tokens."""
    monkeypatch.setenv("NEURON_VOCAB_PAD_DIVISOR", "64")
    model = make(neuron_config=library.NeuronConfig(output_all_logits=True))
    got = model(IDS[:, :16])
    assert got.shape == (1, 16, 448)
    assert torch.equal(got[:, :, 420:], torch.zeros(1, 16, 28))
    assert torch.allclose(got[:, -1, :420], make()(IDS[:, :16]), atol=1e-4)
    assert model(IDS[:, 16:17], torch.tensor([16])).shape == (1, 420)


def test_the_window_decoder_helps_with_the_rest_of_a_prompt(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3: whole windows, then single tokens; nothing is padded."""
    model = make(on_cores=False)
    model.enable_window_context_decoder(4)
    model.to_neuron()
    logits = model(IDS[:, :42])
    assert ran(model) == {("context", 32, 32): 1, ("window", 4, 64): 2, ("token", 1, 64): 2}
    assert torch.allclose(logits, singly(make(), 42), atol=1e-4)


def test_reset_zeros_the_kv_and_is_not_needed(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3."""
    model = make(batch_size=[1, 2])
    model(IDS[:, :20])
    model.reset()
    for cache in model._shared.caches.values():
        assert not any(bool(one.any()) for one in (*cache.keys, *cache.values))


def test_two_dimensional_positions_with_padding_on_the_right(
    library: ModuleType, make: Callable[..., Any]
) -> None:
    """neuron-contract.md §1.4 `padding_side`: one-dimensional ones then fail."""
    model = make(neuron_config=library.NeuronConfig(padding_side="right"))
    got = model(IDS[:, :10], torch.arange(10)[None])
    assert torch.allclose(got, make()(IDS[:, :10]), atol=1e-4)
    assert model(IDS[:, 10:11], torch.tensor([[10]])).shape == (1, 420)
    with pytest.raises(ValueError, match="not enough values to unpack"):
        model(IDS[:, 10:11], torch.tensor([10]))
    with pytest.raises(IndexError, match="Dimension out of range"):
        model(IDS[:, :10], torch.arange(10))
    with pytest.raises(AssertionError, match="different shapes"):
        model.speculative_forward(IDS[:, 10:14], torch.arange(10, 14), None, 4)


def test_sampling_counts_the_prompt_and_wastes_its_last_launch(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3 `sample`: ten tokens after a prompt are ten single launches."""
    model = make()
    tokens = model.sample(IDS[:, :10], 20, eos_token_override=-1)
    assert tokens.shape == (1, 20)
    assert torch.equal(tokens[:, :10], IDS[:, :10])
    assert ran(model) == {("context", 16, 16): 1, ("token", 1, 64): 10}


def test_sampling_takes_a_list_of_ends(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3 `sample`."""
    model = make()
    greedy = int(model(IDS[:, :10]).argmax())
    tokens = model.sample(IDS[:, :10], 20, top_k=1, eos_token_override=[419, greedy])
    assert tokens.shape == (1, 11)
    assert int(tokens[0, -1]) == greedy


def test_sampling_past_the_positions_is_a_stop_iteration(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3 `sample`: the wasted launch needs a position too."""
    with pytest.raises(StopIteration):
        make().sample(IDS[:, :10], 129, eos_token_override=-1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": 1}, "temperature has to be a strictly positive float"),
        ({"temperature": 0.0}, "temperature has to be a strictly positive float"),
        ({"top_k": 0}, "top_k has to be a strictly positive int"),
        ({"top_k": 1.0}, "top_k has to be a strictly positive int"),
        ({"top_p": 1}, "top_p has to be a strictly positive float"),
    ],
)
def test_sampling_is_strict_about_its_numbers(
    make: Callable[..., Any], options: dict[str, Any], text: str
) -> None:
    """neuron-contract.md §3 `sample`."""
    with pytest.raises(ValueError, match=text):
        make().sample(IDS[:, :10], 20, **options)


def test_sampling_another_batch_is_a_value_error(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="Model not compiled for batch_size : 2"):
        make().sample(IDS[:, :10].expand(2, -1), 20)


def test_sampling_keeps_what_top_k_and_top_p_leave(make: Callable[..., Any]) -> None:
    """neuron-contract.md §3 `sample`: a tiny top_p is greedy."""
    model = make()
    greedy = model.sample(IDS[:, :10], 30, top_k=1, eos_token_override=-1)
    assert torch.equal(model.sample(IDS[:, :10], 30, top_p=1e-6, eos_token_override=-1), greedy)
    cold = model.sample(IDS[:, :10], 30, top_k=None, temperature=1e-4, eos_token_override=-1)
    assert torch.equal(cold, greedy)
    hot = model.sample(IDS[:, :10], 30, temperature=50.0, top_k=None, eos_token_override=-1)
    assert not torch.equal(hot, greedy)  # twenty times the best of 420: never
