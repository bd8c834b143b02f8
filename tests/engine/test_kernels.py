"""The compiled kernels by themselves; as a decoder they are held to transformers in test_decoder.py."""

from __future__ import annotations

import errno
import math
import os
import runpy
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numba
import pytest
import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends import loading
from chatapp.engine.backends.decoder import fused, kernels, linears, whole
from chatapp.engine.backends.decoder.fused import FusedDecoder
from chatapp.engine.backends.decoder.kernels import __main__ as compiling_ahead
from chatapp.engine.backends.decoder.kernels import compiling
from chatapp.engine.backends.decoder.linears import packed
from chatapp.engine.backends.decoder.rotary import RotaryPositions
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.tiles import untouched_zeros
from chatapp.engine.backends.decoder.weights import expected_shapes
from chatapp.engine.backends.decoder.whole import WholeDecoder
from chatapp.engine.session import Engine
from chatapp.resources import builtin_pair

SHAPE = DecoderShape(50, 32, 2, 4, 2, 8, 48, 400, 1e-5, RotaryPositions())
INFO = ModelInfo("random", "llama", 0, "", "")
NUMBERS = [torch.float32, torch.bfloat16]
INF, NAN = float("inf"), float("nan")


def build(dtype: torch.dtype = torch.float32) -> FusedDecoder:
    return FusedDecoder(SHAPE, random_weights(dtype), packed, dtype, INFO)


def random_weights(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        name: (torch.ones(size) if len(size) == 1 else torch.randn(size, generator=generator) * 0.3).to(dtype)
        for name, size in expected_shapes(SHAPE).items()
    }


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    both, out = torch.cat([gate, up]).contiguous(), torch.empty_like(gate)
    kernels.gating(name(gate.dtype))(both.data_ptr(), out.data_ptr(), 1, len(gate))
    return out


def test_the_exponential_is_that_of_float64() -> None:
    x = torch.cat([torch.linspace(-80.0, 80.0, 20_001), torch.tensor([0.0, -0.0, -87.0, 1e4])])
    ours = gated(x, torch.ones_like(x)).double()
    exact = x.double() / (1 + (-x.double()).exp())
    assert float(((ours - exact).abs() / exact.abs().clamp_min(1e-36)).max()) < 1e-6
    far = gated(torch.tensor([-100.0, -1e30]), torch.ones(2))
    assert float(far.abs().max()) < 1e-7, "no exponential overflows"


def test_bfloat16_is_rounded_as_torch_rounds_it() -> None:
    """To the nearest, ties to even, and what is no number stays none."""
    bits = torch.randint(0, 1 << 31, (4096,), generator=torch.Generator().manual_seed(1), dtype=torch.int64)
    x = bits.to(torch.int32).view(torch.float32)
    x = torch.cat([x[x.abs() < 1e30], torch.tensor([1.00390625, 1.01171875, -1.00390625, 0.0, 3e-39])])
    h = torch.empty(len(x), dtype=torch.bfloat16)
    # A gain of x over a row of ones that is normalised by 1 gives x.
    ones = torch.ones(len(x))
    kernels.normalising("bfloat16")(
        ones.data_ptr(), 0, x.data_ptr(), h.data_ptr(), 1, len(x), 1.0 - float(len(x))
    )
    assert torch.equal(h, x.bfloat16())


def test_a_number_that_is_none_reaches_the_logits() -> None:
    """Whoever checks the logits must see it: a kernel that took it for a number would write nonsense instead."""
    for dtype in NUMBERS:
        model = build(dtype)
        model._embedding[7] = NAN
        assert not bool(torch.isfinite(model.forward([1, 7], 0, 1)).any())


@pytest.mark.parametrize("weight", [name for name in expected_shapes(SHAPE) if "embed" not in name])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_weight_that_is_no_number_reaches_the_logits(dtype: torch.dtype, weight: str) -> None:
    """From every product: attention could take its scores for the least there are."""
    for number in (NAN, -NAN):
        weights = {key: tensor.clone() for key, tensor in random_weights(dtype).items()}
        weights[weight].view(-1)[3] = number
        small = WholeDecoder(SHAPE, dict(weights), INFO, kernels)
        fast = FusedDecoder(SHAPE, weights, packed, dtype, INFO)
        for model in (small, fast):
            for width in (1, 5, 70):
                logits = model.forward([index % 50 for index in range(width)], 0, 1)
                assert not bool(torch.isfinite(logits).all()), (type(model).__name__, width)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("rows", [1, 5, 16, 40])
