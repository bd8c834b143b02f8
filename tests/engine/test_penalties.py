"""Penalties and biases, against a plain reference by hand and inside a window of the real loop."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor

from chatapp.bench.chi_square import chi_square_p
from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.penalties import Penalties, put_back
from chatapp.engine.sampling import NotFinite, Processor
from tests.helpers.engine import GREEDY, NEUTRAL, PROMPT, finished, ids_of, steps_of, toy_rig
from tests.helpers.rows import dense

SIZE = 12
IDS = st.integers(0, SIZE + 3)
"""Some lie behind the vocabulary: a tokenizer may know more ids than the logits have."""


def settings_of(
    repetition: float = 1.0,
    presence: float = 0.0,
    frequency: float = 0.0,
    bias: tuple[tuple[int, float], ...] = (),
) -> SamplingSettings:
    return SamplingSettings(
        repetition_penalty=repetition, presence_penalty=presence, frequency_penalty=frequency, logit_bias=bias
    )


def by_hand(
    logits: Sequence[float], prompt: Sequence[int], reply: Sequence[int], s: SamplingSettings
) -> list[float]:
    """One id at a time, from the definitions: repetition, then presence and frequency, then bias."""
    result = []
    for token, logit in enumerate(logits):
        if token in prompt or token in reply:
            logit = logit * s.repetition_penalty if logit < 0 else logit / s.repetition_penalty
        times = list(reply).count(token)
        logit -= s.presence_penalty * (times > 0) + s.frequency_penalty * times
        result.append(logit + dict(s.logit_bias).get(token, 0.0))
    return result


@given(
    seed=st.integers(0, 2**32),
    prompt=st.lists(IDS, max_size=6),
    reply=st.lists(IDS, max_size=8),
    drafts=st.lists(IDS, max_size=5),
    repetition=st.sampled_from([1.0, 1.3, 0.5]),
    presence=st.sampled_from([0.0, 0.6, -2.0]),
    frequency=st.sampled_from([0.0, 0.4, -0.7]),
    bias=st.dictionaries(IDS, st.floats(-100.0, 100.0), max_size=4),
)
def test_the_definitions(
    seed: int,
    prompt: list[int],
    reply: list[int],
    drafts: list[int],
    repetition: float,
    presence: float,
    frequency: float,
    bias: dict[int, float],
) -> None:
    logits = np.random.default_rng(seed).standard_normal(SIZE) * 3
    chosen = settings_of(repetition, presence, frequency, tuple(bias.items()))
    before = logits.copy()
    found = Penalties(chosen, len(prompt)).applied(logits, [*prompt, *reply], drafts)
    assert found == pytest.approx(by_hand(before.tolist(), prompt, [*reply, *drafts], chosen), abs=1e-12)
    assert np.array_equal(logits, before), "the model's own logits stay as they are"


@given(
    seed=st.integers(0, 2**32),
    context=st.lists(IDS, max_size=20),
    drafts=st.lists(IDS, max_size=5),
    repetition=st.sampled_from([1.0, 1.3]),
    frequency=st.sampled_from([0.0, 0.4]),
    bias=st.dictionaries(IDS, st.floats(-100.0, 100.0), max_size=6),
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_leaves_the_logits_as_they_were(
    temperature: float,
    seed: int,
    context: list[int],
    drafts: list[int],
    repetition: float,
    frequency: float,
    bias: dict[int, float],
) -> None:
    logits = np.random.default_rng(seed).standard_normal(SIZE)
    logits[::5] = -0.0
    chosen = settings_of(repetition, 0.0, frequency, tuple(bias.items()))
    before, changed = logits.tobytes(), Penalties(chosen, 2).applied(logits, context, drafts)
    undo = Penalties(chosen, 2).apply(logits, context, drafts)
    assert logits.tobytes() == changed.tobytes()
    if undo is not None:
        put_back(logits, undo)
    assert logits.tobytes() == before
    processor = Processor(replace(chosen, temperature=temperature, top_p=1.0), 2)
    row = processor.row(torch.from_numpy(logits), context, drafts)
    assert row.prob(row.best) == pytest.approx(np.exp(changed.max()) / np.exp(changed).sum())
    assert logits.tobytes() == before
    logits[3] = np.nan
    before = logits.tobytes()
    with pytest.raises(NotFinite):
        processor.row(torch.from_numpy(logits), context, drafts)
    assert logits.tobytes() == before


@given(
    seed=st.integers(0, 2**32),
    context=st.lists(st.integers(0, 200), min_size=3, max_size=150),
    drafts=st.lists(st.integers(0, 200), max_size=15),
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_draft_in_front_counts_to_the_bit_as_the_same_token_of_the_reply(
    dtype: type[np.floating], seed: int, context: list[int], drafts: list[int]
) -> None:
    logits = np.random.default_rng(seed).standard_normal(190).astype(dtype)
    chosen = settings_of(1.1, 0.3, 0.7, ((5, 0.1),))
    as_drafts = Penalties(chosen, 2).applied(logits, context, drafts)
    assert np.array_equal(as_drafts, Penalties(chosen, 2).applied(logits, [*context, *drafts], ()))
    grown = Penalties(chosen, 2)
    for length in range(3, len(context) + 1):
        grown.applied(logits, context[:length], ())
    assert np.array_equal(grown.applied(logits, context, drafts), as_drafts)


def test_without_penalties_nothing_is_copied() -> None:
    logits = np.zeros(4)
    assert Penalties(settings_of(), 0).applied(logits, [1, 2], [3]) is logits


@pytest.mark.parametrize("size", [8_192, 128_256])
def test_repetition_as_transformers_has_it(size: int) -> None:
    """It sees the prompt too, and a token twice counts once."""
    logits = torch.from_numpy(np.random.default_rng(size).standard_normal(size).astype(np.float32) * 3)
    context = np.random.default_rng(1).integers(size, size=400).tolist() * 2
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([context]), logits[None].clone())[0]
    ours = Penalties(settings_of(1.3), 100).applied(logits.numpy(), context, ())
    assert ours == pytest.approx(theirs.numpy(), rel=1e-6)


def test_a_context_is_counted_once_and_anew_where_it_did_not_grow() -> None:
    chosen = settings_of(1.5, 0.5, 0.25)
    penalties, logits = Penalties(chosen, 2), np.linspace(-2.0, 3.0, SIZE)
    for context in ([1, 2], [1, 2, 3], [1, 2, 3, 3, 4], [1, 2, 3], [5, 6], [5, 6, 7]):
        for drafts in ([], [3], [3, 3, 9]):
            found = penalties.applied(logits, context, drafts)
            assert found == pytest.approx(
                by_hand(logits.tolist(), context[:2], [*context[2:], *drafts], chosen)
            )


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_a_bias_of_minus_100_bans_a_token(temperature: float) -> None:
    logits = torch.tensor([9.0, 8.0, 7.0, -3.0])
    chosen = replace(settings_of(bias=((0, -100.0), (1, -100.0))), temperature=temperature, top_p=1.0)
    row = Processor(chosen).row(logits, ())
    assert row.best == 2
    assert row.prob(0) + row.prob(1) < 1e-35
    assert logits.tolist() == [9.0, 8.0, 7.0, -3.0]


def test_a_bias_of_an_id_that_the_logits_do_not_have_is_ignored() -> None:
    chosen = replace(settings_of(bias=((4, 100.0), (10**9, -100.0))), temperature=1.0, top_p=1.0)
    row = Processor(chosen).row(torch.zeros(4), [], [])
    assert dense(row).tolist() == [0.25] * 4


# -- inside a window ----------------------------------------------------------------------------------------------

PENALISED = SamplingSettings(
    temperature=0.8,
    top_p=1.0,
    repetition_penalty=1.3,
    presence_penalty=0.6,
    frequency_penalty=0.5,
    logit_bias=((4, 0.7), (6, -100.0), (900, 3.0)),
    max_tokens=60,
)


@pytest.mark.parametrize("rule", ["rejection", "block", "coupled"])
@pytest.mark.parametrize("k", [1, 2, 9])
def test_every_position_sees_the_drafts_before_it(rule: str, k: int) -> None:
    """The record's probabilities are those of a row processed anew, by hand, with all that stood before the token."""
    rig = toy_rig()
    assert rig.draft_model is not None
    events = finished(rig, rig.run(sampling=PENALISED, acceptor=rule, window=k))
    reply: list[int] = []
    tested = 0
    for step in steps_of(events):
        before = list(reply)
        for draft in step.drafted:
            assert draft.draft_prob == pytest.approx(chance(rig.draft_model, before, draft.id), abs=1e-12)
            if draft.target_prob is not None:
                assert draft.target_prob == pytest.approx(
                    chance(rig.target_model, before, draft.id), abs=1e-12
                )
                tested += 1
            before.append(draft.id)
        for token in step.tokens:
            assert token.target_prob == pytest.approx(chance(rig.target_model, reply, token.id), abs=1e-12)
            reply.append(token.id)
    assert 6 not in reply, "banned"
    assert tested > 10 or k == 1


