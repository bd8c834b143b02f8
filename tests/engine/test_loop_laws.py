"""Laws: what must hold after every step and on every way out of a run, wherever in the window it ends.

`checked_events` asserts the laws (cache contents and lengths, committed = accepted + 1 ≤ k, timings, one RunEnded); the
tests here bring a run to every end there is, and then see that the next run on the same caches equals a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import EndReason, Notice, Prefilled, PrefillProgress, RunEvent, RunStarted
from chatapp.domain.events import StepCommitted as Step
from chatapp.domain.request import MAX_WINDOW, SamplingSettings
from chatapp.domain.tokens import TokenKind
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.loop import SpeculativeRun
from tests.helpers.engine import (
    GREEDY,
    NEUTRAL,
    PROMPT,
    CancelAtCall,
    Failing,
    Rig,
    Schedule,
    check_caches,
    checked_events,
    end_of,
    finished,
    ids_of,
    letters,
    steps_of,
    tokens_of,
    toy_rig,
)

RULES = [("rejection", NEUTRAL), ("block", NEUTRAL), ("coupled", NEUTRAL), ("greedy", GREEDY)]
RULE_NAMES = st.sampled_from(RULES)
SCHEDULES = st.lists(st.tuples(st.integers(1, MAX_WINDOW), st.booleans()), min_size=1, max_size=12)


def essence(events: Sequence[RunEvent]) -> list[tuple[object, ...]]:
    """What a run committed and drafted, without its times and what it reused."""
    return [(step.tokens, step.drafted, step.window) for step in steps_of(events)]


def next_run_equals_a_fresh_one(rig: Rig, said: Sequence[int], noise: float = 0.7) -> None:
    """A second turn on the rig's caches against the same turn on cold ones, to the bit."""
    prompt = [*PROMPT, *said, 4, 5]
    sampling = replace(NEUTRAL, seed=99, max_tokens=20)
    warm = finished(rig, rig.run(prompt, sampling=sampling, window=4), prompt)
    cold_rig = toy_rig(noise=noise, context_limit=rig.target_model.context_limit)
    cold = finished(cold_rig, cold_rig.run(prompt, sampling=sampling, window=4), prompt)
    assert essence(warm) == essence(cold)
    assert end_of(warm).reason is end_of(cold).reason


# -- switches -----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    rule=RULE_NAMES, schedule=SCHEDULES, seed=st.integers(0, 2**32), noise=st.sampled_from([0.0, 0.5, 3.0])
)
def test_k_and_the_toggle_may_change_at_every_step(
    rule: tuple[str, SamplingSettings], schedule: list[tuple[int, bool]], seed: int, noise: float
) -> None:
    name, sampling = rule
    rig = toy_rig(noise=noise)
    events = finished(
        rig,
        rig.run(sampling=replace(sampling, seed=seed), acceptor=name, control=Schedule(schedule)),
    )
    assert len(tokens_of(events)) == sampling.max_tokens
    left = sampling.max_tokens
    for step in steps_of(events):
        asked, speculation = schedule[step.index % len(schedule)]
        assert (step.window_asked, step.speculation) == (asked, speculation)
        on = speculation and step.index > 0
        assert step.window == (min(asked, left) if on else 1)
        left -= len(step.tokens)


@settings(max_examples=60)
@given(schedule=SCHEDULES, seed=st.integers(0, 2**32), noise=st.sampled_from([0.0, 0.5, 3.0]))
@pytest.mark.parametrize(("rule", "sampling"), RULES[2:])
def test_coupled_and_greedy_give_one_text_for_every_schedule(
    rule: str, sampling: SamplingSettings, schedule: list[tuple[int, bool]], seed: int, noise: float
) -> None:
    seeded = replace(sampling, seed=seed)
    rig = toy_rig(noise=noise)
    scheduled = finished(rig, rig.run(sampling=seeded, acceptor=rule, control=Schedule(schedule)))
    alone = Rig(ToyModel(8, seed=3), None)
    plain = finished(alone, alone.run(sampling=seeded, acceptor=rule, speculation=False))
    assert ids_of(scheduled) == ids_of(plain)


