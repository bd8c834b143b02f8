"""The positional noise: uniform, independent across ids, positions and seeds, the same dense and sparse; races are draws.

False alarms: seeds are fixed, so a pass stays a pass. With other seeds a correct generator would fail one of the statistical
checks by chance with probability CHANCE each, about 30 in number: under 1 % for the file.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.bench.chi_square import chi_square_p
from chatapp.engine import randomness
from chatapp.engine.distribution import Floats, Row, WeighedRow, block_sums
from chatapp.engine.randomness import Streams

CHANCE = 1e-4
FAR = 4.5
"""Standard deviations that a normal sum passes with probability 7e-6."""


def uniforms(seed: int, position: int, size: int = 20_000) -> Floats:
    return np.exp(-Streams(seed).exponential(position, None, size))


def kolmogorov_p(sample: Floats) -> float:
    """Chance of a largest distance this great between the sample's distribution and the uniform one (asymptotic)."""
    ordered, count = np.sort(sample), len(sample)
    steps = np.arange(count + 1) / count
    distance = max(float((steps[1:] - ordered).max()), float((ordered - steps[:-1]).max()))
    reach = distance * (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count))
    return min(1.0, 2 * math.fsum(-((-1.0) ** j) * math.exp(-2 * (j * reach) ** 2) for j in range(1, 101)))


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (0, 1), (1, 0), (2**63 - 1, 131_071)])
def test_over_the_ids_of_a_position_it_is_uniform(seed: int, position: int) -> None:
    assert kolmogorov_p(uniforms(seed, position)) > CHANCE


@pytest.mark.parametrize("token", [0, 1, 127_999])
def test_over_positions_and_over_seeds_the_noise_of_an_id_is_uniform(token: int) -> None:
    one = np.array([token])
    streams = Streams(3)
    positions = np.concatenate([streams.exponential(position, one, 128_000) for position in range(5000)])
    seeds = np.concatenate([Streams(seed).exponential(9, one, 128_000) for seed in range(2000)])
    assert kolmogorov_p(np.exp(-positions)) > CHANCE
    assert kolmogorov_p(np.exp(-seeds)) > CHANCE


def test_the_kolmogorov_test_sees_a_slight_slope() -> None:
    assert kolmogorov_p(uniforms(0, 0) ** 1.05) < CHANCE


@pytest.mark.parametrize("lag", [1, 2, 3, 64, 4096])
def test_neighbouring_ids_are_not_correlated(lag: int) -> None:
    noise = uniforms(5, 11)
    assert abs(correlation(noise[:-lag], noise[lag:])) < FAR / math.sqrt(len(noise) - lag)


@pytest.mark.parametrize("step", [1, 2, 16])
def test_neighbouring_positions_and_seeds_are_not_correlated(step: int) -> None:
    noise = uniforms(5, 11)
    for other in (uniforms(5, 11 + step), uniforms(5 + step, 11), uniforms(5 + step, 11 - step)):
        assert abs(correlation(noise, other)) < FAR / math.sqrt(len(noise))
        assert abs(correlation(noise[:-1], other[1:])) < FAR / math.sqrt(len(noise) - 1)


def correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def races(row: Row, seed: int, positions: range) -> list[int]:
    streams = Streams(seed)
    return [streams.race(position, row) for position in positions]


@pytest.mark.parametrize("size", [3, 50, 3000])
def test_races_are_draws_from_the_row(size: int) -> None:
    probs = np.random.default_rng(size).dirichlet(np.full(size, 0.3))
    count = 6000
    won = races(Row(int(probs.argmax()), probs), 7, range(count))
    assert chi_square_p(np.bincount(won, minlength=size).tolist(), (count * probs).tolist()) > CHANCE


def test_races_at_neighbouring_positions_and_of_neighbouring_seeds_are_independent() -> None:
    probs = np.array([0.5, 0.3, 0.2])
    row, count = Row(0, probs), 8000
    won = races(row, 11, range(count + 1))
    others = [Streams(seed).race(5, row) for seed in range(count + 1)]
    for sequence in (won, others):
        pairs = np.zeros((3, 3))
        for here, there in itertools.pairwise(sequence):
            pairs[here, there] += 1
        expected = count * np.outer(probs, probs)
        assert chi_square_p(pairs.ravel().tolist(), expected.ravel().tolist()) > CHANCE


