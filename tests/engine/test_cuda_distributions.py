"""Processing, drawing and noise as tensor operations against what the host computes for the same numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.cuda.distributions import (
    Knobs,
    drawn,
    exponential_noise,
    knob_values,
    log_totals,
    noise_ids,
    processed,
    signed,
    truncates,
)
from chatapp.engine.distribution import draw
from chatapp.engine.randomness import Streams
from chatapp.engine.sampling import Processor

SETTINGS = [
    SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    for temperature in (0.7, 1.0, 1e-12, 5.0)
    for top_k, top_p, min_p in (
        (0, 1.0, 0.0),
        (0, 0.9, 0.0),
        (0, 0.02, 0.0),
        (0, 1.0, 0.05),
        (1, 1.0, 0.0),
        (9, 1.0, 0.0),
        (50, 0.7, 0.02),
        (1_000_000, 1.0, 0.0),
    )
]


def logits(kind: str, vocabulary: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(vocabulary)
    row = torch.randn(vocabulary, generator=generator) * 3
    if kind == "ties":
        return row.round()
    if kind == "flat":
        return torch.zeros(vocabulary)
    if kind == "bans":
        return row.masked_fill(torch.rand(vocabulary, generator=generator) < 0.5, float("-inf"))
    return row


def device_rows(scores: torch.Tensor, settings: SamplingSettings) -> torch.Tensor:
    values = torch.tensor(knob_values(settings, scores.shape[-1]), dtype=torch.float64)
    return processed(scores, Knobs.of(values), truncating=truncates(settings))


@pytest.mark.parametrize("kind", ["spread", "ties", "flat", "bans"])
@pytest.mark.parametrize("vocabulary", [7, 300, 5000])
def test_rows_are_the_hosts(kind: str, vocabulary: int) -> None:
    """The same ids are kept, at ties too, and probabilities agree to float32's grain."""
    scores = logits(kind, vocabulary)
    for settings in SETTINGS:
        ours = device_rows(scores[None], settings)[0].numpy()
        theirs = Processor(settings).row(scores, ()).at(None)
        # Below 2^-45 of the largest nothing counts here: float32 tails of the host that no draw will ever meet.
        assert np.array_equal(ours > 1e-12, theirs > 1e-12), settings
        assert np.allclose(ours, theirs, rtol=2e-6, atol=1e-12), settings


def test_a_row_does_not_see_its_neighbours() -> None:
    rows = torch.stack([logits(kind, 700) for kind in ("spread", "ties", "flat", "bans")])
    for settings in SETTINGS:
        together = device_rows(rows, settings)
        alone = torch.cat([device_rows(row[None], settings) for row in rows])
        assert torch.equal(together, alone), settings
    assert torch.equal(log_totals(rows), torch.cat([log_totals(row[None]) for row in rows]))


def uniforms(count: int) -> Sequence[float]:
    chooser = random.Random(2)
    return [0.0, 1.0 - 2.0**-53, *(chooser.random() for _ in range(count))]


@pytest.mark.parametrize("vocabulary", [3, 700, 4000])
def test_draws_are_the_hosts(vocabulary: int) -> None:
    weights = torch.softmax(logits("spread", vocabulary), -1)
    weights[::3] = 0.0
    for uniform in uniforms(300):
        place = int(drawn(weights, torch.tensor(uniform, dtype=torch.float64)))
        assert place == draw(weights.numpy(), None, uniform)
        assert weights[place] > 0


def test_weights_without_a_number_give_a_place_inside_the_vocabulary() -> None:
    """An index out of range would end the device's whole process."""
    half = torch.tensor(0.5, dtype=torch.float64)
    for weights in (torch.full((9,), float("nan")), torch.zeros(9), torch.full((9,), float("inf"))):
        assert 0 <= int(drawn(weights, half)) < 9


def test_noise_is_the_hosts_up_to_the_logarithm() -> None:
    streams, vocabulary = Streams(77), 3000
    bases = torch.tensor([signed(streams.noise_base(position)) for position in (0, 5, 4095)])
    ours = exponential_noise(bases, noise_ids(vocabulary, torch.device("cpu"))).numpy()
    for row, position in zip(ours, (0, 5, 4095), strict=True):
        assert np.allclose(row, streams.exponential(position, None, vocabulary), rtol=1e-15, atol=0)
    assert ours.min() > 0


def test_signed_words_keep_their_bits() -> None:
    for value in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
        assert np.array([signed(value)]).astype(np.uint64)[0] == np.uint64(value)