@settings(max_examples=25)
@given(
    schedule=SCHEDULES,
    knobs=st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([0.3, 1.0, 1.7]),
            "top_k": st.sampled_from([0, 3]),
            "top_p": st.sampled_from([0.6, 1.0]),
            "min_p": st.sampled_from([0.0, 0.1]),
            "repetition_penalty": st.sampled_from([1.0, 3.0]),
        }
    ),
)
def test_coupled_gives_one_text_under_every_sampling_setting(
    schedule: list[tuple[int, bool]], knobs: dict[str, float]
) -> None:
    # The repetition penalty looks at the context: drafts count in it as they would without speculation.
    sampling = replace(NEUTRAL, **knobs)  # type: ignore[arg-type]  # mypy does not match the keys with their types
    rig, alone = toy_rig(vocabulary=40), toy_rig(vocabulary=40)
    scheduled = finished(rig, rig.run(sampling=sampling, acceptor="coupled", control=Schedule(schedule)))
    plain = finished(alone, alone.run(sampling=sampling, acceptor="coupled", speculation=False))
    assert ids_of(scheduled) == ids_of(plain)


def test_the_switches_are_read_once_per_step() -> None:
    rig = toy_rig()
    control = Schedule([(4, True)])
    events = finished(rig, rig.run(control=control))
    assert control.looks == len(steps_of(events))


def test_speculation_switched_on_late_reads_what_the_draft_missed() -> None:
    rig = toy_rig()
    control = Schedule([(4, False)] * 10 + [(4, True)] * 50)
    events = finished(rig, rig.run(control=control))
    drafts = [event for event in events if isinstance(event, Prefilled) and event.model == "draft"]
    # Ten plain steps behind a prompt of three: the draft reads all but the pending token, in one go.
    assert [(event.positions, event.reused) for event in drafts] == [(12, 0)]
    kinds = [token.kind for token in tokens_of(events)]
    assert set(kinds[:10]) == {TokenKind.TARGET}
    assert TokenKind.TARGET not in kinds[10:-1]


# -- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 5, 16])
@pytest.mark.parametrize(("rule", "sampling"), RULES)
def test_cancel_at_every_call(rule: str, sampling: SamplingSettings, k: int) -> None:
    prompt = [*PROMPT, 4, 4, 4, 4]  # two prefill calls
    short = replace(sampling, max_tokens=14)
    whole_rig = toy_rig()
    whole = finished(whole_rig, whole_rig.run(prompt, sampling=short, acceptor=rule, window=k), prompt)
    for calls in range(whole_rig.calls + 1):
        rig = toy_rig()
        control = CancelAtCall(k, lambda rig=rig: rig.calls, calls)  # type: ignore[misc]  # a default binds the loop's rig
        events = finished(
            rig, rig.run(prompt, sampling=short, acceptor=rule, window=k, control=control), prompt
        )
        said = ids_of(events)
        assert said == ids_of(whole)[: len(said)]
        if calls < whole_rig.calls:
            assert end_of(events).reason is EndReason.CANCELLED
            assert rig.calls <= calls + 1, "cancel takes effect within one model call"
        assert end_of(events).visible_chars == len(said)
        for event in events:
            if isinstance(event, Prefilled):
                assert event.reused == 0, "a catch-up that was broken off is not told as a whole one"
        next_run_equals_a_fresh_one(rig, said)


@pytest.mark.parametrize("k", [1, 2, 4, 16])
@pytest.mark.parametrize(("rule", "sampling"), RULES)
def test_end_of_text_at_every_position(rule: str, sampling: SamplingSettings, k: int) -> None:
    for noise in (0.0, 0.7):  # 0: the end stands among accepted drafts
        whole_rig = toy_rig(noise=noise, vocabulary=24)
        whole = ids_of(finished(whole_rig, whole_rig.run(sampling=sampling, acceptor=rule, window=k)))
        for position, token in enumerate(whole):
            if token in whole[:position]:
                continue
            rig = toy_rig(noise=noise, vocabulary=24)
            events = finished(rig, rig.run(sampling=sampling, acceptor=rule, window=k, eos=[token]))
            assert ids_of(events) == whole[: position + 1]
            assert end_of(events).reason is EndReason.END_OF_TEXT


@pytest.mark.parametrize("k", [1, 2, 4, 16])
@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize(("rule", "sampling"), RULES)
def test_stop_strings_at_every_position(rule: str, sampling: SamplingSettings, length: int, k: int) -> None:
    for noise in (0.0, 0.7):
        whole_rig = toy_rig(noise=noise)
        text = letters(ids_of(finished(whole_rig, whole_rig.run(sampling=sampling, acceptor=rule, window=k))))
        for at in range(0, len(text) - length, 3):
            stop = text[at : at + length]
            rig = toy_rig(noise=noise)
            stopping = replace(sampling, stop=(stop, "zz"))
            events = finished(rig, rig.run(sampling=stopping, acceptor=rule, window=k))
            shown = text[: text.index(stop)]
            assert end_of(events).reason is EndReason.STOP_STRING
            assert end_of(events).visible_chars == len(shown)
            assert letters(ids_of(events)) == shown + stop
            for step in steps_of(events):
                assert step.visible_chars <= len(shown)


