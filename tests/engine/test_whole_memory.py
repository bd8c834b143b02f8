"""The one compiled call reads and writes by address: models of every odd size, with guards around whatever it is given, and
passes that are broken off.
"""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder import kernels, tiles, whole
from chatapp.engine.backends.decoder.decoder import DecoderModel
from chatapp.engine.backends.decoder.linears import plain
from chatapp.engine.backends.decoder.rotary import RotaryPositions
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import expected_shapes
from chatapp.engine.backends.decoder.whole import WholeDecoder

INFO = ModelInfo("random", "llama", 0, "", "")
GUARD_BYTES = 4096
NO_NUMBER = 0xFF
"""In every byte it is NaN in float32 and in bfloat16: what is read of a guard reaches the logits."""
SMALL = DecoderShape(40, 16, 2, 6, 3, 4, 24, 100, 1e-5, RotaryPositions())


class Guards:
    """Memory between two guards."""

    def __init__(self) -> None:
        self._held: list[tuple[np.ndarray[Any, np.dtype[np.uint8]], int]] = []

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        size = math.prod(shape) * dtype.itemsize
        memory = np.full(size + 2 * GUARD_BYTES, NO_NUMBER, np.uint8)
        memory[GUARD_BYTES : GUARD_BYTES + size] = 0
        self._held.append((memory, size))
        return torch.from_numpy(memory[GUARD_BYTES : GUARD_BYTES + size]).view(dtype).view(shape)

    def result(self, *shape: int) -> torch.Tensor:
        return self.zeros(shape, torch.float32).fill_(math.nan)

    def copied(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.zeros(tuple(tensor.shape), tensor.dtype).copy_(tensor)

    def stand(self) -> bool:
        return all(
            (memory[:GUARD_BYTES] == NO_NUMBER).all() and (memory[GUARD_BYTES + size :] == NO_NUMBER).all()
            for memory, size in self._held
        )


def random_weights(shape: DecoderShape, seed: int) -> dict[str, torch.Tensor]:
    """Rounded to bfloat16. No row of the embedding is near zero: normalising it would make much of a rounding."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(size, generator=generator) * 0.1 + ("norm" in name)
        for name, size in expected_shapes(shape).items()
    }
    embedding = weights["embed_tokens.weight"]
    embedding.copy_((embedding.abs() + 0.5) * embedding.sign())
    return {name: weight.bfloat16().float() for name, weight in weights.items()}


@st.composite
def shapes(draw: st.DrawFn) -> DecoderShape:
    kv_heads, flags = draw(st.integers(1, 3)), st.booleans()
    return DecoderShape(
        vocabulary=draw(st.sampled_from([1, 3, 16, 33, 127, 128, 129, 270])),
        hidden=2 * draw(st.sampled_from([1, 3, 8, 25, 32, 65])),
        layers=draw(st.integers(1, 2)),
        heads=kv_heads * draw(st.sampled_from([1, 2, 3, 5])),
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([2, 6, 16, 18, 34, 64])),
        intermediate=2 * draw(st.sampled_from([1, 5, 24, 33, 65])),
        context_limit=draw(st.sampled_from([2, 5, 16, 63, 64, 65, 129, 200])),
        norm_eps=1e-5,
        rotary=RotaryPositions(),
        tied=draw(flags),
        qkv_bias=draw(flags),
        out_bias=draw(flags),
        mlp_bias=draw(flags),
        query_key_norm=draw(flags),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@settings(max_examples=60)
@given(shape=shapes(), seed=st.integers(0, 99), threads=st.integers(1, 3), data=st.data())
def test_models_of_any_size_keep_within_their_memory(
    dtype: torch.dtype, shape: DecoderShape, seed: int, threads: int, data: st.DataObject
) -> None:
    guards, weights, context = Guards(), random_weights(shape, seed), shape.context_limit
    ids = [(7 * index + seed) % shape.vocabulary for index in range(context)]
    with pytest.MonkeyPatch.context() as patch:
        for module in (whole, tiles):
            patch.setattr(module, "untouched_zeros", guards.zeros)
        patch.setattr(whole, "SHARED_FROM_BYTES", 1)
        patch.setattr(torch, "get_num_threads", lambda: threads)
        given_weights = {name: guards.copied(weight.to(dtype)) for name, weight in weights.items()}
        model = WholeDecoder(shape, given_weights, INFO, kernels)
        for strips in (strips for layer in model._layers for strips in layer.linears):
            # Of these whole vectors are read, the last of them for columns that nobody looks at.
            assert strips.bias is None or len(strips.bias) % kernels.LANES == 0
        patch.setattr(torch, "empty", guards.result)
        # All that fits is the most that the room is for; what a smaller pass before it left must not show.
        model.forward(ids[:1], 0, 1)
        logits = model.forward(ids, 0, context)
        start = data.draw(st.integers(0, context - 1))
        count = data.draw(st.integers(1, min(context - start, 20)))
        rows = data.draw(st.integers(1, count))
        again = model.forward(ids[start : start + count], start, rows)
        assert guards.stand()
    assert torch.equal(again, logits[start + count - rows : start + count])
    expected = DecoderModel(shape, weights, plain, torch.float32, INFO).forward(ids, 0, context)
    error = float((logits - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    assert error < (1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize(("start", "rows"), [(-1, 1), (0, 0), (0, 3), (0, -1)])
def test_rows_that_a_pass_does_not_have_are_refused(start: int, rows: int) -> None:
    """They would be read from in front of its memory."""
    model = WholeDecoder(SMALL, random_weights(SMALL, 1), INFO, kernels)
    with pytest.raises(ValueError, match="of 2 from position"):
        model.forward([1, 2], start, rows)


def test_a_pass_that_not_all_threads_begin_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Python ends it takes no more work: the thread that got its share would wait for the other, and Python for it."""
    monkeypatch.setattr(whole, "SHARED_FROM_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    model = WholeDecoder(SMALL, random_weights(SMALL, 1), INFO, kernels)
    expected = model.forward(list(range(9)), 0, 9)
    submit = ThreadPoolExecutor.submit
    taken: list[Future[None]] = []

    def only_one(pool: ThreadPoolExecutor, *args: Any, **named: Any) -> Any:
        if taken:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        taken.append(submit(pool, *args, **named))
        return taken[0]

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", only_one)
        with pytest.raises(RuntimeError, match="after interpreter shutdown"):
            model.forward([1, 2], 9, 2)
    assert taken[0].done()
    for start in (0, 3, 8):
        assert torch.equal(model.forward(list(range(start, 9)), start, 9 - start), expected[start:])
