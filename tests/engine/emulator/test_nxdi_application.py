"""The emulated application: compiling, loading and routing, quirk by quirk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.engine.backends.emulator import behaviour
from chatapp.engine.backends.emulator.nxdi import installed
from tests.helpers import checkpoints
from tests.helpers.nxdi import POSITIONS, WINDOW, application, call, launched, loaded

CONTEXT, SPECULATION, TOKEN = "context_encoding_model", "speculation_model", "token_generation_model"
IDS = [(index * 29 + 11) % checkpoints.VOCABULARY for index in range(POSITIONS)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp("llama"), checkpoints.llama_config())


@pytest.fixture(autouse=True)
def emulator() -> Iterator[None]:
    with installed():
        yield


@pytest.fixture
def target(checkpoint: Path, tmp_path: Path) -> Any:
    return loaded(checkpoint, tmp_path / "target")


@pytest.fixture
def draft(checkpoint: Path, tmp_path: Path) -> Any:
    return loaded(checkpoint, tmp_path / "draft", speculation_length=0)


@pytest.fixture(scope="module")
def truth(checkpoint: Path) -> torch.Tensor:
    """transformers' own logits of all ids, `[positions, V]`."""
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(checkpoint)(torch.tensor([IDS])).logits[0]
    return logits


def ones(count: int) -> list[int]:
    return [1] * count


def test_a_speculating_target_has_no_one_token_graph(target: Any, draft: Any) -> None:
    """neuron-contract.md §7, submodels: context and speculation only; otherwise context and token generation."""
    assert [model.tag for model in target.models] == [CONTEXT, SPECULATION]
    assert [model.tag for model in draft.models] == [CONTEXT, TOKEN]
    call(target, IDS[:8], 0, ones(8))
    for length in (1, 2, 3, 5):
        with pytest.raises(AttributeError, match="token_generation_model"):
            call(target, IDS[8 : 8 + length], 8, ones(8))


def test_calls_are_routed_by_position_and_length(target: Any, draft: Any) -> None:
    """neuron-contract.md §7, routing: a position 0 means a prompt, even where the length is a window's."""
    call(target, IDS[:WINDOW], 0, ones(WINDOW))
    call(target, IDS[4 : 4 + WINDOW], 4, ones(4))
    assert [kind for kind, _ in launched(target)] == ["context", "spec"]
    call(draft, IDS[:1], 0, ones(1))
    call(draft, IDS[1:2], 1, ones(1))
    assert [kind for kind, _ in launched(draft)] == ["context", "token"]


def test_continuation_of_another_length_is_impossible(draft: Any) -> None:
    """neuron-contract.md §7: at p > 0 a one-token graph takes one token."""
    call(draft, IDS[:8], 0, ones(8))
    with pytest.raises(RuntimeError, match="no graph"):
        call(draft, IDS[8:10], 8, ones(8))


def test_logits_are_those_of_the_checkpoint(target: Any, draft: Any, truth: torch.Tensor) -> None:
    """neuron-contract.md §7, logits: float32 `(batch, n, vocab)`, all positions of a window, the last of a prompt."""
    for made in (target, draft):
        prompt = call(made, IDS[:9], 0, ones(9))
        assert prompt.dtype == torch.float32
        assert prompt.shape == (1, checkpoints.VOCABULARY)
        torch.testing.assert_close(prompt[0], truth[8], atol=1e-4, rtol=0)
    window = call(target, IDS[9 : 9 + WINDOW], 9, ones(9))
    torch.testing.assert_close(window, truth[9 : 9 + WINDOW], atol=1e-4, rtol=0)
    for position in range(9, 14):
        token = call(draft, [IDS[position]], position, ones(position))
        torch.testing.assert_close(token[0], truth[position], atol=1e-4, rtol=0)


def test_bfloat16_shows_in_the_logits(checkpoint: Path, tmp_path: Path) -> None:
    """neuron-contract.md §7 with §2.3: made in the model's type, cast to float32 afterwards."""
    made = loaded(checkpoint, tmp_path, torch_dtype=torch.bfloat16)
    logits = call(made, IDS[:9], 0, ones(9))
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float())


def test_the_mask_alone_decides_what_is_visible(target: Any, truth: torch.Tensor) -> None:
    """neuron-contract.md §7, KV rollback: position-addressed, and the host's mask says what counts."""
    call(target, IDS[:12], 0, ones(12))
    # Rewound to 8: what stands at 8 … 11 is neither seen nor in the way.
    other = call(target, IDS[8 : 8 + WINDOW], 8, ones(8))
    torch.testing.assert_close(other, truth[8 : 8 + WINDOW], atol=1e-4, rtol=0)
    hidden = call(target, IDS[8 : 8 + WINDOW], 8, [1, 1, 0, 0, 1, 1, 1, 1])
    assert not torch.allclose(hidden, other, atol=1e-2)
    # A mask that reaches over the window's own positions shows what was stored there before as well.
    call(target, [7, 7, 7, 7], 8, ones(8))
    seen_twice = call(target, IDS[8 : 8 + WINDOW], 8, ones(12))
    assert not torch.allclose(seen_twice, other, atol=1e-2)


