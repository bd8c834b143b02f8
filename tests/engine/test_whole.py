"""A decoder in one compiled call: rows that depend on nothing else, threads that share a pass, other processors' vectors.

Its logits are held to transformers' in test_decoder.py and test_tiny.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder import kernels, whole
from chatapp.engine.backends.decoder.exactness import look_exact
from chatapp.engine.backends.decoder.rotary import RotaryPositions
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import expected_shapes
from chatapp.engine.backends.decoder.whole import WholeDecoder

LENGTH, VOCABULARY = 300, 420
IDS = [(index * index * 7 + index * 3) % VOCABULARY for index in range(LENGTH)]
NUMBERS = [torch.float32, torch.bfloat16]
TILE = kernels.TILE
GROUPED = DecoderShape(VOCABULARY, 64, 2, 4, 2, 16, 96, 320, 1e-5, RotaryPositions())
ODD = DecoderShape(
    VOCABULARY, 50, 2, 3, 1, 18, 102, 320, 1e-5, RotaryPositions(), True, True, True, True, True
)
"""No width is one of whole vectors, and there are biases and norms wherever a shape can have them."""
SHAPES = {"grouped": GROUPED, "odd": ODD}


def build(shape: DecoderShape, dtype: torch.dtype) -> WholeDecoder:
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: (torch.randn(size, generator=generator) * 0.2 + (1.0 if "norm" in name else 0.0)).to(dtype)
        for name, size in expected_shapes(shape).items()
    }
    return WholeDecoder(shape, weights, ModelInfo("random", "llama", 0, str(dtype), ""), kernels)


@lru_cache(maxsize=8)
def one_by_one(name: str, dtype: torch.dtype) -> torch.Tensor:
    model = build(SHAPES[name], dtype)
    return torch.cat([model.forward([token], at, 1) for at, token in enumerate(IDS)])


@lru_cache(maxsize=8)
def kept(name: str, dtype: torch.dtype) -> WholeDecoder:
    return build(SHAPES[name], dtype)


CASES = [(name, dtype) for name in SHAPES for dtype in NUMBERS]


@pytest.mark.parametrize(("name", "dtype"), CASES)
@settings(max_examples=60)
@given(data=st.data())
def test_a_rows_bits_do_not_depend_on_its_window(name: str, dtype: torch.dtype, data: st.DataObject) -> None:
    """Windows over the end of a tile and of an odd number of positions, with junk behind what is kept."""
    single, model = one_by_one(name, dtype), kept(name, dtype)
    model.forward(IDS, 0, 1)
    start = data.draw(st.integers(0, LENGTH - 17) | st.integers(TILE - 16, TILE))
    width = data.draw(st.integers(1, 17))
    held = data.draw(st.integers(1, width))
    junk = data.draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=width - held, max_size=width - held))
    logits = model.forward([*IDS[start : start + held], *junk], start, width)
    assert torch.equal(logits[:held], single[start : start + held])


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_pass_of_any_width_leaves_the_same_bits(name: str, dtype: torch.dtype) -> None:
    single, model = one_by_one(name, dtype), kept(name, dtype)
    for start in (0, TILE - 3, 120):
        model.forward(IDS[: max(start, 1)], 0, 1)
        for width in (*range(1, 20), 33, 64, 65, 150):
            rows = max(1, width // 2)
            logits = model.forward(IDS[start : start + width], start, rows)
            assert torch.equal(logits, single[start + width - rows : start + width]), (start, width)
    assert look_exact(model)


def test_a_row_that_depended_on_its_window_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(GROUPED, torch.float32)
    forward = model.forward

    def other(ids: list[int], start: int, rows: int) -> torch.Tensor:
        logits = forward(ids, start, rows)
        return logits if len(ids) != 7 else logits * (1 + 1e-6)

    monkeypatch.setattr(model, "forward", other)
    assert not look_exact(model)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_attention_that_differs_deep_in_the_context_would_be_seen(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(GROUPED, dtype)
    assert look_exact(model)
    probe = model.attention_probe

    def other(depth: int, rows: int) -> Any:
        mixed = probe(depth, rows)
        assert mixed(0, 3).std() > 0.1, "rows of one layer, not nothing"
        return lambda first, count: mixed(first, count) * (1.001 if count > 9 else 1.0)

    monkeypatch.setattr(model, "attention_probe", other)
    assert not look_exact(model)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_share_a_pass_leave_the_same_bits(
    dtype: torch.dtype, threads: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are heads, too."""
    monkeypatch.setattr(whole, "SHARED_FROM_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model, expected = build(SHAPES[name], dtype), one_by_one(name, dtype)
    for begin in range(0, LENGTH, 60):
        assert torch.equal(model.forward(IDS[begin : begin + 60], begin, 60), expected[begin : begin + 60])
    for at in range(200, 230):
        assert torch.equal(model.forward(IDS[at : at + 1], at, 1), expected[at : at + 1])
    assert model._pool is not None
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    assert torch.equal(model.forward(IDS[250:270], 250, 20), expected[250:270]), "their number may change"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert torch.equal(model.forward(IDS[250:270], 250, 20), expected[250:270])


def test_small_passes_are_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model = build(GROUPED, torch.float32)
    model.forward(IDS[:1], 0, 1)
    assert model._pool is None


def test_where_the_system_starts_no_more_threads_one_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that never came would be waited for for ever."""
    monkeypatch.setattr(whole, "SHARED_FROM_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    submit, begun = ThreadPoolExecutor.submit, []

    def limited(pool: ThreadPoolExecutor, *args: Any, **named: Any) -> Any:
        begun.append(args)
        if len(begun) > 1:
            raise RuntimeError("can't start new thread")
        return submit(pool, *args, **named)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", limited)
    model = build(GROUPED, torch.float32)
    for _ in range(2):
        assert torch.equal(model.forward(IDS[:9], 0, 9), one_by_one("grouped", torch.float32)[:9])
    assert model._pool is None
    assert len(begun) == 2, "it is not tried at every pass"
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("chatapp-pass") and thread.daemon
    ]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_pass_that_failed_leaves_nothing_behind(dtype: torch.dtype) -> None:
    """0 × NaN is NaN behind a mask too: what a failed reply left must not reach the next one, at an odd position least of
    all, whose pair it shares."""
    model = build(GROUPED, dtype)
    clean, first = model.forward(IDS[:20], 0, 20), model.forward(IDS[:1], 0, 1)
    embedding = model._embedding[IDS[5]].clone()
    model._embedding[IDS[5]] = float("nan")
    assert not bool(torch.isfinite(model.forward(IDS[:40], 0, 1)).all())
    model._embedding[IDS[5]] = embedding
    for layer in model._kv.layers:
        layer.fill_(float("nan"))
    for width in (1, 2, 3, 20):
        assert torch.equal(model.forward(IDS[:width], 0, width), clean[:width]), width
        for layer in model._kv.layers:
            layer.fill_(float("nan"))
    assert torch.equal(model.forward(IDS[:1], 0, 1), first)


def test_room_grows_with_what_is_in_it_and_a_step_moves_none() -> None:
    model, expected = build(GROUPED, torch.bfloat16), one_by_one("grouped", torch.bfloat16)
    model.forward(IDS[:5], 0, 1)
    model._kv.tiles = 1
    model._kv.layers = [layer[:, :, :1].clone() for layer in model._kv.layers]
    model._room = whole._Room(0, 0, 1)
    model.forward(IDS[:60], 0, 60)
    assert model._kv.tiles == 1
    assert torch.equal(model.forward(IDS[60:90], 60, 30), expected[60:90])
    assert model._kv.tiles > 1
    places = [layer.data_ptr() for layer in model._kv.layers], model._scratch.data_ptr()
    model.forward(IDS[90:106], 90, 16)
    assert ([layer.data_ptr() for layer in model._kv.layers], model._scratch.data_ptr()) == places


OTHER_PROCESSORS = {
    "512 bits, no bfloat16": ("skylake-avx512", ("avx512bf16", "avx512fp16", "amx", "avx10")),
    "256 bits": ("haswell", ("avx512", "amx", "avx10", "evex512")),
    "128 bits": ("nehalem", ("avx", "amx", "evex512", "fma", "f16c", "bmi", "vaes", "vpclmulqdq", "xop")),
}
LANES_OF_OTHERS = {"512 bits, no bfloat16": 16, "256 bits": 8, "128 bits": 4}
PROGRAM = """
import json, sys, torch
from chatapp.engine.backends.decoder import kernels
from chatapp.engine.backends.decoder.kernels import compiling
sys.path.insert(0, "")
from tests.engine import test_whole as tests
found = {"lanes": compiling.LANES, "pairs": compiling.PAIRS}
for name in tests.SHAPES:
    single = tests.one_by_one(name, torch.bfloat16)
    together = tests.build(tests.SHAPES[name], torch.bfloat16).forward(tests.IDS[:70], 0, 70)
    found[name] = single[:70].tolist()
    found[name + " exact"] = torch.equal(together, single[:70])
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", OTHER_PROCESSORS)
def test_what_other_processors_compile(name: str) -> None:
    """The same numbers but for what a pair's product rounds, and rows as exact."""
    there = llvm.get_host_cpu_features()
    if not there.get("avx512bf16"):
        pytest.skip("this processor is one of the others")
    processor, lacks = OTHER_PROCESSORS[name]
    features = ",".join(
        ("-" if not has or feature.startswith(lacks) else "+") + feature for feature, has in there.items()
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert (found["lanes"], found["pairs"]) == (LANES_OF_OTHERS[name], False)
    for shape in SHAPES:
        assert found[f"{shape} exact"]
        ours = one_by_one(shape, torch.bfloat16)[:70]
        error = (torch.tensor(found[shape]) - ours).abs()
        assert float(error.max()) < 0.05 * float(ours.abs().max())
        assert float(error.mean()) < 0.005 * float(ours.abs().max())
