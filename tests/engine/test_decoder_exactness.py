"""A row's logits are the same bits wherever it stands: in both dtypes and as int8, whatever the kernels do with few rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder import linears
from chatapp.engine.backends.decoder.attention import KV_BLOCK, MOST_FILLED, Attention
from chatapp.engine.backends.decoder.decoder import DecoderModel
from chatapp.engine.backends.decoder.exactness import FEW_ROWS, NOT_EXACT, make_exact, rows_are_exact
from chatapp.engine.backends.decoder.fused import FusedDecoder
from chatapp.engine.backends.decoder.linears import Linear, bfloat16_available
from chatapp.engine.backends.decoder.rotary import RotaryPositions
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import expected_shapes

LENGTH = 300
VOCABULARY = 420
IDS = [(index * index * 7 + index * 3) % VOCABULARY for index in range(LENGTH)]
NUMBERS = ["float32", "int8"] + ["bfloat16"] * bfloat16_available()
NUMBERS += [f"{numbers} in torch" for numbers in NUMBERS]
"""The last ones without the compiled kernels."""
Wrap = Callable[[Linear], Linear]


def build(numbers: str, kv_heads: int, wrap: Wrap = lambda linear: linear) -> DecoderModel:
    """A random decoder whose products go through `wrap`; nothing is measured yet."""
    shape = DecoderShape(VOCABULARY, 64, 2, 4, kv_heads, 16, 96, 320, 1e-5, RotaryPositions())
    numbers, _, torchs = numbers.partition(" in ")
    dtype = torch.bfloat16 if numbers == "bfloat16" else torch.float32
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: (torch.ones(size) if len(size) == 1 else torch.randn(size, generator=generator) * 0.2).to(dtype)
        for name, size in expected_shapes(shape).items()
    }

    def linear(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        return wrap(linears.target_linear(weight, bias, int8=numbers == "int8"))

    make = DecoderModel if torchs else FusedDecoder
    return make(shape, weights, linear, dtype, ModelInfo("random", "llama", 0, numbers, ""))


@lru_cache(maxsize=12)
def exact(numbers: str, kv_heads: int, filling: int = 0) -> DecoderModel:
    """As it is loaded, or with passes of exactly `filling` rows."""
    model = build(numbers, kv_heads)
    if filling:
        model.fill_up(filling, constant=True)
    else:
        make_exact(model)
    return model


@lru_cache(maxsize=12)
def one_by_one(numbers: str, kv_heads: int, filling: int = 0) -> torch.Tensor:
    model = exact(numbers, kv_heads, filling)
    return torch.cat([model.forward([token], at, 1) for at, token in enumerate(IDS)])


CASES = [
    (numbers, kv_heads, filling) for numbers in NUMBERS for kv_heads, filling in ((4, 0), (2, 0), (2, 16))
]


@pytest.mark.parametrize(("numbers", "kv_heads", "filling"), CASES)
@settings(max_examples=30)
@given(data=st.data())
def test_a_rows_bits_do_not_depend_on_its_window(
    numbers: str, kv_heads: int, filling: int, data: st.DataObject
) -> None:
    single, model = one_by_one(numbers, kv_heads, filling), exact(numbers, kv_heads, filling)
    model.forward(IDS, 0, 1)
    start = data.draw(st.integers(0, LENGTH - 17) | st.integers(KV_BLOCK - 16, KV_BLOCK))
    width = data.draw(st.integers(1, 17))
    kept = data.draw(st.integers(1, width))
    junk = data.draw(st.lists(st.integers(0, 419), min_size=width - kept, max_size=width - kept))
    logits = model.forward([*IDS[start : start + kept], *junk], start, width)
    assert torch.equal(logits[:kept], single[start : start + kept])


@pytest.mark.parametrize(("numbers", "kv_heads", "filling"), CASES)
def test_prefill_chunks_leave_the_same_bits_as_single_tokens(
    numbers: str, kv_heads: int, filling: int
) -> None:
    """So that a conversation gives the same text whether its KV was reused or computed anew."""
    single, model = one_by_one(numbers, kv_heads, filling), exact(numbers, kv_heads, filling)
    step = model.prefill_rows
    for begin in range(0, LENGTH - 1, step):
        end = min(begin + step, LENGTH - 1)
        last = model.forward(IDS[begin:end], begin, 1)
        assert torch.equal(last[0], single[end - 1])
    assert torch.equal(model.forward(IDS[-1:], LENGTH - 1, 1)[0], single[-1])


@pytest.mark.parametrize("numbers", NUMBERS)
def test_rows_that_fill_a_pass_up_change_no_logits(numbers: str) -> None:
    # Other kernels may round otherwise; bfloat16 has 8 bits, and logits reach 10.
    tolerance = {"bfloat16": 0.2, "int8": 1e-2, "float32": 1e-4}[numbers.partition(" ")[0]]
    plain, filled = exact(numbers, 2), exact(numbers, 2, MOST_FILLED)
    assert filled.prefill_rows == MOST_FILLED
    for rows in (1, 5, 16, 17, 40):
        logits = filled.forward(IDS[:40], 0, rows)
        assert logits.shape == (rows, VOCABULARY)
        assert float((logits - plain.forward(IDS[:40], 0, rows)).abs().max()) <= tolerance


def changed(by_rows: Callable[[int], float]) -> Wrap:
    """Products whose bits depend on the number of rows, as those of some libraries do."""

    def wrap(linear: Linear) -> Linear:
        product = linear.product
        return Linear(
            lambda x: product(x) * (1.0 + 1e-6 * by_rows(x.shape[0])), linear.kind, linear.bytes_read
        )

    return wrap


@pytest.mark.parametrize(
    ("by_rows", "rows", "constant"),
    [
        (lambda rows: float(rows < 2), 2, False),
        (lambda rows: float(rows < 4), FEW_ROWS, False),
        (lambda rows: rows % 16, MOST_FILLED, True),
        (lambda rows: float(rows > 32), MOST_FILLED, True),
    ],
    ids=["single rows", "few rows", "every number of rows", "prefill chunks"],
)
def test_passes_are_filled_up_as_far_as_the_kernels_need(
    by_rows: Callable[[int], float], rows: int, constant: bool
) -> None:
    model = build("float32", 1, changed(by_rows))
    words = make_exact(model, lambda: 0)
    assert (model.least_rows, model.constant_rows) == (rows, constant)
    assert words == f"rows exact (passes of {'' if constant else 'at least '}{rows})"
    assert model.exact_rows
    assert rows_are_exact(model)


@pytest.mark.parametrize("torchs", ["", " in torch"])
def test_the_heads_product_is_filled_up_too(torchs: str) -> None:
    """The last row of a prefill chunk is the same bits as that token alone; the head reads nothing else of the chunk."""
    model = build("float32" + torchs, 1, changed(lambda rows: float(rows < FEW_ROWS)))
    make_exact(model, lambda: 0)
    assert model.least_rows == FEW_ROWS
    for width in (1, 2, 4, 5, 20):
        together = model.forward(IDS[:width], 0, width)
        for rows in range(1, width + 1):
            assert torch.equal(model.forward(IDS[:width], 0, rows), together[width - rows :]), (width, rows)
    single = model.forward(IDS[19:20], 19, 1)
    assert torch.equal(model.forward(IDS[:20], 0, 1), single)


@pytest.mark.skipif(not bfloat16_available(), reason="oneDNN has no bfloat16 here")
@pytest.mark.parametrize(("hidden", "intermediate", "seed"), [(72, 1120, 3), (136, 1056, 2)])
def test_what_rounding_hides_from_a_few_passes_is_seen(hidden: int, intermediate: int, seed: int) -> None:
    """Long sums and few results: single rows are other bits in one result of some thousands."""
    shape = DecoderShape(VOCABULARY, hidden, 2, 4, 4, 16, intermediate, 400, 1e-5, RotaryPositions())
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: (
            torch.ones(size) if len(size) == 1 else torch.randn(size, generator=generator) * 0.2
        ).bfloat16()
        for name, size in expected_shapes(shape).items()
    }
    info = ModelInfo("random", "llama", 0, "bfloat16", "")
    model = FusedDecoder(shape, weights, linears.packed, torch.bfloat16, info)
    make_exact(model)
    assert model.exact_rows
    single = torch.cat([model.forward([token], at, 1) for at, token in enumerate(IDS)])
    for begin in range(0, LENGTH, model.prefill_rows):
        ids = IDS[begin : begin + model.prefill_rows]
        assert torch.equal(model.forward(ids, begin, len(ids)), single[begin : begin + len(ids)])


def test_where_nothing_helps_it_is_said() -> None:
    calls = 0

    def never_the_same(rows: int) -> float:
        nonlocal calls
        calls += 1
        return calls % 97

    model = build("float32", 2, changed(never_the_same))
    assert make_exact(model) == NOT_EXACT
    assert not model.exact_rows
    assert (model.least_rows, model.constant_rows) == (1, False)


def test_attention_that_differs_deep_in_the_context_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels change with the KV's length: a check near the start would not notice."""
    real = Attention.mix

    def uneven(self: Attention, queries: torch.Tensor, keys: torch.Tensor, *rest: object) -> torch.Tensor:
        mixed: torch.Tensor = real(self, queries, keys, *rest)  # type: ignore[arg-type] # passed on as they come
        deep = keys.shape[1] > 256 and queries.shape[0] < FEW_ROWS
        return mixed * (1.0 + 1e-6) if deep else mixed

    model = build("int8 in torch", 4)
    model.fill_up(1)
    monkeypatch.setattr(Attention, "mix", uneven)
    assert not rows_are_exact(model)