def chance(model: ToyModel, reply: list[int], token: int) -> float:
    logits = model.logits_after([*PROMPT, *reply]).tolist()
    scores = [logit / PENALISED.temperature for logit in by_hand(logits, PROMPT, reply, PENALISED)]
    return math.exp(scores[token]) / math.fsum(map(math.exp, scores))


@pytest.mark.parametrize("k", [2, 5, 16])
def test_greedy_text_under_penalties_is_that_of_plain_decoding(k: int) -> None:
    sampling = replace(PENALISED, temperature=0.0, max_tokens=40)
    plain, speculated, free = toy_rig(), toy_rig(), toy_rig()
    wanted = ids_of(finished(plain, plain.run(sampling=sampling, speculation=False)))
    assert ids_of(finished(speculated, speculated.run(sampling=sampling, window=k))) == wanted
    assert ids_of(finished(free, free.run(sampling=GREEDY))) != wanted, "the penalties matter here"


@pytest.mark.statistical
@pytest.mark.parametrize("rule", ["rejection", "block", "coupled"])
def test_the_joint_distribution_of_three_tokens_under_penalties(rule: str) -> None:
    """The chance of each triple is a product by hand. A correct engine would fail with probability 1e-4 each."""
    samples = 1500
    sampling = replace(NEUTRAL, repetition_penalty=1.6, presence_penalty=0.8, frequency_penalty=0.6)
    rig = toy_rig(vocabulary=3, noise=1.0, sharpness=1.0)
    seen: Counter[tuple[int, ...]] = Counter()
    for seed in range(samples):
        run = rig.run(sampling=replace(sampling, seed=seed, max_tokens=4), acceptor=rule, window=4)
        seen[tuple(ids_of(list(run.events()))[:3])] += 1
    cells = list(itertools.product(range(3), repeat=3))
    expected = []
    for cell in cells:
        product = float(samples)
        for place, token in enumerate(cell):
            logits = rig.target_model.logits_after([*PROMPT, *cell[:place]]).tolist()
            weights = [math.exp(x) for x in by_hand(logits, PROMPT, cell[:place], sampling)]
            product *= weights[token] / math.fsum(weights)
        expected.append(product)
    assert chi_square_p([seen[cell] for cell in cells], expected) > 1e-4
