"""The laws of the loop, held with every drafter that looks things up; and the draft model's cache behind a look-up.

The prompts repeat themselves, so that the look-up has something to say, and say the wrong thing often.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import EndReason, Notice, Prefilled
from chatapp.domain.request import MAX_WINDOW, SamplingSettings
from chatapp.domain.tokens import DraftOutcome
from chatapp.engine.backends.toy import ToyModel
from tests.helpers.engine import (
    GREEDY,
    NEUTRAL,
    CancelAtCall,
    Failing,
    Rig,
    Schedule,
    check_caches,
    end_of,
    finished,
    ids_of,
    steps_of,
    tokens_of,
    toy_rig,
)

RULES = [("rejection", NEUTRAL), ("block", NEUTRAL), ("coupled", NEUTRAL), ("greedy", GREEDY)]
DRAFTERS = ["ngram", "model+ngram"]
PROMPT = [0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3, 5, 0, 1]
SCHEDULES = st.lists(st.tuples(st.integers(1, MAX_WINDOW), st.booleans()), min_size=1, max_size=12)

every_drafter = pytest.mark.parametrize("drafter", DRAFTERS)
every_rule = pytest.mark.parametrize(("rule", "sampling"), RULES)


def said_alone(sampling: SamplingSettings, rule: str) -> list[int]:
    alone = Rig(ToyModel(8, seed=3), None)
    return ids_of(
        finished(alone, alone.run(PROMPT, sampling=sampling, acceptor=rule, speculation=False), PROMPT)
    )


@every_drafter
@every_rule
def test_every_law_holds_and_both_sources_are_named(
    rule: str, sampling: SamplingSettings, drafter: str
) -> None:
    outcomes: Counter[tuple[str, DraftOutcome]] = Counter()
    for seed in range(12):
        rig = toy_rig()
        run = rig.run(PROMPT, sampling=replace(sampling, seed=seed), acceptor=rule, window=6, drafter=drafter)
        for step in steps_of(finished(rig, run, PROMPT)):
            outcomes.update((draft.source, draft.outcome) for draft in step.drafted)
    expected = {"ngram", "model"} if drafter == "model+ngram" else {"ngram"}
    assert {source for source, _ in outcomes} == expected
    for source in expected:
        assert outcomes[source, DraftOutcome.ACCEPTED] > 0
    assert sum(outcomes[source, DraftOutcome.REJECTED] for source in expected) > 5


@settings(max_examples=40)
@given(
    rule=st.sampled_from(RULES),
    schedule=SCHEDULES,
    seed=st.integers(0, 2**32),
    noise=st.sampled_from([0.0, 0.5, 3.0]),
)
@every_drafter
def test_k_and_the_toggle_may_change_at_every_step(
    drafter: str,
    rule: tuple[str, SamplingSettings],
    schedule: list[tuple[int, bool]],
    seed: int,
    noise: float,
) -> None:
    name, sampling = rule
    sampling = replace(sampling, seed=seed)
    rig = toy_rig(noise=noise)
    run = rig.run(PROMPT, sampling=sampling, acceptor=name, control=Schedule(schedule), drafter=drafter)
    events = finished(rig, run, PROMPT)
    assert len(tokens_of(events)) == sampling.max_tokens
    for step in steps_of(events):
        asked, speculation = schedule[step.index % len(schedule)]
        assert step.window <= (asked if speculation and step.index else 1)
    if name in ("coupled", "greedy"):
        assert ids_of(events) == said_alone(sampling, name)


@every_drafter
@pytest.mark.parametrize("k", [2, 5, 16])
@every_rule
def test_cancel_at_every_call(rule: str, sampling: SamplingSettings, k: int, drafter: str) -> None:
    short = replace(sampling, max_tokens=14)

    def run(rig: Rig, calls: int) -> list[int]:
        control = CancelAtCall(k, lambda: rig.calls, calls)
        events = finished(
            rig,
            rig.run(PROMPT, sampling=short, acceptor=rule, control=control, drafter=drafter),
            PROMPT,
        )
        if calls < 999:
            assert rig.calls <= calls + 1, "cancel takes effect within one model call"
        return ids_of(events)

    whole_rig = toy_rig()
    whole = run(whole_rig, 999)
    assert len(whole) == 14
    for calls in range(whole_rig.calls):
        rig = toy_rig()
        said = run(rig, calls)
        assert said == whole[: len(said)]
        next_prompt = [*PROMPT, *said, 0, 1]
        warm = rig.run(next_prompt, sampling=short, acceptor=rule, window=k, drafter=drafter)
        cold_rig = toy_rig()
        cold = cold_rig.run(next_prompt, sampling=short, acceptor=rule, window=k, drafter=drafter)
        assert tokens_of(finished(rig, warm, next_prompt)) == tokens_of(finished(cold_rig, cold, next_prompt))


@every_rule
def test_a_draft_model_that_fails_behind_a_look_up_ends_speculation_and_not_the_reply(
    rule: str, sampling: SamplingSettings
) -> None:
    failures = 0
    for call in range(8):
        draft = Failing(8, seed=3, noise=0.7)
        draft.fails_at, draft.error = call, RuntimeError("out of memory")
        rig = Rig(ToyModel(8, seed=3), draft)
        events = finished(
            rig, rig.run(PROMPT, sampling=sampling, acceptor=rule, drafter="model+ngram"), PROMPT
        )
        assert len(tokens_of(events)) == sampling.max_tokens
        failed = [place for place, event in enumerate(events) if isinstance(event, Notice)]
        failures += len(failed)
        for place in failed:
            assert all(not step.drafted for step in steps_of(events[place:]))
            assert end_of(events).draft_cached == 0
    assert failures >= 6


@every_drafter
@pytest.mark.parametrize("k", [2, 4, 16])
def test_context_full_at_every_position(k: int, drafter: str) -> None:
    for limit in range(len(PROMPT) + 1, len(PROMPT) + 20):
        rig = toy_rig(context_limit=limit)
        events = finished(rig, rig.run(PROMPT, window=k, drafter=drafter), PROMPT)
        assert len(tokens_of(events)) == limit - len(PROMPT) + 1
        assert end_of(events).reason is EndReason.CONTEXT_FULL


@pytest.mark.parametrize("k", [2, 4, 16])
def test_the_look_up_goes_on_where_the_drafts_context_is_full(k: int) -> None:
    for limit in range(len(PROMPT), len(PROMPT) + 24):
        rig = toy_rig(draft_context_limit=limit)
        events = finished(rig, rig.run(PROMPT, sampling=GREEDY, window=k, drafter="model+ngram"), PROMPT)
        assert not [event for event in events if isinstance(event, Notice)]
        assert rig.draft is not None
        assert rig.draft.length <= limit
        length, beyond = len(PROMPT), []
        for step in steps_of(events):
            beyond += [draft.source for at, draft in enumerate(step.drafted) if length + at > limit]
            length += len(step.tokens)
        assert set(beyond) == {"ngram"}


@every_drafter
def test_a_drafted_end_of_text_ends_the_proposal(drafter: str) -> None:
    ended = 0
    for seed in range(12):
        rig = toy_rig()
        sampling = replace(NEUTRAL, seed=seed)
        events = finished(rig, rig.run(PROMPT, sampling=sampling, window=9, drafter=drafter, eos=[4]), PROMPT)
        for step in steps_of(events):
            ids = [draft.id for draft in step.drafted]
            assert 4 not in ids[:-1]
            ended += 4 in ids
    assert ended > 0


@every_drafter
def test_a_consumer_may_leave_after_every_event(drafter: str) -> None:
    count = len(list(toy_rig().run(PROMPT, drafter=drafter).events()))
    for taken in range(count):
        rig = toy_rig()
        story = rig.run(PROMPT, drafter=drafter).events()
        seen = [next(story) for _ in range(taken)]
        story.close()  # type: ignore[attr-defined]  # an Iterator to callers; a generator in fact
        ids = [*PROMPT, *ids_of(seen)]
        check_caches(rig, ids, length=len(ids) - 1 if steps_of(seen) else None)


# -- both together ------------------------------------------------------------------------------------------------


def test_the_model_is_fed_what_was_looked_up_before_it_continues() -> None:
    """The toy's table shows its row for the whole prefix: a draft model that lacks ids would draw from another row."""
    rig = toy_rig(noise=0.7)
    assert rig.draft_model is not None
    seen = Counter[str]()
    for seed in range(20):
        events = finished(
            rig,
            rig.run(PROMPT, sampling=replace(NEUTRAL, seed=seed), window=8, drafter="model+ngram"),
            PROMPT,
        )
        context = list(PROMPT)
        for step in steps_of(events):
            ids = [draft.id for draft in step.drafted]
            for at, draft in enumerate(step.drafted):
                if draft.source != "model":
                    continue
                row = rig.draft_model.logits_after([*context, *ids[:at]]).softmax(-1)
                assert draft.draft_prob == pytest.approx(float(row[draft.id]), abs=1e-15)
                seen[step.drafted[at - 1].source if at else "first"] += 1
            context += [token.id for token in step.tokens]
    assert seen["ngram"] > 5, "the model continued behind a look-up"
    assert seen["model"] > 5