def test_compiled_attention_that_differs_deep_in_the_context_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("float32", 4)
    assert isinstance(model, FusedDecoder)
    real = model._attend_heads

    def uneven(*args: float) -> None:
        """A row's position moves by one where few rows are computed far behind: `start` and `rows` are args 7 and 8."""
        deep = args[7] > 256 and args[8] < FEW_ROWS
        real(*args[:7], args[7] - 1 if deep else args[7], *args[8:])

    assert rows_are_exact(model)
    monkeypatch.setattr(model, "_attend_heads", uneven)
    assert not rows_are_exact(model)


@pytest.mark.parametrize(("slow_single", "rows"), [(True, FEW_ROWS), (False, 1)])
def test_a_single_row_is_computed_as_four_where_that_is_faster(slow_single: bool, rows: int) -> None:
    seen: list[int] = []

    def noted(linear: Linear) -> Linear:
        product = linear.product

        def product_of(x: torch.Tensor) -> torch.Tensor:
            seen.append(x.shape[0])
            return product(x)

        return Linear(product_of, linear.kind, linear.bytes_read)

    model = build(NUMBERS[-1], 4, noted)

    def clock() -> int:
        costs = {1: 10 if slow_single else 5, FEW_ROWS: 5}
        return sum(costs.get(count, 5) for count in seen)

    make_exact(model, clock)
    assert model.exact_rows
    if model.attention.dtype == torch.bfloat16:
        assert model.least_rows == rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kv_length_of_a_row_is_that_of_its_own_block(dtype: torch.dtype) -> None:
    """Kernels may sum differently over another length, even where the rest is masked: the window must not choose it."""
    attention = Attention(heads=4, kv_heads=2, head_dim=8, dtype=dtype)
    for least in (1, 4, 16):
        attention.least_rows = least
        for start in (0, 1, 100, 120, 127, 128, 250, 255, 256, 300):
            for count in (1, 2, 9, 16):
                total = max(count, least)
                seen = []
                for group in attention.groups(start, count, total):
                    assert group.low <= group.first < group.stop <= group.high <= total
                    assert group.high - group.low >= least
                    seen += [group.length] * (group.stop - group.first)
                assert seen == [((start + row) // KV_BLOCK + 1) * KV_BLOCK for row in range(count)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_sees_what_stands_before_it(dtype: torch.dtype) -> None:
    """With values that name their position, attention of equal keys gives the mean of the positions seen."""
    attention = Attention(heads=2, kv_heads=1, head_dim=2, dtype=dtype)
    values = torch.arange(384.0).view(1, 384, 1).expand(-1, -1, 2).to(dtype)
    keys = torch.zeros_like(values)
    for least in (1, 4):
        attention.least_rows = least
        for start, count in ((0, 1), (5, 3), (126, 4), (250, 16), (383, 1)):
            total = max(count, least)
            queries = torch.zeros(total, 2, 2, dtype=dtype)
            mixed = attention.mix(queries, keys, values, attention.groups(start, count, total))
            expected = torch.tensor([(start + row) / 2 for row in range(count)])[:, None].expand(-1, 4)
            assert mixed.shape == (total, 4)
            assert torch.allclose(mixed[:count].float(), expected, rtol=0.02, atol=0.01)


@pytest.mark.parametrize(("numbers", "kv_heads"), [(n, kv) for n in NUMBERS for kv in (4, 2, 1)])
def test_a_pass_of_any_width_leaves_the_same_bits(numbers: str, kv_heads: int) -> None:
    """Rests of a prefill too: torch's fused kernel sums the last rows behind its 32nd query in another order."""
    model = exact(numbers, kv_heads)
    assert model.exact_rows
    single = one_by_one(numbers, kv_heads)
    for start in (0, 96, 120):
        model.forward(IDS[: max(start, 1)], 0, 1)
        for width in range(1, 65):
            together = model.forward(IDS[start : start + width], start, width)
            assert torch.equal(together, single[start : start + width]), (start, width)


@pytest.mark.parametrize("filling", [1, FEW_ROWS])
@pytest.mark.parametrize("numbers", NUMBERS)
def test_a_pass_that_failed_leaves_nothing_behind(numbers: str, filling: int) -> None:
    """0 × NaN is NaN behind a mask too: what a failed reply left must not reach the next one."""
    model = build(numbers, 2)
    model.fill_up(filling)
    clean, first = model.forward(IDS[:20], 0, 20), model.forward(IDS[:1], 0, 1)
    embedding = model._embedding
    kept = embedding[IDS[5]].clone()
    embedding[IDS[5]] = float("nan")
    try:
        failed = not bool(torch.isfinite(model.forward(IDS[:40], 0, 1)).all())
    except RuntimeError:  # int8 products refuse what is not a number
        failed = True
    assert failed
    embedding[IDS[5]] = kept
    if isinstance(model, FusedDecoder):
        model._mixed.fill_(float("nan"))  # as of scores that grew too large
    assert torch.equal(model.forward(IDS[:1], 0, 1), first)
    assert torch.equal(model.forward(IDS[:20], 0, 20), clean)
