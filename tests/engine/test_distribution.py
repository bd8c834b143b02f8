"""Rows: look-up, dense and sparse alike; residuals; inverse-CDF draws that own an interval for each id, in short and long rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.engine import distribution
from chatapp.engine.acceptors.rejection import accepts
from chatapp.engine.distribution import Floats, Row, draw, draw_residual, one_hot, residual, total
from tests.helpers.enumeration import BELOW_ONE, threshold

UNIT = st.floats(0.0, 1.0, allow_subnormal=True)
UNIFORM = st.floats(0.0, BELOW_ONE)
DTYPES = [np.float32, np.float64]


def random_row(seed: int, size: int, *, sparse: bool, dtype: type[np.floating] = np.float64) -> Row:
    """About half of the ids have mass."""
    generator = np.random.default_rng(seed)
    weights = np.exp(generator.standard_normal(size) * 3) * (generator.random(size) < 0.5)
    weights[generator.integers(size)] += 1.0
    probs = (weights / weights.sum()).astype(dtype)
    best = int(probs.argmax())
    ids = np.flatnonzero(probs)
    return Row(best, probs[ids], ids, size) if sparse else Row(best, probs)


@given(seed=st.integers(0, 2**32), size=st.integers(1, 60))
def test_a_sparse_row_says_what_the_dense_one_says(seed: int, size: int) -> None:
    sparse, dense = random_row(seed, size, sparse=True), random_row(seed, size, sparse=False)
    assert np.array_equal(sparse.at(None), dense.at(None))
    for token in range(size):
        assert sparse.prob(token) == dense.prob(token) == float(dense.probs[token])
        assert sparse.prob(token) == sparse.prob(token), "also when it is asked again"
    asked = np.array([0, size // 2, size - 1])
    assert np.array_equal(sparse.at(asked), dense.at(asked))
    assert sparse.draw(0.3) == dense.draw(0.3)


@given(seed=st.integers(0, 2**32), weight=st.sampled_from([1.0, 0.7, 1e-3]))
@pytest.mark.parametrize("target_sparse", [False, True])
@pytest.mark.parametrize("draft_sparse", [False, True])
def test_residuals_are_aligned_by_id(
    target_sparse: bool, draft_sparse: bool, seed: int, weight: float
) -> None:
    """Supports differ: subtracting by place instead of by id would be seen."""
    target = random_row(seed, 40, sparse=target_sparse)
    draft = random_row(seed + 1, 40, sparse=draft_sparse)
    rest = np.zeros(40)
    rest[slice(None) if target.ids is None else target.ids] = residual(target, draft, weight)
    wanted = [max(weight * target.prob(token) - draft.prob(token), 0.0) for token in range(40)]
    assert rest == pytest.approx(wanted, abs=1e-16)


def test_a_one_hot_proposal_leaves_all_the_rest() -> None:
    target = random_row(3, 40, sparse=True)
    rest = residual(target, one_hot(target.best, 40))
    assert target.ids is not None
    for token, left in zip(target.ids.tolist(), rest.tolist(), strict=True):
        assert left == (0.0 if token == target.best else target.prob(token))
    single = one_hot(7, 40)
    assert (single.prob(7), single.prob(6), single.best, single.draw(0.99)) == (1.0, 0.0, 7, 7)


@given(draft_prob=UNIT)
def test_a_token_that_the_target_cannot_give_is_never_accepted(draft_prob: float) -> None:
    for uniform in (0.0, 5e-324, 0.5, BELOW_ONE):
        assert not accepts(uniform, 0.0, draft_prob)


@given(uniform=UNIFORM, prob=st.floats(2.0**-126, 1.0), more=st.floats(1.0, 10.0))
def test_a_token_that_the_target_likes_as_much_is_always_accepted(
    uniform: float, prob: float, more: float
) -> None:
    assert accepts(uniform, prob * more, prob)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_residual_without_mass_falls_back_to_the_target(dtype: type[np.floating]) -> None:
    target = Row(1, np.array([0.25, 0.75], dtype))
    edge = threshold(lambda u: draw_residual(target, target, u)[0] == 0)
    assert edge == 0.25, "the draw is one from the target"
    assert draw_residual(target, target, 0.5) == (1, True)


@given(weights=st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(any), data=st.data())
def test_the_residual_is_what_the_target_has_more(weights: list[int], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.integers(0, 5), min_size=len(weights), max_size=len(weights)).filter(any))
    target = Row(0, np.array(weights) / sum(weights))
    draft = Row(0, np.array(others) / sum(others))
    rest = residual(target, draft)
    distance = 0.5 * float(np.abs(target.probs - draft.probs).sum())
    token, fell_back = draw_residual(target, draft, 0.5)
    assert fell_back == (distance < 1e-12)
    assert float(rest.sum()) == pytest.approx(distance, abs=1e-12)
    assert bool((rest[target.probs <= draft.probs] == 0).all())
    if not fell_back:
        assert rest[token] > 0


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 1e-8, 0.1, 1.0, 3.0]), min_size=1, max_size=9).filter(any)
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [2, 512])
def test_draw_owns_an_interval_for_each_id_and_none_for_impossible_ones(
    block: int, dtype: type[np.floating], weights: list[float]
) -> None:
    probs = np.array(weights, dtype)
    with pytest.MonkeyPatch.context() as patch:
        use_blocks(patch, block)
        edges = [threshold(lambda u, i=i: draw(probs, None, u) <= i) for i in range(len(weights))]  # type: ignore[misc]  # a default binds i
        for uniform in (0.0, 5e-324, 2.0**-53, 0.5, BELOW_ONE):
            assert weights[draw(probs, None, uniform)] > 0
    shares = [high - low for low, high in zip([0.0, *edges], edges, strict=False)]
    tolerance = 1e-12 if dtype is np.float64 else 1e-6
    assert shares == pytest.approx((probs / probs.sum(dtype=np.float64)).tolist(), abs=tolerance)


def use_blocks(patch: pytest.MonkeyPatch, size: int) -> None:
    """So that a few numbers are a long row."""
    patch.setattr(distribution, "BLOCK", size)
    patch.setattr(distribution, "ONES", {np.dtype(dtype): np.ones(size, dtype) for dtype in DTYPES})


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.integers(2, 5000))
def test_draw_at_the_ends_of_the_unit_interval(seed: int, size: int) -> None:
    row = random_row(seed, size, sparse=False, dtype=np.float32)
    for uniform in (0.0, 2.0**-53, BELOW_ONE):
        assert row.probs[row.draw(uniform)] > 0


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.integers(513, 9000), uniform=UNIFORM)
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows_are_drawn_from_as_one_long_sum_would(
    dtype: type[np.floating], seed: int, size: int, uniform: float
) -> None:
    probs = random_row(seed, size, sparse=False, dtype=dtype).probs
    cumulative = np.cumsum(probs, dtype=np.float64)
    token = draw(probs, None, uniform)
    tolerance = 1e-12 if dtype is np.float64 else 1e-6
    wanted = uniform * cumulative[-1]
    assert cumulative[token] >= wanted - tolerance
    assert cumulative[token] - float(probs[token]) <= wanted + tolerance


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 3000))
@pytest.mark.parametrize("vecdot", [hasattr(np, "vecdot"), False], ids=["this numpy's best", "numpy 1.26"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_totals_are_as_good_as_in_float64(
    dtype: type[np.floating], vecdot: bool, seed: int, size: int
) -> None:
    weights: Floats = np.exp(np.random.default_rng(seed).standard_normal(size) * 3).astype(dtype)
    tolerance = 1e-13 if dtype is np.float64 else 2e-7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "HAS_VECDOT", vecdot)
        assert total(weights) == pytest.approx(float(weights.sum(dtype=np.float64)), rel=tolerance)
