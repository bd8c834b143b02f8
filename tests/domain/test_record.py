"""The fold of events to a record, and every order that it must refuse."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.events import EndReason, RunEvent, StepCommitted
from chatapp.domain.record import RunRecord
from chatapp.domain.tokens import DraftOutcome, TokenKind
from tests.helpers.records import RunScript, byte_tokens, demo_conversation, scripted_run, words


def fold(events: list[RunEvent]) -> RunRecord:
    record = RunRecord()
    for event in events:
        record.apply(event)
    return record


def test_text_is_what_the_tokens_join_to() -> None:
    record = demo_conversation().turns[0].record
    assert record.text.startswith("Mira lived in an old lighthouse at the edge of the sea.")
    assert record.text == "".join(view.token.text for view in record.tokens())


@given(st.text(min_size=1, max_size=60), st.lists(st.integers(0, 240), max_size=30), st.integers(0, 2**16))
def test_spans_are_contiguous_in_order_and_cover_the_text(text: str, cuts: list[int], seed: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    pieces, tail = byte_tokens(text, cuts)
    record = scripted_run(pieces, seed=seed, tail=tail).record()
    end = 0
    for index, view in enumerate(record.tokens()):
        assert (view.index, view.start) == (index, end)
        end = view.end
    assert end == len(record.full_text)
    assert record.full_text == text


def test_token_at_every_offset_is_the_one_whose_span_holds_it() -> None:
    pieces, tail = byte_tokens("a 🌊 b\u0301c", range(1, 12))
    record = scripted_run(pieces, seed=3, tail=tail).record()
    for offset in range(len(record.text)):
        view = record.token_at(offset)
        assert view is not None
        assert view.start <= offset < view.end
    assert record.token_at(-1) is None
    assert record.token_at(len(record.text)) is None


def test_token_at_does_not_reach_behind_the_visible_end() -> None:
    record = RunScript(stop=("END",)).first("Hello").plain(" EN").plain("D").end().record()
    assert record.text == "Hello "
    assert record.full_text == "Hello END"
    assert record.token_at(5) is record.tokens()[1]
    assert record.token_at(6) is None


def test_held_back_text_is_not_shown_while_it_may_become_a_stop_string() -> None:
    script = RunScript(stop=("END",)).first("Hello").plain(" EN")
    assert script.record().text == "Hello "
    assert script.plain("J").record().text == "Hello ENJ"


def test_a_correction_knows_the_draft_that_it_replaced() -> None:
    record = RunScript(window=4).first("Once").verify([" upon"], " time", rejected=" day").end().record()
    views = record.tokens()
    assert [view.kind for view in views] == [TokenKind.TARGET, TokenKind.ACCEPTED, TokenKind.CORRECTION]
    assert [view.position for view in views] == [0, 0, 1]
    rejected = views[2].rejected
    assert rejected is not None
    assert (rejected.text, rejected.outcome) == (" day", DraftOutcome.REJECTED)
    assert views[0].rejected is None
    assert views[1].rejected is None


def test_tail_text_belongs_to_the_last_token() -> None:
    record = RunScript().first("a").plain("").end(tail="\ufffd").record()
    assert record.text == "a\ufffd"
    assert (record.tokens()[-1].start, record.tokens()[-1].end) == (1, 2)


def test_tail_text_without_any_token_is_nowhere() -> None:
    record = fold([*RunScript().events, *RunScript().end(tail="\ufffd", visible=0).events[1:]])
    assert record.full_text == ""


def test_window_changes_stand_before_the_first_token_of_their_step() -> None:
    script = RunScript(window=5).first("a").verify(["b"], "c", rejected="x")
    script.set_window(8).verify(["d"], "e", rejected="x")
    script.set_speculation(False).set_window(3).plain("f").set_window(4).plain("g")
    script.set_speculation(True).verify(["h"], "i", rejected="x")
    changes = list(script.end().record().window_changes())
    assert [(change.step, change.offset, change.label) for change in changes] == [
        (2, 3, "k 5 → 8"),
        (3, 5, "speculation off"),
        (5, 7, "speculation on, k 4"),
    ]


def test_a_change_of_policy_or_acceptor_is_marked_where_it_took_effect() -> None:
    script = RunScript(window=5).first("a").verify(["b"], "c", rejected="x")
    script.set_policy("adaptive").verify(["d"], "e", rejected="x")
    script.set_window(8).set_acceptor("typical", lossless=False).verify(["f"], "g", rejected="x")
    script.set_speculation(False).set_policy("fixed").plain("h").set_policy("adaptive").plain("i")
    script.set_speculation(True).verify(["j"], "k", rejected="x")
    script.set_policy("other").set_window(4).verify(["l"], "m", rejected="x")
    script.set_policy("fixed").set_acceptor("coupled").verify(["n"], "o", rejected="x")
    record = script.end().record()
    assert [(change.step, change.offset, change.label) for change in record.window_changes()] == [
        (2, 3, "auto on"),
        (3, 5, "k up to 8, acceptor typical (lossy)"),
        (4, 7, "speculation off"),
        (6, 9, "speculation on, k up to 8"),
        (7, 11, "policy other, k up to 4"),
        (8, 13, "auto off, k 4, acceptor coupled"),
    ]
    assert record.lossless is False


def test_a_policy_that_changed_before_the_first_verify_step_is_marked_there() -> None:
    script = RunScript(window=5).first("a").set_policy("adaptive").verify(["b"], "c", rejected="x")
    assert [change.label for change in script.end().record().window_changes()] == ["auto on"]
    from_the_start = RunScript(window=5, policy="adaptive").first("a").verify(["b"], "c", rejected="x")
    assert list(from_the_start.end().record().window_changes()) == []
    assert from_the_start.record().lossless is True


def test_a_run_is_lossy_where_a_lossy_rule_judged_a_draft() -> None:
    plain = RunScript(speculation=False).set_acceptor("typical", lossless=False).first("a").plain("b")
    assert plain.record().lossless is True  # nothing was drafted: every token is the target's own
    drafted = RunScript().first("a").set_acceptor("typical", lossless=False).verify(["b"], "c", rejected="d")
    assert drafted.record().lossless is False
    back = drafted.set_acceptor("rejection").verify(["e"], "f", rejected="g")
    assert back.record().lossless is False


@pytest.mark.parametrize("lossless", [True, False])
def test_steps_of_old_records_go_by_the_rule_of_the_run(lossless: bool) -> None:
    record = RunScript().first("a").verify(["b"], "c", rejected="d").end().record()
    assert record.started is not None
    record.started = replace(record.started, lossless=lossless)
    record.steps[1] = replace(record.steps[1], acceptor="", lossless=True)
    assert record.lossless is lossless


def test_running_and_partial() -> None:
    script = RunScript().first("a")
    assert RunRecord().running is False
    assert script.record().running is True
    assert script.record().partial is False
    whole = {EndReason.END_OF_TEXT, EndReason.STOP_STRING}
    for reason in EndReason:
        record = RunScript().first("a").end(reason).record()
        assert record.running is False
        assert record.partial is (reason not in whole)


def test_tokens_since_an_index_are_the_rest() -> None:
    record = scripted_run(words("one two three four five"), seed=1).record()
    assert list(record.tokens(3)) == list(record.tokens())[3:]
    assert record.token_count == len(record.tokens())


def test_folding_a_batch_at_a_time_equals_folding_at_once() -> None:
    script = scripted_run(words("one two three four five six"), seed=5)
    record = RunRecord()
    for event in script.events:
        record.apply(event)
        assert record.visible_chars <= len(record.full_text)
    assert record == script.record()
    assert record.text == script.record().text


# --- orders that are refused --------------------------------------------------------------------------------------------

WHOLE = scripted_run(words("one two three four"), seed=2).events
STEPS = [event for event in WHOLE if isinstance(event, StepCommitted)]


@pytest.mark.parametrize("event", WHOLE[1:], ids=lambda event: type(event).__name__)
def test_nothing_comes_before_the_start(event: RunEvent) -> None:
    with pytest.raises(ValueError, match="first event"):
        fold([event])


def test_a_run_starts_once() -> None:
    with pytest.raises(ValueError, match="started twice"):
        fold([WHOLE[0], WHOLE[0]])


@pytest.mark.parametrize("event", WHOLE, ids=lambda event: type(event).__name__)
def test_nothing_comes_behind_the_end(event: RunEvent) -> None:
    with pytest.raises(ValueError, match="after the end"):
        fold([*WHOLE, event])


def test_steps_come_without_gaps_and_once() -> None:
    with pytest.raises(ValueError, match="step 1 where 0 was due"):
        fold([WHOLE[0], STEPS[1]])
    with pytest.raises(ValueError, match="step 0 where 1 was due"):
        fold([WHOLE[0], STEPS[0], STEPS[0]])


def test_a_refused_event_leaves_the_record_as_it_was() -> None:
    record = fold([WHOLE[0], STEPS[0]])
    before = (record.text, record.token_count, len(record.steps))
    with pytest.raises(ValueError, match="step 0"):
        record.apply(STEPS[0])
    assert (record.text, record.token_count, len(record.steps)) == before


def test_side_events_may_stand_anywhere() -> None:
    dice = random.Random(0)
    script = RunScript().first("a").notice("x", "y").progress(1, 2).plain("b").end()
    inner = [event for event in script.events[1:-1] if not isinstance(event, StepCommitted)]
    steps = [event for event in script.events if isinstance(event, StepCommitted)]
    for _ in range(20):
        events: list[RunEvent] = list(steps)
        for event in inner:
            events.insert(dice.randint(0, len(events)), event)
        assert fold([script.events[0], *events, script.events[-1]]).text == "ab"