def test_windows_that_the_look_up_fills_cost_no_draft_pass() -> None:
    rig = toy_rig(noise=0.0)
    events = finished(rig, rig.run(PROMPT, sampling=GREEDY, window=4, drafter="model+ngram"), PROMPT)
    assert rig.draft_model is not None
    passes = len(rig.draft_model.calls)
    drafted = Counter(draft.source for step in steps_of(events) for draft in step.drafted)
    assert drafted["ngram"] > drafted["model"] > 0
    assert passes <= drafted["model"] + len(PROMPT)


def test_a_look_up_that_is_worse_than_the_draft_model_is_not_asked() -> None:
    """Draft equal to target: every looked-up token that differs from its choice is a loss."""
    rig = toy_rig(noise=0.0, sharpness=0.5)
    sampling = replace(NEUTRAL, max_tokens=300)
    events = finished(rig, rig.run(PROMPT, sampling=sampling, window=5, drafter="model+ngram"), PROMPT)
    late = [draft.source for step in steps_of(events)[40:] for draft in step.drafted]
    assert late.count("ngram") < 0.05 * len(late)


@pytest.mark.parametrize("drafter", ["none", "model"])
def test_without_a_drafter_the_target_answers_alone(drafter: str) -> None:
    rig = toy_rig() if drafter == "none" else Rig(ToyModel(8, seed=3), None)
    events = finished(rig, rig.run(PROMPT, drafter=drafter, window=9), PROMPT)
    assert {step.window for step in steps_of(events)} == {1}
    assert not [event for event in events if isinstance(event, Prefilled) and event.model == "draft"]
    reasons = {step.choice.reason for step in steps_of(events)[1:] if step.choice is not None}
    assert reasons == {"there is no drafter"}


def test_both_without_a_draft_model_is_the_look_up() -> None:
    rig = Rig(ToyModel(8, seed=3), None)
    events = finished(rig, rig.run(PROMPT, sampling=GREEDY, drafter="model+ngram"), PROMPT)
    assert {draft.source for step in steps_of(events) for draft in step.drafted} == {"ngram"}
