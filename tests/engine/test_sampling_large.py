"""Rows of real vocabularies: transformers' own warpers on flat, peaked and tied logits; and logits that are not finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from chatapp.domain.request import SamplingSettings
from chatapp.engine import sampling
from chatapp.engine.sampling import NotFinite, Processor, largest, smallest_set
from tests.helpers.rows import dense

SIZES = [8_192, 32_000, 128_256]


def shaped(shape: str, size: int) -> torch.Tensor:
    """`[V] float64`: in float32 a sum of 128,000 numbers depends on its order by more than a small token's mass."""
    generator = np.random.default_rng(size)
    logits = generator.standard_normal(size) * {"flat": 0.05, "text": 2.5, "peaked": 3.0, "tied": 2.0}[shape]
    if shape in {"text", "peaked"}:
        places = generator.choice(size, 12, replace=False)
        logits[places] = {"text": 12.0, "peaked": 40.0}[shape] - 0.9 * np.arange(12)
    if shape == "tied":
        logits = np.round(logits)
    return torch.from_numpy(logits)


def warped(logits: torch.Tensor, chosen: SamplingSettings) -> torch.Tensor:
    chain: list[Any] = [TemperatureLogitsWarper(chosen.temperature)]
    if chosen.top_k:
        chain.append(TopKLogitsWarper(chosen.top_k))
    if chosen.top_p < 1.0:
        chain.append(TopPLogitsWarper(chosen.top_p))
    if chosen.min_p:
        chain.append(MinPLogitsWarper(chosen.min_p))
    scores = LogitsProcessorList(chain)(torch.zeros(1, 1, dtype=torch.long), logits[None].clone())  # type: ignore[arg-type]  # its stubs ask for LongTensor
    return torch.softmax(scores[0], -1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", ["flat", "text", "peaked", "tied"])
@pytest.mark.parametrize(
    "knobs",
    [
        {"top_p": 1.0},
        {"top_p": 0.9},
        {"top_p": 0.9995},
        {"top_p": 1.0, "top_k": 50},
        {"top_p": 0.8, "top_k": 400},
        {"top_p": 1.0, "min_p": 0.03},
        {"top_p": 0.95, "top_k": 1000, "min_p": 0.01},
    ],
    ids=str,
)
def test_the_warpers_of_transformers(knobs: dict[str, Any], shape: str, size: int) -> None:
    logits = shaped(shape, size)
    chosen = SamplingSettings(temperature=0.7, **knobs)
    ours, theirs = dense(Processor(chosen).row(logits, ())), warped(logits, chosen)
    if shape == "tied" and chosen.top_p < 1.0:
        # Which of several equal tokens top-p keeps is left to the order of a sort there, and is the lower ids here.
        ours, theirs = ours.sort().values, theirs.sort().values
    assert int((ours > 0).sum()) == int((theirs > 0).sum())
    assert torch.equal(ours > 0, theirs > 0)
    assert torch.allclose(ours, theirs, atol=1e-13, rtol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("knobs", [{"top_p": 1.0}, {"top_p": 0.9}, {"top_p": 1.0, "top_k": 50}], ids=str)
def test_float32_rows_are_those_of_float64_rounded(knobs: dict[str, Any], size: int) -> None:
    logits = shaped("text", size).float()
    chosen = SamplingSettings(temperature=0.7, **knobs)
    single, double = (dense(Processor(chosen).row(row, ())).double() for row in (logits, logits.double()))
    assert torch.allclose(single, double, atol=2e-6, rtol=2e-5)
    assert float(single.sum()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_large_sets_are_halved_to_what_a_whole_sort_gives(seed: int, ties: bool, top_p: float) -> None:
    weights = np.exp(np.random.default_rng(seed).standard_normal(9_000) * 0.3)
    weights = np.round(weights, 1) if ties else weights
    weights /= weights.max()
    halved = smallest_set(weights, top_p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "SORTED_AT_ONCE", len(weights))
        whole = smallest_set(weights, top_p)
    assert len(halved) > sampling.SORTED_AT_ONCE or top_p < 0.5
    assert np.array_equal(halved, whole)


@pytest.mark.parametrize("count", [1, 7, 50, 1000])
@pytest.mark.parametrize("ties", [False, True])
def test_the_largest_and_their_ties(ties: bool, count: int) -> None:
    scores = np.random.default_rng(count).standard_normal(20_000)
    scores = np.round(scores, 1) if ties else scores
    border = np.sort(scores)[-count]
    assert np.array_equal(largest(scores, count), np.flatnonzero(scores >= border))
    assert ties or len(largest(scores, count)) == count


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1, 511, 512, 8_190, 8_191])
@pytest.mark.parametrize("top_k", [0, 5])
def test_logits_that_are_not_finite_are_refused_wherever_they_stand(
    top_k: int, place: int, bad: float, temperature: float
) -> None:
    logits = shaped("text", 8_192).float()
    logits[place] = bad
    with pytest.raises(NotFinite):
        Processor(SamplingSettings(temperature=temperature, top_k=top_k)).row(logits, ())


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_rows_of_nothing_but_minus_infinity_are_refused(temperature: float) -> None:
    with pytest.raises(NotFinite):
        Processor(SamplingSettings(temperature=temperature)).row(torch.full((600,), -math.inf), ())


@pytest.mark.parametrize("top_k", [0, 100])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_minus_infinity_is_a_ban_in_long_rows_too(top_p: float, top_k: int) -> None:
    logits = shaped("text", 8_192).float()
    logits[::2] = -math.inf
    probs = dense(Processor(SamplingSettings(temperature=1.0, top_p=top_p, top_k=top_k)).row(logits, ()))
    assert float(probs[::2].sum()) == 0.0
    assert float(probs.sum()) == pytest.approx(1.0, abs=1e-6)
    greedy = Processor(SamplingSettings(temperature=0.0)).row(logits, ())
    assert greedy.prob(0) == 0.0
    assert greedy.best % 2 == 1
