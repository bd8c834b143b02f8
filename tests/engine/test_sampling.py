"""The processed distribution against an independent dense reference and against transformers' own warpers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from chatapp.domain.request import SamplingSettings
from chatapp.engine import sampling
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.distribution import GreedyRow
from chatapp.engine.randomness import Streams
from chatapp.engine.sampling import Processor
from tests.helpers.rows import dense

SETTINGS = st.builds(
    SamplingSettings,
    temperature=st.floats(0.05, 3.0),
    top_k=st.sampled_from([0, 0, 1, 2, 3, 7, 40, 200, 100_000]),
    top_p=st.sampled_from([1.0, 1.0, 0.99, 0.95, 0.8, 0.5, 0.1, 1e-9]),
    min_p=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.2, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 0.7, 1.1, 2.0]),
)
SIZES = st.sampled_from([5, 17, 127, 128, 129, 500, 5000])
SPREADS = st.sampled_from([0.01, 0.3, 1.0, 4.0, 12.0])
EDGE = 1e-5
"""Relative: where a cut falls this near to a token's mass, float rounding decides, and both answers are right."""


def logits_of(seed: int, size: int, spread: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(size, generator=generator, dtype=torch.float64) * spread).to(dtype)


def context_of(seed: int, size: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed + 1)
    return [int(token) for token in torch.randint(size, (9,), generator=generator)]


def reference(
    logits: torch.Tensor, context: Sequence[int], settings: SamplingSettings
) -> tuple[list[float], bool]:
    """Written from the definitions, token by token, in Python floats; `(probabilities, a cut is too near to call)`."""
    scores = [float(value) for value in logits]
    for token in set(context):
        penalty = settings.repetition_penalty
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    scores = [score / settings.temperature for score in scores]
    order = sorted(range(len(scores)), key=lambda token: -scores[token])
    near = False
    if 0 < settings.top_k < len(order):
        near |= scores[order[settings.top_k - 1]] - scores[order[settings.top_k]] < EDGE
        order = order[: settings.top_k]
    top = scores[order[0]]
    weights = {token: math.exp(scores[token] - top) for token in order}
    total = math.fsum(weights.values())
    kept: list[int] = []
    mass = 0.0
    for token in order:
        near |= abs(mass - settings.top_p) < EDGE and settings.top_p < 1
        if mass < settings.top_p or settings.top_p >= 1 or not kept:
            kept.append(token)
        mass += weights[token] / total
    near |= any(abs(weights[token] / settings.min_p - 1) < EDGE for token in kept[1:] if settings.min_p)
    kept = [token for token in kept if weights[token] >= settings.min_p]
    total = math.fsum(weights[token] for token in kept)
    return [weights[token] / total if token in set(kept) else 0.0 for token in range(len(scores))], near