def test_a_window_without_a_mask_sees_its_own_length_of_the_past(target: Any) -> None:
    """neuron-contract.md §7 (`_infer_attention_mask`): made for prompts and single tokens."""
    call(target, IDS[:12], 0, ones(12))
    without = call(target, IDS[12 : 12 + WINDOW], 12, None)
    assert torch.equal(without, call(target, IDS[12 : 12 + WINDOW], 12, ones(WINDOW)))
    assert not torch.allclose(without, call(target, IDS[12 : 12 + WINDOW], 12, ones(12)), atol=1e-2)


def test_one_token_without_a_mask_sees_all_that_is_before(draft: Any) -> None:
    """neuron-contract.md §7 (`_infer_attention_mask`)."""
    call(draft, IDS[:12], 0, ones(12))
    assert torch.equal(call(draft, IDS[12:13], 12, None), call(draft, IDS[12:13], 12, ones(12)))
    with pytest.raises(AssertionError, match="need to call forward with position_ids"):
        draft(input_ids=torch.tensor([[1]]))


@pytest.mark.parametrize(("start", "bucket"), [(27, 32), (28, 64), (29, 64), (59, 64), (60, 64)])
def test_a_windows_bucket_goes_by_the_mask(target: Any, start: int, bucket: int) -> None:
    """neuron-contract.md §7 (`get_target_bucket`): mask and window must be shorter than a bucket, or as long as the last."""
    call(target, IDS[start : start + WINDOW], start, ones(start))
    assert launched(target) == [("spec", bucket)]


def test_a_window_must_fit(target: Any) -> None:
    """neuron-contract.md §7: near the end the library's own loop stops early; a call is refused."""
    message = r"Input len 61 exceeds largest bucket \(64\) for speculation_model"
    with pytest.raises(ValueError, match=message):
        call(target, IDS[:WINDOW], 61, ones(61))
    # With a shorter mask the bucket is found, and the last row has no slot.
    with pytest.raises(RuntimeError, match="out-of-bound"):
        call(target, IDS[:WINDOW], 61, ones(20))


@pytest.mark.parametrize(("count", "bucket"), [(2, 16), (15, 16), (16, 32), (31, 32), (32, 32)])
def test_a_prompt_that_fills_its_bucket_takes_the_next(target: Any, count: int, bucket: int) -> None:
    """neuron-contract.md §7 (`get_target_bucket`)."""
    call(target, IDS[:count], 0, ones(count))
    assert launched(target) == [("context", bucket)]


def test_a_prompt_longer_than_its_largest_bucket_is_refused(target: Any) -> None:
    """neuron-contract.md §7 (`get_target_bucket`)."""
    with pytest.raises(ValueError, match=r"Input len 33 exceeds largest bucket \(32\)"):
        call(target, IDS[:33], 0, ones(33))


def test_a_prompt_of_one_token_gets_the_row_of_its_padding(target: Any, truth: torch.Tensor) -> None:
    """neuron-contract.md §7 (`pad_inputs` fills positions with 1, and the row of the highest position is given): silently
    the logits behind the padding."""
    found = call(target, IDS[:1], 0, ones(1))
    assert not torch.allclose(found[0], truth[0], atol=1e-2)
    assert torch.equal(found, call(target, [IDS[0], target.config.pad_token_id], 0, ones(2)))


def test_a_prompts_mask_is_not_looked_at(target: Any) -> None:
    """neuron-contract.md §7 (`_create_context_attn_mask`, right padding): a prompt is causal, whatever the mask says."""
    shown = call(target, IDS[:9], 0, ones(9))
    assert torch.equal(shown, call(target, IDS[:9], 0, [1, 0, 0, 0, 0, 0, 0, 0, 1]))


def test_a_context_bucket_of_the_windows_length_is_taken_for_a_window(
    checkpoint: Path, tmp_path: Path, truth: torch.Tensor
) -> None:
    """neuron-contract.md §7 (a TODO of `_is_context_encoding`): the traced graph looks at the length alone."""
    made = loaded(checkpoint, tmp_path, context_encoding_buckets=[WINDOW, 32])
    found = call(made, IDS[:3], 0, ones(3))
    assert found.shape[0] == WINDOW
    assert not torch.allclose(found[-1], truth[2], atol=1e-2)


