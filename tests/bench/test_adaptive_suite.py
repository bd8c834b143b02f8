"""The adaptive suite: synthetic drafters are right as often as they are said to be, steps are counted at typical costs."""

from __future__ import annotations

import math
import random

import pytest

from chatapp.bench import adaptive
from chatapp.bench.adaptive import Story, SyntheticEngine, drafter_name, run_suite, sides_of, stream
from chatapp.bench.measure import Cell, measure_engine
from chatapp.bench.suites import SuiteOptions
from chatapp.bench.typical import StepCost, SteppedReply, TypicalCosts
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest, SamplingSettings
from chatapp.domain.tokens import DraftOutcome
from chatapp.engine.control import RunControl
from chatapp.resources import builtin_pair


def test_kinds_come_in_turn() -> None:
    assert [kind for kind, _ in stream(["guide", "code"], 2)] == ["guide", "code", "guide", "code"]


def test_the_adaptive_side_is_under_the_largest_window() -> None:
    sides = sides_of((4, 2))
    assert [(side.name, side.window, side.policy) for side in sides] == [
        ("plain", 1, "fixed"),
        ("k 2", 2, "fixed"),
        ("k 4", 4, "fixed"),
        ("adaptive", 4, "adaptive"),
    ]


@pytest.fixture(scope="module")
def engine() -> SyntheticEngine:
    engine = SyntheticEngine(threads=1, device="cpu")
    engine.load(builtin_pair(), lambda _: None)
    engine.add_drafters()
    return engine


@pytest.mark.parametrize("acceptance", [0.0, 0.6, 0.97])
def test_a_synthetic_drafter_is_right_as_often_as_it_says(engine: SyntheticEngine, acceptance: float) -> None:
    """Four standard deviations of the binomial; the places are fixed, so a pass stays a pass."""
    messages = stream(["story"], 1)[0][1]
    sampling = SamplingSettings(temperature=0.0, max_tokens=60)
    alone = GenerationRequest(messages, sampling, window=1, speculation=False)
    text = measure_engine(engine, alone).tokens
    engine.story = Story(0, [*engine.prepare(alone).prompt_ids, *text])
    with_drafts = GenerationRequest(messages, sampling, window=4, drafter=drafter_name(acceptance))
    reply = measure_engine(engine, with_drafts)
    assert reply.tokens == text
    assert reply.metrics is not None
    tested = reply.metrics.tested
    spread = 4 * math.sqrt(acceptance * (1 - acceptance) / tested) + 1e-9
    assert reply.metrics.tested_acceptance == pytest.approx(acceptance, abs=spread)


def test_luck_is_another_for_every_prompt_and_the_same_for_every_window(engine: SyntheticEngine) -> None:
    messages = stream(["story"], 1)[0][1]
    sampling = SamplingSettings(temperature=0.0, max_tokens=60)
    alone = GenerationRequest(messages, sampling, window=1, speculation=False)
    prompt = engine.prepare(alone).prompt_ids
    story = [*prompt, *measure_engine(engine, alone).tokens]

    def unlucky_places(number: int, window: int) -> set[int]:
        engine.story = Story(number, story)
        request = GenerationRequest(messages, sampling, window=window, drafter=drafter_name(0.6))
        place, rejected = len(prompt), set()
        record = RunRecord()
        for event in engine.run(engine.prepare(request), RunControl.of(request)):
            record.apply(event)
        for step in record.steps:
            if any(draft.outcome is DraftOutcome.REJECTED for draft in step.drafted):
                rejected.add(place + step.accepted)
            place += len(step.tokens)
        return rejected

    first, second, wide = unlucky_places(0, 4), unlucky_places(1, 4), unlucky_places(0, 16)
    assert first
    assert first != second
    assert wide, "tested behind other places, where bonus tokens were"
    assert all(random.Random(f"0 {place}").random() >= 0.6 for place in first | wide)


