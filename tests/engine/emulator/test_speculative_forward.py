"""neuron-contract.md §2: `speculative_forward` on one KV array by position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from chatapp.engine.backends import emulator
from chatapp.engine.backends.emulator import Launch
from tests.helpers import checkpoints

IDS = torch.tensor([[(index * index * 7 + index * 3) % checkpoints.VOCABULARY for index in range(128)]])


def ran(model: Any) -> dict[tuple[str, int, int], int]:
    return {(one.kind, one.rows, one.bucket): times for one, times in emulator.launches.of(model).items()}


def verify(model: Any, count: int, place: int, length: Any = 8) -> torch.Tensor:
    logits: torch.Tensor = model.speculative_forward(
        IDS[:, place : place + count], torch.arange(place, place + count), None, length
    )
    return logits


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7])
def test_a_length_that_was_not_compiled_is_an_assertion(make: Callable[..., Any], count: int) -> None:
    """neuron-contract.md §2.2, table: nothing is padded."""
    model = make()
    model(IDS[:, :10])
    compiled = 4 if count < 4 else 8
    text = (
        rf"^Copying tensor from host to device: buffer \(torch.Size\(\[32, {compiled}, 1\]\)\) and tensor "
        rf"\(torch.Size\(\[32, {count}, 1\]\)\) have different shapes!$"
    )
    with pytest.raises(AssertionError, match=text):
        verify(model, count, 10)


@pytest.mark.parametrize("count", [4, 8])
def test_a_compiled_length_runs(make: Callable[..., Any], count: int) -> None:
    """neuron-contract.md §2.2, table, and §2.3: `(rows, vocabulary, batch)`, row i for the token after input i."""
    model = make()
    model(IDS[:, :10])
    logits = verify(model, count, 10)
    assert (tuple(logits.shape), logits.dtype) == ((count, checkpoints.VOCABULARY, 1), torch.float32)
    assert ran(model)["spec", count, 64] == 1


@pytest.mark.parametrize("count", [9, 12])
def test_a_longer_call_is_cut_off_in_silence(make: Callable[..., Any], count: int) -> None:
    """neuron-contract.md §2.2, table and §4.1: the first eight tokens, eight rows."""
    model = make()
    model(IDS[:, :10])
    assert torch.equal(verify(model, count, 10), verify(model, 8, 10))


def test_the_length_argument_is_ignored(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.2: the number of tokens decides, whatever the argument says."""
    model = make()
    model(IDS[:, :10])
    assert torch.equal(verify(model, 4, 10, length=8), verify(model, 4, 10, length=5000))
    assert ran(model)["spec", 4, 64] == 2


