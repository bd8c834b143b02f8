"""Compiled passes over long rows against numpy in float64, and what happens without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine import long_rows
from chatapp.engine.distribution import GreedyRow
from chatapp.engine.long_rows import LONG, mass, turned, weighed
from chatapp.engine.sampling import Processor

SIZES = (LONG, LONG + 1, 32_000, 128_256)
TINY = float(np.finfo(np.float32).tiny)


def scores_of(size: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (4 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0])
def test_weights_and_their_sum_are_numpys(size: int, temperature: float) -> None:
    scores = scores_of(size)
    found = weighed(scores, scores.max(), temperature)
    assert found is not None
    weights, total = found
    # In float32 up to the exponential, as the reference is: a large quotient's own rounding is not the kernel's.
    scaled = (scores - scores.max()) / np.float32(temperature)
    wanted = np.exp(scaled.astype(np.float64))
    assert np.allclose(weights, wanted, rtol=4e-7, atol=2 * TINY)
    assert total == pytest.approx(wanted.sum(), rel=3e-7)
    assert weights.max() == 1.0
    if temperature == 1.0:
        assert mass(scores, scores.max()) == pytest.approx(wanted.sum(), rel=3e-7)


def test_what_is_banned_weighs_nothing_and_a_tiny_temperature_leaves_the_best() -> None:
    scores = scores_of(LONG)
    scores[7] = -np.inf
    scores[8] = -1e30
    found = weighed(scores, scores.max(), 1.0)
    assert found is not None
    assert found[0][7] == found[0][8] == 0.0
    one_hot = weighed(scores, scores.max(), 1e-30)
    assert one_hot is not None
    assert one_hot[1] == 1.0
    assert one_hot[0].argmax() == scores.argmax()


def test_a_row_does_not_depend_on_where_it_stands() -> None:
    rows = np.stack([scores_of(LONG + 3, seed) for seed in range(3)])
    alone = weighed(rows[1].copy(), rows[1].max(), 0.7)
    among = weighed(rows[1], rows[1].max(), 0.7)
    spread = weighed(np.repeat(rows[1], 2)[::2], rows[1].max(), 0.7)
    assert alone is not None
    for other in (among, spread):
        assert other is not None
        assert other[0].tobytes() == alone[0].tobytes()
        assert other[1] == alone[1]


def test_short_rows_and_other_numbers_are_left_to_numpy() -> None:
    short, wide = scores_of(LONG - 1), scores_of(LONG).astype(np.float64)
    for scores in (short, wide):
        assert weighed(scores, scores.max(), 1.0) is None
        assert mass(scores, scores.max()) is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [2, 5, 8])
def test_a_window_is_turned_round(size: int, count: int) -> None:
    columns = scores_of(size * count).reshape(size, count)
    out = np.zeros((count, size), np.float32)
    assert turned(columns.T, out)
    assert out.tobytes() == np.ascontiguousarray(columns.T).tobytes()


def test_what_is_laid_out_otherwise_is_not() -> None:
    columns = scores_of(LONG * 4).reshape(LONG, 4)
    out = np.zeros((4, LONG), np.float32)
    assert not turned(columns.T[:3], out[:3]), "part of a window"
    assert not turned(np.ascontiguousarray(columns.T), out)
    assert not turned(columns[:, :1].T, out[:1])
    assert not turned(columns.T[:0], out[:0])
    assert not out.any()


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(temperature=1.0),
        SamplingSettings(temperature=0.7, top_p=0.9),
        SamplingSettings(temperature=0.7, top_p=0.9, min_p=0.05, repetition_penalty=1.2),
        SamplingSettings(temperature=0.0),
    ],
)
def test_without_them_the_distribution_is_the_same(
    settings: SamplingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.from_numpy(scores_of(32_000))
    compiled = Processor(settings).row(logits, [1, 2, 3], [4])
    probs = compiled.at(None)
    best = compiled.prob(compiled.best)
    monkeypatch.setattr(long_rows, "_kernels", lambda: None)
    plain = Processor(settings).row(logits, [1, 2, 3], [4])
    assert plain.best == compiled.best
    assert np.allclose(probs, plain.at(None), rtol=1e-6, atol=TINY)
    assert best == pytest.approx(plain.prob(plain.best), rel=1e-6)
    assert isinstance(plain, GreedyRow) == settings.greedy
    assert not turned(scores_of(2 * LONG).reshape(LONG, 2).T, np.zeros((2, LONG), np.float32))


def test_preparing_makes_them_ready_for_long_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(long_rows, "_kernels", lambda: asked.append(1))
    long_rows.prepare(LONG - 1)
    assert not asked
    long_rows.prepare(LONG)
    assert len(asked) == 3