def test_text_that_only_began_a_stop_string_is_shown_in_the_end() -> None:
    rig = toy_rig()
    text = letters(ids_of(finished(rig, rig.run(sampling=GREEDY))))
    held = toy_rig()
    events = finished(held, held.run(sampling=replace(GREEDY, stop=(text[-3:] + "!",))))
    assert steps_of(events)[-1].visible_chars == len(text) - 3
    assert end_of(events).visible_chars == len(text)


@pytest.mark.parametrize("k", [1, 2, 4, 16])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_max_tokens_at_every_position(noise: float, k: int) -> None:
    for limit in range(1, 20):
        rig = toy_rig(noise=noise)
        events = finished(rig, rig.run(sampling=replace(NEUTRAL, max_tokens=limit), window=k))
        assert len(tokens_of(events)) == limit
        assert end_of(events).reason is EndReason.MAX_TOKENS
        next_run_equals_a_fresh_one(rig, ids_of(events), noise)


@pytest.mark.parametrize("k", [1, 2, 4, 16])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_context_full_at_every_position(noise: float, k: int) -> None:
    for limit in range(len(PROMPT) + 1, len(PROMPT) + 20):
        rig = toy_rig(noise=noise, context_limit=limit)
        events = finished(rig, rig.run(window=k))
        # The last token needs no place: nothing is computed behind it.
        assert len(tokens_of(events)) == limit - len(PROMPT) + 1
        assert end_of(events).reason is EndReason.CONTEXT_FULL
        assert end_of(events).target_cached == limit
        cached = len(PROMPT)
        for step in steps_of(events)[1:]:
            assert step.window == min(k, limit - cached), "as wide as the room allows"
            cached += len(step.tokens)


@pytest.mark.parametrize("k", [2, 4, 16])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_a_draft_with_a_smaller_context_steps_aside(noise: float, k: int) -> None:
    for limit in range(2, 24):
        rig = toy_rig(noise=noise, draft_context_limit=limit)
        events = finished(rig, rig.run(window=k))
        notices = [event.code for event in events if isinstance(event, Notice)]
        assert notices == ["draft_context_full"]
        assert len(tokens_of(events)) == NEUTRAL.max_tokens
        assert rig.draft is not None
        assert rig.draft.length <= limit
        drafted = sum(len(step.drafted) for step in steps_of(events))
        assert (drafted > 0) == (limit > len(PROMPT))


@pytest.mark.parametrize("k", [1, 2, 4, 16])
def test_a_consumer_may_leave_after_every_event(k: int) -> None:
    prompt = [*PROMPT, 4, 4, 4, 4]
    count = len(list(toy_rig().run(prompt, window=k).events()))
    for taken in range(count):
        rig = toy_rig()
        story = rig.run(prompt, window=k).events()
        seen = [next(story) for _ in range(taken)]
        story.close()  # type: ignore[attr-defined]  # an Iterator to callers; a generator in fact
        ids = [*prompt, *ids_of(seen)]
        check_caches(rig, ids, length=len(ids) - 1 if steps_of(seen) else None)
        next_run_equals_a_fresh_one(rig, ids[len(PROMPT) :])


# -- failures -----------------------------------------------------------------------------------------------------

ERRORS = [
    RuntimeError("out of memory"),
    AttributeError("somebody's own code"),
    AssertionError("somebody's own check"),
    ValueError("bad value"),
    IndexError("index out of range"),
    KeyError("gone"),
    TypeError("wrong type"),
    ZeroDivisionError("zero"),
    OSError("disk"),
    MemoryError(),
    None,  # NaN instead of an exception
]


def failing_pair(side: str, call: int, error: Exception | None) -> Rig:
    target, draft = Failing(8, seed=3), Failing(8, seed=3, noise=0.7)
    failing = target if side == "target" else draft
    failing.fails_at, failing.error = call, error
    return Rig(target, draft)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(("rule", "sampling"), RULES)