def test_padding_and_warm_up_leave_junk(checkpoint: Path, tmp_path: Path) -> None:
    """neuron-contract.md §7: every graph is run at loading, and a prompt writes its whole bucket; masks hide both."""
    made = loaded(checkpoint, tmp_path)
    stored = made.llama.kv
    assert bool(stored[..., :32, :].any())
    assert launched(made) == []
    call(made, IDS[:3], 0, ones(3))
    assert bool(stored[..., 3:16, :].any(dim=-1).all())
    made.reset()
    assert bool(stored.any()), "resetting forgets a flag and keeps the KV"


def test_nothing_runs_before_loading(checkpoint: Path) -> None:
    """neuron-contract.md §7, flow."""
    with pytest.raises(RuntimeError, match="Forward called before load"):
        call(application(checkpoint), IDS[:3], 0, ones(3))


def test_the_compiled_directory_is_the_only_cache(checkpoint: Path, tmp_path: Path) -> None:
    """neuron-contract.md §7: no persistent cache, and loading does not compare what was compiled with what is asked."""
    with pytest.raises(ValueError, match=r"The provided filename .*model\.pt does not exist"):
        application(checkpoint).load(str(tmp_path / "nothing"))
    application(checkpoint).compile(str(tmp_path / "short"))
    assert sorted(path.name for path in (tmp_path / "short").iterdir()) == ["model.pt", "neuron_config.json"]
    longer = application(checkpoint, speculation_length=8)
    longer.load(str(tmp_path / "short"))
    call(longer, IDS[:8], 0, ones(8))
    with pytest.raises(RuntimeError, match="no graph"):
        call(longer, IDS[8:16], 8, ones(8))


def test_the_processor_does_not_speculate(checkpoint: Path) -> None:
    """neuron-contract.md §7, CPU."""
    with pytest.raises(NotImplementedError, match="Speculation is not yet supported for CPU inference"):
        application(checkpoint).to_cpu()
    with pytest.raises(NotImplementedError, match="gloo backend does not natively support bfloat16"):
        application(checkpoint, torch_dtype=torch.bfloat16, tp_degree=2).to_cpu()
    with pytest.raises(NotImplementedError, match="float16 is not supported"):
        application(checkpoint, torch_dtype=torch.float16).to_cpu()


@pytest.mark.parametrize("output_logits", [False, True])
def test_sampling_on_the_device_gives_ids(checkpoint: Path, tmp_path: Path, output_logits: bool) -> None:
    """neuron-contract.md §7, logits: with on-device sampling only `output_logits=True` brings them along."""
    changes = {"on_device_sampling_config": {"do_sample": False}, "output_logits": output_logits}
    made = loaded(checkpoint, tmp_path, **changes)
    output = made(
        input_ids=torch.tensor([IDS[:5]]),
        attention_mask=torch.ones(1, 5, dtype=torch.int64),
        position_ids=torch.arange(5)[None],
    )
    assert output.tokens.shape == (1, 1)
    assert (output.logits is not None) == output_logits
    if output_logits:
        assert torch.equal(output.logits.argmax(-1), output.tokens)


def test_a_scaled_rope_is_used_where_it_is_named(checkpoint: Path, tmp_path: Path) -> None:
    """neuron-contract.md §7 with §1.2: Llama 3.1's scaling, if the config has it as `rope_scaling`."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    made = loaded(checkpoint, tmp_path / "plain")
    plain = call(made, IDS[:30], 0, ones(30))
    scaled = application(checkpoint)
    scaled.config.rope_scaling = scaling
    scaled.compile(str(tmp_path / "scaled"))
    scaled.load(str(tmp_path / "scaled"))
    assert not torch.allclose(call(scaled, IDS[:30], 0, ones(30)), plain, atol=1e-3)


def test_default_buckets_are_powers_of_two() -> None:
    """neuron-contract.md §7, `enable_bucketing` (modules/autobucketing.py)."""
    from chatapp.engine.backends.emulator.nxdi.buckets import generate_buckets

    assert generate_buckets(128, 2048) == [128, 256, 512, 1024, 2048]
    assert generate_buckets(128, 510) == [128, 256, 510]
    assert generate_buckets(128, 513) == [128, 256, 513]
    assert generate_buckets(64, 64) == [64]


def test_the_simulated_instance_is_the_same_for_both_libraries(checkpoint: Path, tmp_path: Path) -> None:
    """neuron-contract.md §7 with §1.6: the runtime below is one, and so are its refusals."""
    behaviour.cores = 2
    with pytest.raises(RuntimeError, match="nrt_tensor_allocate status=2"):
        loaded(checkpoint, tmp_path, tp_degree=8)
    behaviour.memory_per_core = 1000
    with pytest.raises(RuntimeError, match="nrt_tensor_allocate status=4"):
        loaded(checkpoint, tmp_path, tp_degree=2)