def test_no_length_runs_token_by_token_and_fails(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.2."""
    model = make()
    model(IDS[:, :10])
    with pytest.raises(TypeError, match=r"^bad operand type for unary -: 'NoneType'$"):
        verify(model, 4, 10, length=None)
    assert ran(model)["token", 1, 64] == 4


def test_a_tuple_no_decoder_and_another_batch_are_key_errors(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.2."""
    model = make()
    with pytest.raises(KeyError, match=r"\(\(4, 1\), 1\)"):
        verify(model, 4, 10, length=(4, 1))
    with pytest.raises(KeyError, match=r"\(4, 2\)"):
        model.speculative_forward(IDS[:, :4].expand(2, -1), torch.arange(4), None, 4)
    with pytest.raises(KeyError, match=r"\(None, 1\)"):
        verify(make(windows=[]), 4, 10)


def test_windows_must_be_enabled_ascending(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.2 and §4.1: the search bisects in the order of enabling."""
    model = make(windows=[8, 4])
    model(IDS[:, :10])
    with pytest.raises(AssertionError, match=r"buffer \(torch.Size\(\[32, 8, 1\]\)\)"):
        verify(model, 4, 10)
    model = make(windows=[])
    model.enable_speculative_decoder([4])
    model.enable_speculative_decoder(8)
    assert list(model.decoder_lm_head_for_speculation) == [(4, 1), (8, 1)]


def test_the_bucket_is_the_smallest_past_the_last_position(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.2: 56..63 in 64, 57..64 in 128."""
    model = make()
    verify(model, 8, 56)
    verify(model, 8, 57)
    assert ran(model) == {("spec", 8, 64): 1, ("spec", 8, 128): 1}


def test_past_the_end_is_a_bare_stop_iteration(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.2 and §4.1: 124..127 is the last window of four, also when the row too far would be cut off."""
    model = make()
    assert verify(model, 4, 124).shape[0] == 4
    with pytest.raises(StopIteration) as caught:
        model.speculative_forward(IDS[:, :4], torch.arange(125, 129), None, 4)
    assert caught.value.value is None
    with pytest.raises(StopIteration):
        model.speculative_forward(IDS[:, :9], torch.arange(120, 129), None, 8)

    def stepping() -> Any:
        yield model(IDS[:, :1], torch.tensor([128]))

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        next(stepping())


def test_ids_and_positions_may_be_of_any_integer_type(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.3."""
    model = make()
    model(IDS[:, :10])
    results = [
        model.speculative_forward(IDS[:, 10:14].to(ids), torch.arange(10, 14, dtype=places), None, 4)
        for ids, places in (
            (torch.int64, torch.int64),
            (torch.int32, torch.int32),
            (torch.int16, torch.uint8),
        )
    ]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_the_vocabulary_is_cut(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §2.3: 421 words are 424 on four cores."""
    path = checkpoints.save(tmp_path, checkpoints.llama_config(vocab_size=421))
    model = make(path=path, tp_degree=4, replicate=True)
    assert model._shared.arithmetic.head.shape[0] == 424
    model(IDS[:, :10])
    assert verify(model, 4, 10).shape == (4, 421, 1)


def test_float32_results_refuse_in_place_operations(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.3 and §4.8: they are inference tensors; with bf16 the cast makes a new one."""
    model = make()
    model(IDS[:, :10])
    logits = verify(model, 4, 10)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        logits /= 2.0
    logits.clone().div_(2.0)
    model = make(amp="bf16")
    model(IDS[:, :10])
    verify(model, 4, 10).div_(2.0)
    assert not model(IDS[:, :10]).is_inference()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_host_casts_to_what_the_config_says(
    library: ModuleType, make: Callable[..., Any], dtype: str
) -> None:
    """neuron-contract.md §2.3 `cast_logits_dtype`."""
    model = make(amp="bf16", neuron_config=library.NeuronConfig(cast_logits_dtype=dtype))
    assert model(IDS[:, :10]).dtype == getattr(torch, dtype)
    assert verify(model, 4, 10).dtype == getattr(torch, dtype)


def test_bf16_makes_ties(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.3 and §4.2: logits that differ in float32 are equal in bf16."""
    values = {}
    for amp in ("f32", "bf16"):
        model = make(amp=amp)
        model(IDS[:, :10])
        values[amp] = torch.cat([verify(model, 8, place)[:, :, 0] for place in range(10, 58, 8)])
    distinct = {amp: sum(len(row.unique()) for row in rows) for amp, rows in values.items()}
    assert distinct["f32"] == values["f32"].numel()
    assert distinct["bf16"] < distinct["f32"]


def test_what_is_stored_at_and_after_the_least_position_is_never_read(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4 and §4.3: rolling back is asking for a smaller position."""
    model = make()
    model(IDS[:, :20])
    wanted = verify(model, 4, 20)
    for place in range(20, 60, 8):
        model.speculative_forward(IDS[:, 70:78], torch.arange(place, place + 8), None, 8)
    assert torch.equal(verify(model, 4, 20), wanted)
    # What is before it counts.
    model(IDS[:, 99:100], torch.tensor([19]))
    assert not torch.allclose(verify(model, 4, 20), wanted)


def test_rows_see_themselves_and_those_before(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4: a lower triangle, so what fills up the end changes no row before it."""
    model = make()
    model(IDS[:, :20])
    wanted = verify(model, 8, 20)
    filled = IDS[:, 20:28].clone()
    filled[:, 5:] = 0
    got = model.speculative_forward(filled, torch.arange(20, 28), None, 8)
    assert torch.equal(got[:5], wanted[:5])
    assert not torch.allclose(got[5], wanted[5])


def test_junk_of_padding_is_overwritten_later(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4: rounds of padded windows give what single tokens give."""
    model, plain = make(), make()
    model(IDS[:, :10])
    plain(IDS[:, :10])
    for place in range(10, 40, 3):
        window = torch.zeros(1, 8, dtype=torch.long)
        window[:, :3] = IDS[:, place : place + 3]
        got = model.speculative_forward(window, torch.arange(place, place + 8), None, 8)[:3, :, 0]
        single = torch.cat([plain(IDS[:, at : at + 1], torch.tensor([at])) for at in range(place, place + 3)])
        assert torch.allclose(got, single, atol=1e-4)


def test_keys_and_values_are_written_at_exactly_the_positions(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4."""
    model = make()
    model(IDS[:, :10])
    cache = model._shared.caches[1].keys[0]
    before = cache.clone()
    verify(model, 4, 30)
    changed = (cache != before).flatten(1).any(1).nonzero().flatten().tolist()
    assert changed == [30, 31, 32, 33]


def test_all_graphs_share_one_kv(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4: windows, single tokens and buckets may change at any call."""
    model = make()
    model(IDS[:, :10])
    rows = [
        verify(model, 4, 10)[:, :, 0],
        verify(model, 8, 14)[:, :, 0],
        model(IDS[:, 22:23], torch.tensor([22])),
    ]
    other = make()
    other(IDS[:, :10])
    single = torch.cat([other(IDS[:, at : at + 1], torch.tensor([at])) for at in range(10, 23)])
    assert torch.allclose(torch.cat(rows), single, atol=1e-4)


def test_rotation_is_by_position_and_start_ids_only_hide(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4: what is stored before start_ids is not seen; positions are not counted from there."""
    model = make()
    model(IDS[:, :20])
    wanted = verify(model, 4, 20)
    places = torch.arange(20, 24)
    hidden = model.speculative_forward(IDS[:, 20:24], places, torch.tensor([5]), 4)
    assert not torch.allclose(hidden, wanted)
    # Other tokens at the hidden positions change nothing.
    for at in range(5):
        model(IDS[:, 90 + at : 91 + at], torch.tensor([at]))
    assert torch.equal(model.speculative_forward(IDS[:, 20:24], places, torch.tensor([5]), 4), hidden)


def test_masked_scores_are_a_number(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.4: −30000, so a row that sees nothing is a mean and no NaN."""
    model = make()
    logits = model(IDS[:, :10], None, torch.tensor([12]))
    assert bool(logits.isfinite().all())


def test_two_sequences_at_once(make: Callable[..., Any]) -> None:
    """neuron-contract.md §2.3: the batch comes last."""
    model = make(batch_size=2)
    both = torch.cat((IDS[:, :20], IDS[:, 50:70]))
    model(both[:, :16])
    got = model.speculative_forward(both[:, 16:20], torch.arange(16, 20), None, 4)
    assert got.shape == (4, checkpoints.VOCABULARY, 2)
    alone = make()
    for place, line in enumerate(both):
        alone(line[None, :16])
        wanted = alone.speculative_forward(line[None, 16:20], torch.arange(16, 20), None, 4)
        assert torch.allclose(got[:, :, place], wanted[:, :, 0], atol=1e-4)


def test_launches_know_their_graph(make: Callable[..., Any]) -> None:
    """neuron-contract.md §4.5."""
    model = make()
    model(IDS[:, :10])
    verify(model, 8, 10)
    model(IDS[:, 18:19], torch.tensor([70]))
    assert emulator.launches.of(model) == {
        Launch("context", 16, 16): 1,
        Launch("spec", 8, 64): 1,
        Launch("token", 1, 128): 1,
    }