@settings(max_examples=40)
@given(seed=st.integers(0, 2**63 - 1), position=st.integers(0, 200_000), kept=st.floats(0.05, 1.0))
def test_sparse_and_dense_noise_are_the_same_numbers(seed: int, position: int, kept: float) -> None:
    ids = np.flatnonzero(np.random.default_rng(seed).random(3000) < kept)
    streams = Streams(seed)
    assert np.array_equal(
        streams.exponential(position, ids, 3000), streams.exponential(position, None, 3000)[ids]
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([5, 1025, 5000, 40_000]), spread=st.floats(0.0, 20.0))
@pytest.mark.parametrize(
    ("dtype", "compiled"), [(np.float32, True), (np.float32, False), (np.float64, False)]
)
def test_a_race_that_leaves_most_ids_out_is_won_by_whom_all_would_see_win(
    dtype: type[np.floating], compiled: bool, seed: int, size: int, spread: float
) -> None:
    weights = np.exp(np.random.default_rng(seed).standard_normal(size) * spread - spread * 4).astype(dtype)
    weights[seed % size] += 1e-6
    row = Row(int(weights.argmax()), weights / weights.sum())
    streams = Streams(seed)
    kept = np.flatnonzero(row.probs)
    sparse = Row(row.best, row.probs[kept], kept, size)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(randomness, "raced", lambda *_: None)
        for position in range(3):
            ratios = row.probs / streams.exponential(position, None, size)
            assert streams.race(position, row) == streams.race(position, sparse) == int(ratios.argmax())


def test_a_race_is_the_same_however_a_row_is_laid_out() -> None:
    """A plugin's row may hold every other number of another array, or ids of 32 bits."""
    source = np.random.default_rng(3)
    wide = source.random(10_000).astype(np.float32)
    ids = np.sort(source.choice(5000, 300, replace=False))
    probs = wide[ids].copy()
    rows = {
        "dense": (Row(0, wide[::2].copy()), [Row(0, wide[::2])]),
        "sparse": (
            Row(0, probs, ids, 5000),
            [
                Row(0, probs, ids.astype(np.int32), 5000),
                Row(0, probs, np.repeat(ids, 2)[::2], 5000),
                Row(0, np.repeat(probs, 2)[::2], ids, 5000),
            ],
        ),
    }
    streams = Streams(1)
    for plain, others in rows.values():
        won = [streams.race(position, plain) for position in range(50)]
        assert len(set(won)) > 30
        for row in others:
            assert [streams.race(position, row) for position in range(50)] == won


def test_a_race_of_weights_is_that_of_their_probabilities() -> None:
    weights = np.exp(4 * np.random.default_rng(3).standard_normal(9000)).astype(np.float32)
    best, sums = int(weights.argmax()), block_sums(weights)
    streams, row = Streams(1), Row(best, weights / weights.sum())
    weighed = WeighedRow(best, weights, sums, float(sums.sum()))
    assert [streams.race(position, weighed) for position in range(300)] == [
        streams.race(position, row) for position in range(300)
    ]


def test_noise_is_a_function_of_seed_and_position_alone() -> None:
    forward, backward = Streams(5), Streams(5)
    ahead = {position: forward.exponential(position, None, 64) for position in range(200)}
    for position in reversed(range(200)):
        assert np.array_equal(backward.exponential(position, None, 64), ahead[position])
    assert len({float(noise[0]) for noise in ahead.values()}) == 200
    assert not np.array_equal(Streams(6).exponential(0, None, 64), ahead[0])


def test_noise_is_strictly_positive_and_finite() -> None:
    for position in range(20):
        noise = Streams(1).exponential(position, None, 50_000)
        assert noise.min() > 0.0
        assert np.isfinite(noise).all()


def test_the_sequential_streams_of_a_seed_differ() -> None:
    streams = Streams(4)
    numbers = [
        tuple(stream.random() for _ in range(4)) for stream in (streams.draft, streams.accept, streams.target)
    ]
    assert len(set(numbers)) == 3
    again = Streams(4)
    assert numbers[0] == tuple(again.draft.random() for _ in range(4))


def test_no_global_random_state_is_touched() -> None:
    before, numpys = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # a tuple of five
    streams = Streams(5)
    streams.exponential(3, None, 8)
    streams.draft.random()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # type: ignore[index]  # as above