def test_a_synthetic_drafter_stops_at_the_end_as_a_model_does(engine: SyntheticEngine) -> None:
    messages = stream(["guide"], 1)[0][1]
    sampling = SamplingSettings(temperature=0.0, max_tokens=200)
    alone = GenerationRequest(messages, sampling, window=1, speculation=False)
    text = measure_engine(engine, alone).tokens
    assert text[-1] in engine.pair.prompt.eos_ids
    request = GenerationRequest(messages, sampling, window=16, drafter=drafter_name(0.97))
    drafted: list[list[int]] = []
    for number in range(8):
        engine.story = Story(number, [*engine.prepare(alone).prompt_ids, *text])
        record = RunRecord()
        for event in engine.run(engine.prepare(request), RunControl.of(request)):
            record.apply(event)
        drafted += [[draft.id for draft in step.drafted] for step in record.steps]
    ended = [ids for ids in drafted if text[-1] in ids]
    assert ended
    assert all(text[-1] not in ids[:-1] for ids in ended)


def test_steps_count_at_the_median_cost_of_their_kind() -> None:
    def cell(*steps: StepCost) -> Cell:
        return Cell([[SteppedReply(0, 1, 1, (), steps=steps)]])

    plain = cell(*[StepCost(0, 0, cost, 1) for cost in (10, 10, 10, 10, 10, 999)])
    wide = cell(*[StepCost(4, 8, cost, 5) for cost in (14, 14, 14, 14, 999, 14)])
    rare = cell(StepCost(2, 4, 500, 2))
    costs = TypicalCosts([plain, wide, rare])
    assert costs.tpot_ms(plain) == pytest.approx(10 / 1e6)
    assert costs.tpot_ms(wide) == pytest.approx((14 + 4 * 2) / 5 / 1e6)
    assert costs.tpot_ms(rare) == pytest.approx((12 + 2 * 2) / 2 / 1e6), "between its neighbours"
    assert costs.tpot_ms(Cell([[]])) is None


def test_beginning_to_draft_counts_once_a_step() -> None:
    def steps(drafts: int) -> Cell:
        return Cell([[SteppedReply(0, 1, 1, (), steps=(StepCost(drafts, 60 + 10 * drafts, 100, 1),) * 5)]])

    cells = [steps(drafts) for drafts in (1, 3, 9)]
    costs = TypicalCosts(cells)
    assert [costs.tpot_ms(cell) for cell in cells] == pytest.approx([170 / 1e6, 190 / 1e6, 250 / 1e6])


def test_the_suite_compares_every_acceptance_kind_and_temperature(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptive, "ACCEPTANCES", (0.0, 0.9))
    options = SuiteOptions(
        threads=1, rounds=1, prompts=1, kinds=("arithmetic", "data"), windows=(4,), max_tokens=8
    )
    result = run_suite(options)
    compared = [row["what"] for row in (*result["synthetic"], *result["texts"])]
    kinds = [f"{what}, T {t}" for t in ("0", "0.8") for what in ("arithmetic", "data", "mixed text")]
    assert compared == ["acceptance 0", "acceptance 0.9", *kinds]
    for row in (*result["synthetic"], *result["texts"]):
        assert set(row["tpot_ms"]) == {"plain", "k 4", "adaptive"}
        assert row["best_fixed"] in ("plain", "k 4")
        best = min(row["typical_tpot_ms"][side] for side in ("plain", "k 4"))
        at_typical = row["adaptive_over_best_fixed_at_typical_costs"]
        assert at_typical == pytest.approx(best / row["typical_tpot_ms"]["adaptive"])
    bars = {bar["what"]: bar["bar"] for bar in result["bars"]}
    assert bars["acceptance 0: adaptive / plain"] == 0.97
    assert bars["acceptance 0.9: adaptive / best fixed"] == 0.97
    assert bars["mixed text, T 0.8: adaptive / best fixed"] == 1.05
    assert "mixed text, T 0: ms per token: plain" in capsys.readouterr().out