@settings(max_examples=120)
@given(
    seed=st.integers(0, 2**32), size=SIZES.filter(lambda size: size < 1000), spread=SPREADS, chosen=SETTINGS
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_definitions(
    dtype: torch.dtype, seed: int, size: int, spread: float, chosen: SamplingSettings
) -> None:
    logits, context = logits_of(seed, size, spread, dtype), context_of(seed, size)
    expected, near = reference(logits, context, chosen)
    assume(not near)
    probs = dense(Processor(chosen).row(logits, context))
    assert probs.dtype == dtype
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    wanted = torch.tensor(expected, dtype=dtype)
    assert torch.equal(probs > 0, wanted > 0)
    assert torch.allclose(probs, wanted, atol=tolerance, rtol=tolerance)


def warped(logits: torch.Tensor, context: Sequence[int], settings: SamplingSettings) -> torch.Tensor:
    """transformers' own chain, in its own order."""
    chain: list[Any] = []
    if settings.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    chain.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        chain.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chain.append(TopPLogitsWarper(settings.top_p))
    if settings.min_p:
        chain.append(MinPLogitsWarper(settings.min_p))
    scores = LogitsProcessorList(chain)(torch.tensor([list(context)]), logits[None].clone())  # type: ignore[arg-type]  # its stubs ask for LongTensor
    return torch.softmax(scores[0], -1)


@settings(max_examples=120)
@given(seed=st.integers(0, 2**32), size=SIZES, spread=SPREADS, chosen=SETTINGS)
def test_the_warpers_of_transformers(seed: int, size: int, spread: float, chosen: SamplingSettings) -> None:
    logits, context = logits_of(seed, size, spread, torch.float64), context_of(seed, size)
    ours = dense(Processor(chosen).row(logits, context))
    theirs = warped(logits, context, chosen)
    if not torch.equal(ours > 0, theirs > 0):
        # The two sum in different orders: a cut within rounding of a token's mass may fall on either side of it.
        odd = torch.minimum(ours, theirs)[(ours > 0) != (theirs > 0)]
        assert len(odd) == 1
        cut = float(torch.maximum(ours, theirs)[(ours > 0) != (theirs > 0)])
        assert cut < 1e-9 or abs(float(ours.sum()) - 1.0) < 1e-12
        _, near = reference(logits, context, chosen)
        assert near
        return
    assert torch.allclose(ours, theirs, atol=1e-12, rtol=1e-9)


@settings(max_examples=120)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([129, 200, 1000, 5000]),
    spread=SPREADS,
    top_p=st.sampled_from([1.0, 0.999, 0.95, 0.5]),
    min_p=st.sampled_from([0.0, 1e-4, 0.05]),
)
def test_the_few_largest_logits_give_what_all_would(
    seed: int, size: int, spread: float, top_p: float, min_p: float
) -> None:
    assume(top_p < 1.0 or min_p > 0.0)
    chosen = SamplingSettings(temperature=0.9, top_p=top_p, min_p=min_p)
    logits = logits_of(seed, size, spread)
    few = dense(Processor(chosen).row(logits, ()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "CUTS", ())
        whole = dense(Processor(chosen).row(logits, ()))
    assert torch.equal(few > 0, whole > 0)
    assert torch.allclose(few, whole, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [1e-320, 1e-40, 1e-12, 1e-3, 0.7, 5.0])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_every_temperature_gives_probabilities(dtype: torch.dtype, temperature: float, top_p: float) -> None:
    logits = logits_of(1, 300, 8.0).to(dtype)
    probs = dense(Processor(SamplingSettings(temperature=temperature, top_p=top_p)).row(logits, ()))
    assert probs.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert bool(torch.isfinite(probs).all())
    assert float(probs.sum()) == pytest.approx(1.0, abs=1e-5)
    assert int(probs.argmax()) == int(logits.argmax())
    if temperature < 1e-3:
        assert float(probs.max()) == 1.0


def test_logits_of_minus_infinity_have_no_probability() -> None:
    logits = torch.tensor([1.0, -math.inf, 0.0, -math.inf])
    for chosen in (
        SamplingSettings(temperature=1.0, top_p=1.0),
        SamplingSettings(temperature=1.0, top_p=0.999999),
        SamplingSettings(temperature=0.5, top_k=3),
        SamplingSettings(temperature=1.0, min_p=0.01, repetition_penalty=1.5),
    ):
        probs = dense(Processor(chosen).row(logits, [1, 0]))
        assert probs[1] == probs[3] == 0.0
        assert bool(torch.isfinite(probs).all())


def test_greedy_keeps_the_logits_for_the_choice_and_temperature_one_for_the_record() -> None:
    logits = logits_of(2, 50, 3.0)
    row = Processor(SamplingSettings(temperature=0.0, top_k=1, top_p=0.1)).row(logits, ())
    assert isinstance(row, GreedyRow)
    assert torch.equal(torch.from_numpy(row.scores), logits)
    assert row.best == int(logits.argmax())
    wanted = torch.softmax(logits, -1)
    assert torch.allclose(dense(row), wanted)
    for token in range(50):
        assert row.prob(token) == pytest.approx(float(wanted[token]), rel=1e-5)


def test_the_penalty_leaves_its_input_alone_and_ignores_foreign_ids() -> None:
    logits = torch.tensor([2.0, -2.0, 0.0])
    row = Processor(SamplingSettings(temperature=0.0, repetition_penalty=2.0)).row(logits, [0, 1, 1, 7])
    assert isinstance(row, GreedyRow)
    assert row.scores.tolist() == [1.0, -4.0, 0.0]
    assert logits.tolist() == [2.0, -2.0, 0.0]


@pytest.mark.parametrize("size", [400, 4_097, 40_001])
@pytest.mark.parametrize(
    "chosen",
    [
        SamplingSettings(temperature=0.8, top_p=0.9),
        SamplingSettings(temperature=1.0, top_p=1.0),
        SamplingSettings(temperature=0.8, top_p=1.0, top_k=40),
        SamplingSettings(temperature=0.0),
    ],
    ids=["top-p", "dense", "top-k", "greedy"],
)
def test_a_row_is_processed_by_itself(chosen: SamplingSettings, size: int) -> None:
    """A row of a window and the same row alone give the same bits, wherever either starts in memory."""
    window = torch.stack([logits_of(seed, size, 3.0) for seed in range(9)])
    processor = Processor(chosen)
    for index, alone in enumerate(window.clone()):
        ours, other = processor.row(window[index], ()), processor.row(alone.clone(), ())
        assert torch.equal(dense(ours), dense(other))
        assert [ours.prob(token) for token in range(20)] == [other.prob(token) for token in range(20)]
        for uniform in (0.0, 0.123, 0.5, 0.999):
            assert ours.draw(uniform) == other.draw(uniform)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32), size=SIZES, spread=SPREADS, chosen=SETTINGS, uniform=st.floats(0, 1 - 2**-53)
)
def test_nothing_outside_the_support_is_ever_drawn(
    seed: int, size: int, spread: float, chosen: SamplingSettings, uniform: float
) -> None:
    row = Processor(chosen).row(logits_of(seed, size, spread), ())
    for number in (uniform, 0.0, 2**-53, 1 - 2**-53):
        assert row.prob(row.draw(number)) > 0
    coupled = CoupledAcceptor(Streams(seed))
    for position in range(3):
        assert row.prob(coupled.draw_target(row, position)) > 0
