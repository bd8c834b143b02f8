"""Compiled passes over long rows against numpy in float64, and what happens without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine import long_rows
from chatapp.engine.distribution import GreedyRow, Row, WeighedRow, draw_residual
from chatapp.engine.long_rows import BLOCK, CANDIDATES, LONG, mass, narrowed, subtracted, turned, weighed
from chatapp.engine.sampling import Processor, nucleus

SIZES = (LONG, LONG + 1, 8_192, 32_000, 128_256)
TINY = float(np.finfo(np.float32).tiny)


def scores_of(size: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (4 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0])
def test_weights_and_their_sum_are_numpys(size: int, temperature: float) -> None:
    scores = scores_of(size)
    found = weighed(scores, scores.max(), temperature)
    assert found is not None
    weights, sums, total = found
    # The difference is taken in float32, and nothing else.
    wanted = np.exp((scores - scores.max()).astype(np.float64) / temperature)
    assert np.allclose(weights, wanted, rtol=4e-7, atol=2 * TINY)
    assert total == pytest.approx(wanted.sum(), rel=3e-7)
    assert np.allclose(sums, np.add.reduceat(wanted, range(0, size, BLOCK)), rtol=3e-7)
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
    assert one_hot[2] == 1.0
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
        assert other[1].tobytes() == alone[1].tobytes()
        assert other[2] == alone[2]


def test_short_rows_and_other_numbers_are_left_to_numpy() -> None:
    short, wide = scores_of(LONG - 1), scores_of(LONG).astype(np.float64)
    for scores in (short, wide):
        assert weighed(scores, scores.max(), 1.0) is None
        assert mass(scores, scores.max()) is None
        assert narrowed(scores, scores.max(), 1.0, 0.9, 0.0) is None
        assert subtracted(scores, 1.0, scores, 1.0, 1.0) is None


def flat(size: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """All of it within a factor of e: more ids than any list of candidates has room for."""
    return np.random.default_rng(2).random(size).astype(np.float32)


def grained(
    scores: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """As bfloat16 knows them: thousands of ties."""
    return torch.from_numpy(scores).bfloat16().float().numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.5])
@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.9])
@pytest.mark.parametrize("min_p", [0.0, 0.02])
@pytest.mark.parametrize("grain", [False, True])
def test_what_top_p_keeps_is_numpys(
    size: int, temperature: float, top_p: float, min_p: float, grain: bool
) -> None:
    scores = scores_of(size)
    scores[::7] = -np.inf
    scores = grained(scores) if grain else scores
    found = narrowed(scores, scores.max(), temperature, top_p, min_p)
    assert found is not None
    ids, probs = found
    weights = np.exp((scores - scores.max()).astype(np.float64) / temperature)
    kept = nucleus(weights, top_p, min_p)
    assert kept is not None
    assert np.array_equal(ids, kept)
    assert np.allclose(probs, weights[kept] / weights[kept].sum(), rtol=1e-6)


def test_ties_at_the_border_go_to_lower_ids() -> None:
    scores = np.full(LONG, -5.0, np.float32)
    scores[[900, 70, 2000, 12]] = 8.0, 7.0, 7.0, 7.0
    found = narrowed(scores, scores.max(), 1.0, 0.5, 0.0)
    assert found is not None
    assert found[0].tolist() == [12, 900]
    scores[1000:2000] = 7.0
    found = narrowed(scores, scores.max(), 1.0, 0.5, 0.0)
    assert found is not None
    kept = nucleus(np.exp(scores.astype(np.float64) - 8), 0.5, 0.0)
    assert kept is not None
    assert np.array_equal(found[0], kept)


@pytest.mark.parametrize("scores", [flat(4 * CANDIDATES), np.zeros(LONG, np.float32)], ids=["flat", "equal"])
def test_where_too_many_could_be_kept_it_is_done_at_leisure(
    scores: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    assert narrowed(scores, scores.max(), 1.0, 0.9, 0.0) is None
    row = Processor(SamplingSettings(temperature=1.0, top_p=0.9)).row(torch.from_numpy(scores), [])
    kept = nucleus(np.exp(scores - scores.max()).astype(np.float64), 0.9, 0.0)
    assert row.ids is not None
    assert kept is not None
    # At the border of thousands of almost equal weights the last bits of a sum decide.
    assert len(np.setxor1d(row.ids, kept)) <= 2
    assert row.probs.sum() == pytest.approx(1.0, abs=1e-5)


def test_top_p_of_a_row_does_not_depend_on_where_it_stands() -> None:
    rows = np.stack([scores_of(LONG + 3, seed) for seed in range(3)])
    alone = narrowed(rows[1].copy(), rows[1].max(), 0.7, 0.9, 0.0)
    among = narrowed(rows[1], rows[1].max(), 0.7, 0.9, 0.0)
    assert alone is not None
    assert among is not None
    assert [part.tobytes() for part in among] == [part.tobytes() for part in alone]


def test_a_weighed_row_says_the_same_before_and_after_its_probabilities_were_asked_for() -> None:
    logits = torch.from_numpy(scores_of(32_000))
    settings = SamplingSettings(temperature=1.0, top_p=1.0)
    row, asked = (Processor(settings).row(logits, []) for _ in range(2))
    assert isinstance(row, WeighedRow)
    tokens = (0, row.best, 31_999)
    before = [row.prob(token) for token in tokens]
    uniforms = np.random.default_rng(3).random(200)
    drawn = [row.draw(uniform) for uniform in uniforms]
    probs = asked.probs
    assert before == [asked.prob(token) for token in tokens] == [float(probs[token]) for token in tokens]
    assert float(probs.sum(dtype=np.float64)) == pytest.approx(1.0, abs=1e-6)
    plain = Row(asked.best, probs)
    assert [plain.draw(uniform) for uniform in uniforms] == drawn
    assert [asked.draw(uniform) for uniform in uniforms] == drawn


@pytest.mark.parametrize("weight", [1.0, 0.6])
@pytest.mark.parametrize("asked", [False, True])
def test_a_residual_of_long_rows_is_numpys(weight: float, asked: bool) -> None:
    settings = SamplingSettings(temperature=1.0, top_p=1.0)
    target, draft = (
        Processor(settings).row(torch.from_numpy(scores_of(32_000, seed)), []) for seed in (0, 1)
    )
    plain_target, plain_draft = (
        Row(row.best, Processor(settings).row(torch.from_numpy(scores_of(32_000, seed)), []).probs)
        for seed, row in ((0, target), (1, draft))
    )
    if asked:
        assert target.probs.sum() > 0
    assert isinstance(target, WeighedRow)
    assert isinstance(draft, WeighedRow)
    found = subtracted(*target.unscaled, *draft.unscaled, weight)
    assert found is not None
    rest = np.maximum(plain_target.probs.astype(np.float64) * weight - plain_draft.probs, 0.0)
    assert np.allclose(found[0], rest, rtol=1e-5, atol=1e-9)
    assert found[2] == pytest.approx(rest.sum(), rel=1e-6)
    same = 0
    for uniform in np.random.default_rng(4).random(200):
        token, fell_back = draw_residual(target, draft, uniform, weight)
        assert not fell_back
        assert rest[token] > 0
        same += token == draw_residual(plain_target, plain_draft, uniform, weight)[0]
    assert same >= 198, "rounding may move the border between two ids"


def test_where_no_residual_is_left_the_target_is_drawn_from() -> None:
    settings = SamplingSettings(temperature=1.0, top_p=1.0)
    row, same = (Processor(settings).row(torch.from_numpy(scores_of(LONG)), []) for _ in range(2))
    assert draw_residual(row, same, 0.3) == (row.draw(0.3), True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8, 12, 13, 16])
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
        SamplingSettings(temperature=1.0, top_p=1.0),
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
    assert len(asked) == 7