def test_a_draft_that_fails_at_any_call_ends_speculation_and_not_the_reply(
    rule: str, sampling: SamplingSettings, error: Exception | None
) -> None:
    short = replace(sampling, max_tokens=16)
    for call in range(12):
        rig = failing_pair("draft", call, error)
        events = finished(rig, rig.run(sampling=short, acceptor=rule, window=4))
        assert len(tokens_of(events)) == short.max_tokens
        notices = [place for place, event in enumerate(events) if isinstance(event, Notice)]
        assert len(notices) <= 1
        assert rig.draft is not None
        if notices:
            notice = events[notices[0]]
            assert isinstance(notice, Notice)
            assert notice.code == "draft_failed"
            assert all(not step.drafted for step in steps_of(events[notices[0] :]))
            assert rig.draft.length == 0, "nothing of a failed model's cache is trusted"
            assert end_of(events).draft_cached == 0
        else:
            # The logits of the catch-up (call 0) are not looked at; a real model's next call would be NaN as well.
            assert call > 8 or (call == 0 and error is None)
        next_run_equals_a_fresh_one(rig, ids_of(events))


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(("rule", "sampling"), RULES)
def test_a_target_that_fails_at_any_call_ends_the_reply_once_and_keeps_it(
    rule: str, sampling: SamplingSettings, error: Exception | None
) -> None:
    short = replace(sampling, max_tokens=16)
    whole_rig = toy_rig()
    whole = ids_of(finished(whole_rig, whole_rig.run(sampling=short, acceptor=rule, window=4)))
    for call in range(5):
        rig = failing_pair("target", call, error)
        events = finished(rig, rig.run(sampling=short, acceptor=rule, window=4))
        assert end_of(events).reason is EndReason.FAILED
        assert "target" in end_of(events).error
        assert ids_of(events) == whole[: len(ids_of(events))]
        assert len(steps_of(events)) == call
        assert end_of(events).target_cached == 0, "nothing of a failed model's cache is trusted"
        next_run_equals_a_fresh_one(rig, ids_of(events))


# -- turns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 4, 16])
def test_the_second_turn_computes_only_what_is_new(k: int) -> None:
    rig = toy_rig()
    first = finished(rig, rig.run(window=k))
    prompt = [*PROMPT, *ids_of(first), 5, 6, 7]
    second = finished(rig, rig.run(prompt, window=k), prompt)
    target, *draft = [event for event in second if isinstance(event, Prefilled)]
    # The first turn's last token was pending: it is read now, with the three new ones.
    assert (target.model, target.positions, target.reused) == ("target", 4, len(prompt) - 4)
    if k > 1:
        assert [event.model for event in draft] == ["draft"]
        assert draft[0].positions + draft[0].reused == len(prompt)
        assert draft[0].positions <= 4 + 1 + 1
    next_run_equals_a_fresh_one(rig, [])


@pytest.mark.parametrize("changed", range(len(PROMPT) + 6))
def test_a_changed_conversation_is_computed_from_the_change_on(changed: int) -> None:
    rig = toy_rig()
    first = finished(rig, rig.run())
    prompt = [*PROMPT, *ids_of(first)]
    prompt[changed] = (prompt[changed] + 1) % 8
    second = finished(rig, rig.run(prompt), prompt)
    target = next(event for event in second if isinstance(event, Prefilled))
    assert target.reused == changed
    cold = toy_rig()
    assert essence(second) == essence(finished(cold, cold.run(prompt), prompt))


def test_the_same_prompt_again_computes_one_position() -> None:
    rig = toy_rig()
    first = finished(rig, rig.run())
    again = finished(rig, rig.run())
    target = next(event for event in again if isinstance(event, Prefilled))
    assert (target.positions, target.reused) == (1, len(PROMPT) - 1)
    assert essence(first) == essence(again)


def test_a_long_prompt_reports_progress() -> None:
    prompt = [token % 8 for token in range(11)]
    rig = toy_rig()
    events = finished(rig, rig.run(prompt), prompt)
    progress = [(event.done, event.total) for event in events if isinstance(event, PrefillProgress)]
    assert progress == [(4, 11), (8, 11), (11, 11)]
    order: list[Callable[..., object]] = [type(event) for event in events[:6]]
    assert order == [RunStarted, *[PrefillProgress] * 3, Prefilled, Step]


def test_the_toy_catches_a_loop_that_does_not_rewind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The laws above must be able to fail."""
    monkeypatch.setattr(SpeculativeRun, "_rewind", lambda self: None)
    rig = toy_rig(noise=3.0)
    with pytest.raises(AssertionError):
        finished(rig, rig.run())


def test_events_end_with_the_one_run_ended() -> None:
    rig = toy_rig()
    story = checked_events(rig, rig.run())
    assert isinstance(next(story), RunStarted)
    assert end_of(list(story)).reason is EndReason.MAX_TOKENS
