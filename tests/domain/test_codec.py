"""Domain values as dicts and back: the identity for all valid records, a refusal with its place for all others."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.codec import (
    conversation_from_dict,
    conversation_to_dict,
    event_from_dict,
    event_to_dict,
    record_events,
    record_from_dict,
    record_to_dict,
)
from chatapp.domain.errors import DamagedRecord
from chatapp.domain.events import Notice, RunEvent, StepCommitted
from chatapp.domain.record import Conversation, RunRecord, Turn
from tests.helpers.first_version import without_additions
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words
from tests.helpers.strategies import conversations, event_sequences, records


def through_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False).encode())


@given(records())
def test_record_to_dict_and_back_is_the_identity(record: RunRecord) -> None:
    back = record_from_dict(through_json(record_to_dict(record)))
    assert back == record
    assert back.text == record.text
    assert list(back.tokens()) == list(record.tokens())


@given(conversations)
def test_conversation_to_dict_and_back_is_the_identity(value: Conversation) -> None:
    assert conversation_from_dict(through_json(conversation_to_dict(value))) == value


@given(event_sequences())
def test_event_to_dict_and_back_is_the_identity(events: list[RunEvent]) -> None:
    assert [event_from_dict(through_json(event_to_dict(event))) for event in events] == events


@given(records())
def test_the_events_of_a_record_fold_to_it_again(record: RunRecord) -> None:
    again = RunRecord()
    for event in record_events(record):
        again.apply(event)
    assert again == record


# --- values that JSON lacks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_numbers_that_are_not_finite_travel_as_words(value: float, written: str) -> None:
    step = RunScript().first("a").record().steps[0]
    broken = replace(step, tokens=(replace(step.tokens[0], target_prob=value, draft_prob=value),))
    encoded = through_json(event_to_dict(broken))
    assert encoded["tokens"][0]["target_prob"] == encoded["tokens"][0]["draft_prob"] == written
    back = event_from_dict(encoded)
    assert isinstance(back, StepCommitted)
    assert repr(back.tokens[0].target_prob) == repr(value)


def test_whole_numbers_in_a_float_s_place_are_written_as_they_come_back() -> None:
    step = RunScript().first("a").record().steps[0]
    whole = event_to_dict(replace(step, tokens=(replace(step.tokens[0], target_prob=1),)))
    assert json.dumps(whole) == json.dumps(event_to_dict(event_from_dict(whole)))


@given(st.text(st.characters(categories=["Cs", "Lu", "So"]), max_size=8))
def test_lone_surrogates_become_replacement_characters_one_for_one(text: str) -> None:
    encoded = event_to_dict(Notice("code", text, 0))["message"]
    encoded.encode()
    assert len(encoded) == len(text)
    assert all(
        after == ("\ufffd" if "\ud800" <= before <= "\udfff" else before)
        for before, after in zip(text, encoded, strict=True)
    )


def test_surrogates_everywhere_still_give_utf_8() -> None:
    value = conversation(
        Turn("\ud83d", RunScript("a \udc00", system="\ud800").first("\udfff").end().record())
    )
    value.title = "\ud83d\ude00"
    json.dumps(conversation_to_dict(value), ensure_ascii=False).encode()


def test_a_surrogate_in_a_file_is_refused() -> None:
    with pytest.raises(DamagedRecord) as caught:
        event_from_dict({"event": "notice", "code": "a", "message": "\ud800", "at_ns": 0})
    assert caught.value.path == "message"


# --- strictness ---------------------------------------------------------------------------------------------------------


def demo() -> Any:
    return through_json(conversation_to_dict(demo_conversation()))


def places(value: object, path: str = "") -> Iterator[tuple[str, Any, str | int]]:
    """Every (path, container, key) of a document; of a list the first item stands for all."""
    if isinstance(value, dict):
        for key, child in value.items():
            place = f"{path}.{key}" if path else key
            yield place, value, key
            yield from places(child, place)
    elif isinstance(value, list) and value:
        yield f"{path}[0]", value, 0
        yield from places(value[0], f"{path}[0]")


ADDED = {
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "policy",
    "runs_on",
    "bandwidth",
    "source",
    "choice",
    "draft_bytes",
    "verify_bytes",
}
"""Fields that came within schema version 1: documents written before them must still open."""


def added(place: str) -> bool:
    parent, _, key = place.rpartition(".")
    in_step, in_start = parent.endswith("steps[0]"), parent.endswith("started")
    return key in ADDED or (in_step and key in ("acceptor", "lossless")) or (in_start and key == "drafter")


KEYS = [path for path, container, _ in places(demo()) if isinstance(container, dict) and not added(path)]
ALL = [path for path, _, _ in places(demo())]
NULLABLE = (
    ".choice",
    ".draft",
    ".started",
    ".progress",
    ".ended",
    ".draft_prob",
    ".draw",
    "drafted[0].target_prob",
)


def at(document: Any, wanted: str) -> tuple[Any, Any]:
    return next((container, key) for path, container, key in places(document) if path == wanted)


def test_the_places_cover_the_document() -> None:
    assert len(KEYS) > 60
    assert "turns[0].run.started.request.sampling.top_p" in KEYS
    assert "turns[0].run.steps[0].tokens[0].kind" in KEYS


@pytest.mark.parametrize("path", KEYS)
def test_a_missing_key_is_refused_with_its_place(path: str) -> None:
    document = demo()
    container, key = at(document, path)
    del container[key]
    with pytest.raises(DamagedRecord) as caught:
        conversation_from_dict(document)
    assert caught.value.path == path
    assert "missing" in caught.value.what


@pytest.mark.parametrize("path", ALL)
def test_a_wrong_type_is_refused_with_its_place(path: str) -> None:
    container, key = at(demo(), path)
    right = container[key]
    wrongs: tuple[object, ...] = (None, True, "", 1.5, [], {})
    for wrong in wrongs:
        if type(wrong) is type(right) or (path.endswith(NULLABLE) and None in (wrong, right)):
            continue
        document = demo()
        container, key = at(document, path)
        container[key] = wrong
        with pytest.raises(DamagedRecord) as caught:
            conversation_from_dict(document)
        assert caught.value.path == path, wrong


def test_a_document_of_the_first_version_opens_and_says_what_is_not_known() -> None:
    opened = conversation_from_dict(without_additions(demo()))
    now = demo_conversation()
    assert [turn.record.text for turn in opened.turns] == [turn.record.text for turn in now.turns]
    record = opened.turns[1].record
    assert record.started is not None
    assert (record.started.drafter, record.started.policy, record.started.request.policy) == ("", "", "fixed")
    assert record.started.environment.bandwidth == 0.0
    assert record.started.environment.target.runs_on == ""
    assert opened.turns[0].record.started is not None
    assert opened.turns[0].record.started.request.sampling.logit_bias == ()
    step = record.steps[1]
    assert (step.choice, step.acceptor, step.lossless, step.verify_bytes) == (None, "", True, 0)
    assert {draft.source for draft in step.drafted} == {""}
    assert list(record.window_changes()) == []


@pytest.mark.parametrize("path", [path for path, _, _ in places(demo()) if added(path)])
def test_each_added_field_may_be_missing_by_itself(path: str) -> None:
    document = demo()
    container, key = at(document, path)
    del container[key]
    assert len(conversation_from_dict(document).turns) == 2


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("choice", "adaptive"),
        ("choice.policy", None),
        ("choice.reason", 1),
        ("choice.estimates", {}),
        ("choice.estimates[0].name", 3),
        ("choice.estimates[0].value", "soon"),
    ],
)
def test_a_choice_is_read_as_strictly_as_the_rest(path: str, wrong: object) -> None:
    step = demo_conversation().turns[1].record.steps[6]
    encoded = through_json(event_to_dict(step))
    assert encoded["choice"]["policy"] == "adaptive"
    container, key = at(encoded, path)
    container[key] = wrong
    with pytest.raises(DamagedRecord) as caught:
        event_from_dict(encoded)
    assert caught.value.path == path


def test_keys_of_a_later_addition_are_ignored() -> None:
    document = demo()
    for container in [container for _, container, _ in list(places(document)) if isinstance(container, dict)]:
        container["added_later"] = {"any": ["thing"]}
    assert conversation_from_dict(document) == demo_conversation()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("turns[0].run.steps[0].window", 0),
        ("turns[0].run.steps[0].visible_chars", -1),
        ("turns[0].run.steps[0].ended_ns", -5),
        ("turns[0].run.steps[0].tokens[0].id", 2**63),
        ("turns[0].run.steps[0].tokens[0].kind", "magic"),
        ("turns[0].run.steps[0].tokens[0].target_prob", 10**400),
        ("turns[0].run.steps[0].tokens[0].target_prob", "nan"),
        ("turns[0].run.started.request.messages[0].role", "tool"),
        ("turns[0].run.ended.reason", "bored"),
    ],
)
def test_values_out_of_range_are_refused_with_their_place(path: str, value: object) -> None:
    document = demo()
    container, key = at(document, path)
    container[key] = value
    with pytest.raises(DamagedRecord) as caught:
        conversation_from_dict(document)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("turns[0].run.started.request.sampling.temperature", 7),
        ("turns[0].run.started.request.sampling.top_p", "NaN"),
        ("turns[0].run.started.request.window", 99),
        ("turns[0].run.started.request.messages", []),
    ],
)
def test_a_request_that_nobody_could_have_made_is_refused(path: str, value: object) -> None:
    document = demo()
    container, key = at(document, path)
    container[key] = value
    with pytest.raises(DamagedRecord) as caught:
        conversation_from_dict(document)
    assert caught.value.path == "turns[0].run.started.request"


def test_steps_out_of_order_are_refused() -> None:
    document = demo()
    del document["turns"][1]["run"]["steps"][1]
    with pytest.raises(DamagedRecord, match="out of order") as caught:
        conversation_from_dict(document)
    assert caught.value.path == "turns[1].run"


def test_a_clock_that_runs_backwards_is_refused() -> None:
    document = demo()
    document["turns"][0]["run"]["steps"][2].update(started_ns=0, ended_ns=0)
    with pytest.raises(DamagedRecord) as caught:
        conversation_from_dict(document)
    assert caught.value.path == "turns[0].run.steps[2].ended_ns"


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(DamagedRecord, match="no known event"):
        event_from_dict({"event": "coffee"})


@pytest.mark.parametrize("value", [None, [], "text", 3, True])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(DamagedRecord, match="must be an object"):
        conversation_from_dict(value)


def test_reading_changes_nothing_in_the_document() -> None:
    document = demo()
    before = copy.deepcopy(document)
    conversation_from_dict(document)
    assert document == before


def test_an_unfinished_run_stays_unfinished() -> None:
    record = scripted_run(words("one two three"), seed=1, ended=False).record()
    assert record_from_dict(through_json(record_to_dict(record))).running