def test_rows_are_normalised_behind_the_sum(dtype: torch.dtype, rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    x, gain = torch.randn(rows, 24, generator=generator), torch.randn(24, generator=generator)
    y, h = torch.randn(rows, 24, generator=generator).to(dtype), torch.empty(rows, 24, dtype=dtype)
    summed = x + y.float()
    expected = summed / (summed.square().sum(-1, keepdim=True) + 0.5).sqrt() * gain
    kernels.normalising(name(dtype))(x.data_ptr(), y.data_ptr(), gain.data_ptr(), h.data_ptr(), rows, 24, 0.5)
    assert torch.equal(x, summed), "the residual's sum stays"
    assert torch.allclose(h.float(), expected, rtol=8e-3 if dtype == torch.bfloat16 else 1e-6, atol=1e-7)


@lru_cache(maxsize=2)
def alone(dtype: torch.dtype) -> torch.Tensor:
    model = build(dtype)
    return torch.cat([model.forward([index % 50], index, 1) for index in range(300)])


@pytest.mark.parametrize("dtype", NUMBERS)
def test_threads_that_share_the_heads_leave_the_same_bits(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "SHARED_FROM_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model, expected = build(dtype), alone(dtype)
    ids = [index % 50 for index in range(300)]
    for begin in range(0, 300, 60):
        assert torch.equal(model.forward(ids[begin : begin + 60], begin, 60), expected[begin : begin + 60])
    assert model._pool is not None


def test_room_grows_with_what_is_in_it_and_not_beyond_the_context() -> None:
    model = build()
    ids = [index % 50 for index in range(400)]
    room = model._kv
    room.hold(1)
    room.tiles = few = 1
    room.layers = [layer[:, :, :1].clone() for layer in room.layers]
    model.forward(ids[:60], 0, 1)
    assert room.tiles == few
    model.forward(ids[60:], 60, 1)
    assert few < room.tiles == math.ceil(400 / kernels.TILE)
    assert torch.equal(model.forward(ids[250:260], 250, 10), alone(torch.float32)[250:260])
    rooms = [layer.data_ptr() for layer in room.layers]
    for start in range(300, 390):
        model.forward(ids[start : start + 8], start, 8)
    assert [layer.data_ptr() for layer in room.layers] == rooms, "a step moves no keys"


def test_heads_narrower_than_a_vector() -> None:
    """Values are padded to whole vectors; the padding reaches nobody."""
    assert SHAPE.head_dim < kernels.LANES or kernels.LANES <= 8
    model = build()
    model._kv.hold(64)
    for layer in model._kv.layers:
        layer.fill_(INF)
        layer[:, 1] = 0.0
    first = model.forward([3], 0, 1)
    assert torch.equal(first, build().forward([3], 0, 1))


KERNELS = (kernels.passing, kernels.measuring, kernels.normalising, kernels.gating, kernels.attending)


@pytest.mark.parametrize("processor", ["this one", "without bfloat16", "oneDNN is faster"])
def test_an_installation_compiles_what_the_built_in_pair_calls(
    processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the types that the engine calls them with: others would be compiled again at the first start."""
    if processor != "this one":
        monkeypatch.setattr(whole, "processor_suits", lambda _: False)
    if processor == "without bfloat16":
        for module in (linears, loading):
            monkeypatch.setattr(module, "bfloat16_available", lambda: False)
    for kernel in KERNELS:
        kernel.cache_clear()
    compiling_ahead.main()
    asked_for = [kernel.cache_info().misses for kernel in KERNELS]
    passing = kernels.passing("bfloat16")
    signatures = passing.signatures  # type: ignore[attr-defined] # numba's dispatcher
    assert len(signatures) == 1
    engine = Engine(threads=1)
    engine.load(builtin_pair(), lambda _: None)
    for sequence in (engine.pair.target, engine.pair.draft):
        assert sequence is not None
        sequence.model.forward([1, 2, 3], 0, 1)
    assert [kernel.cache_info().misses for kernel in KERNELS] == asked_for
    assert passing.signatures == signatures  # type: ignore[attr-defined] # as above


def test_without_numba_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [loaded for loaded in sys.modules if ".decoder.kernels" in loaded]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delattr("chatapp.engine.backends.decoder.kernels")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert fused.kernels() is None


@pytest.mark.parametrize("folder_can_be_written", [True, False])
def test_kernels_compile_where_no_folder_keeps_them(
    folder_can_be_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **options: object) -> Callable[[object], object]:
        if options.get("cache") and not folder_can_be_written:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", bool(options.get("cache")), function)

    monkeypatch.setattr("numba.njit", refuse)
    assert compiling.entry(abs) == ("compiled", folder_can_be_written, abs)  # type: ignore[comparison-overlap] # njit is replaced


KEPT = """
from __future__ import annotations

from chatapp.engine.backends.decoder.kernels.compiling import entry
from chatapp.engine.backends.decoder.kernels.numbers import at, carray, f32, f

@entry
def write(place: int, value: float) -> None:
    carray(at(place, f32), (1,))[0] = f(value)
"""


@pytest.mark.parametrize("trouble", ["none", "files without content", "a full disk"])
def test_what_was_kept_may_be_damaged(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut leaves empty files, and would leave a program that never starts again."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "one.py").write_text(KEPT)

    def write() -> float:
        number = torch.zeros(1)
        runpy.run_path(str(tmp_path / "one.py"))["write"](number.data_ptr(), 2.5)
        return float(number)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if trouble == "a full disk":
        monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", refuse)
    assert write() == 2.5
    kept = list((tmp_path / "kept").rglob("*.nb?"))
    assert (len(kept) == 2) == (trouble != "a full disk")
    if trouble == "files without content":
        for path in kept:
            path.write_bytes(b"")
    assert write() == 2.5


def test_a_processor_that_names_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise RuntimeError("getHostCPUFeatures: not available")

    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", unknown)
    assert compiling.lanes(compiling.processor_features()) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_room_costs_what_is_used_of_it() -> None:
    """A gigabyte of zeros takes no memory before it is written to, and begins where a vector does."""
    before = resident_bytes()
    room = untouched_zeros((1 << 29,), torch.bfloat16)
    assert resident_bytes() - before < 1 << 26
    assert room.data_ptr() % 64 == 0
    assert not bool(room[: 1 << 20].any())
    assert room.dtype == torch.bfloat16


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
