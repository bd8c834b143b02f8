"""The JSON export: what its schema says, everything in it, and the same bytes after a round trip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from chatapp.domain.errors import ExportFailed
from chatapp.domain.metrics import run_metrics
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.export import json_format
from chatapp.export.json_format import JsonExporter, document
from chatapp.export.json_text import to_json
from chatapp.export.reading import parse_document
from chatapp.export.registry import builtin_exporters
from chatapp.resources import resource_path
from tests.helpers.first_version import without_additions
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words
from tests.helpers.strategies import conversations

SCHEMA: dict[str, Any] = json.loads(resource_path("schema", "conversation-1.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def samples() -> list[Conversation]:
    hostile = RunScript("\ud800\x00\u202e</script>", system="\udc00", stop=("END",)).first("x").plain(" END")
    return [
        demo_conversation(),
        conversation(),
        conversation(Turn("never started", RunRecord())),
        conversation(scripted_run(words("one two three four"), seed=4, ended=False).turn()),
        conversation(hostile.progress(3, 9).end().turn()),
    ]


@pytest.mark.parametrize("sample", samples(), ids=["demo", "empty", "never started", "running", "hostile"])
def test_every_export_is_what_the_schema_says(sample: Conversation) -> None:
    VALIDATOR.validate(json.loads(JsonExporter().render(sample)))


@given(conversations)
def test_every_valid_record_gives_a_valid_document(sample: Conversation) -> None:
    VALIDATOR.validate(json.loads(JsonExporter().render(sample)))


@given(conversations)
def test_export_open_export_gives_the_same_bytes(sample: Conversation) -> None:
    first = JsonExporter().render(sample).encode()
    opened = parse_document(first, "sample.json")
    assert JsonExporter().render(opened).encode() == first
    assert opened == sample


@pytest.mark.parametrize("sample", samples(), ids=["demo", "empty", "never started", "running", "hostile"])
def test_samples_give_the_same_bytes_too(sample: Conversation) -> None:
    first = JsonExporter().render(sample).encode()
    assert JsonExporter().render(parse_document(first, "sample.json")).encode() == first


ADDED = {
    "sampling": ["presence_penalty", "frequency_penalty", "logit_bias"],
    "request": ["policy"],
    "model": ["runs_on"],
    "environment": ["bandwidth"],
    "drafted_token": ["source"],
    "step": ["acceptor", "lossless", "draft_bytes", "verify_bytes", "choice"],
    "started": ["drafter", "policy"],
    "window_change": ["policy_before", "policy_after", "acceptor_before", "acceptor_after", "lossless_after"],
    "turn.properties.derived": ["traffic"],
    "metrics": ["provenance", "rehearsal"],
    "$": ["rehearsal"],
}
"""Fields that came within schema version 1: a file written before them is as valid as one with them."""


def test_a_file_of_the_first_version_is_still_valid_and_opens() -> None:
    written = without_additions(document(demo_conversation()))
    for turn in written["turns"]:
        del turn["derived"]["traffic"]
        turn["derived"]["window_changes"] = []
    VALIDATOR.validate(written)
    opened = parse_document(to_json(written).encode(), "old.json")
    assert opened.turns[0].record.text == demo_conversation().turns[0].record.text
    again = JsonExporter().render(opened)
    VALIDATOR.validate(json.loads(again))
    for exporter in builtin_exporters():
        assert exporter.render(opened)


def test_a_file_that_the_first_version_wrote_opens() -> None:
    """The file is a real one, written by that version's own code after two replies of the built-in pair."""
    content = (Path(__file__).parent / "first-version.json").read_bytes()
    VALIDATOR.validate(json.loads(content))
    opened = parse_document(content, "first-version.json")
    assert [turn.record.token_count for turn in opened.turns] == [24, 24]
    assert opened.turns[0].record.text.startswith("Press Ctrl+N for a new chat.")
    for turn in opened.turns:
        assert turn.record.started is not None
        assert (turn.record.started.drafter, turn.record.started.request.policy) == ("", "fixed")
        assert all(step.choice is None for step in turn.record.steps)
    for exporter in builtin_exporters():
        assert exporter.render(opened)


# --- the schema and the exporter must describe the same thing ----------------------------------------------------------


def objects(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, child in schema.items():
            yield from objects(child, f"{path}.{key}")
    elif isinstance(schema, list):
        for child in schema:
            yield from objects(child, path)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["properties"]["schema"]["const"] == json_format.SCHEMA
    assert SCHEMA["properties"]["schema_version"]["const"] == json_format.SCHEMA_VERSION


def test_every_field_is_described_and_required() -> None:
    found = dict(objects(SCHEMA))
    assert len(found) > 18
    for path, schema in found.items():
        assert schema["description"], path
        optional = [name for name in schema["properties"] if name not in schema["required"]]
        assert optional == ADDED.get(path.removeprefix("$.$defs."), []), path
        assert schema["required"] == [name for name in schema["properties"] if name not in optional], path
        for name, field in schema["properties"].items():
            assert len(field["description"]) > 4, f"{path}.{name}"


def test_durations_say_their_unit() -> None:
    for path, schema in objects(SCHEMA):
        for name, field in schema["properties"].items():
            if name.endswith("_ns"):
                assert "ns" in field["description"], f"{path}.{name}"
            if name.endswith("_s"):
                assert " s" in field["description"], f"{path}.{name}"


def test_nothing_is_written_that_the_schema_does_not_describe() -> None:
    closed = json.loads(json.dumps(SCHEMA))
    for _, schema in objects(closed):
        schema["additionalProperties"] = False
    for sample in samples():
        Draft202012Validator(closed).validate(json.loads(JsonExporter().render(sample)))


# --- content ------------------------------------------------------------------------------------------------------------


def test_rejected_and_untested_drafts_are_in_it() -> None:
    script = RunScript(window=5).first("Once").verify([" upon"], " time", rejected=" day").end()
    (step,) = document(conversation(script.turn()))["turns"][0]["run"]["steps"][1:]
    assert [(draft["text"], draft["outcome"]) for draft in step["drafted"]] == [
        (" upon", "accepted"),
        (" day", "rejected"),
        (" …", "untested"),
        (" …", "untested"),
    ]
    assert [token["kind"] for token in step["tokens"]] == ["accepted", "correction"]


def test_derived_numbers_are_those_of_the_metrics() -> None:
    sample = demo_conversation()
    derived = document(sample)["turns"][0]["derived"]
    metrics = run_metrics(sample.turns[0].record)
    assert derived["reply"] == sample.turns[0].record.text
    assert derived["metrics"]["tpot_s"] == metrics.tpot_s
    assert derived["metrics"]["tested_acceptance"] == metrics.tested_acceptance
    assert sum(derived["metrics"]["counts"].values()) == metrics.tokens
    assert [change["window_after"] for change in derived["window_changes"]] == [8, 8, 8]


def test_derived_numbers_are_not_believed() -> None:
    forged = document(demo_conversation())
    forged["derived"]["metrics"]["tpot_s"] = 0.001
    forged["turns"][0]["derived"] = {"reply": "something else"}
    opened = parse_document(to_json(forged).encode(), "forged.json")
    assert JsonExporter().render(opened) == JsonExporter().render(demo_conversation())


def test_a_token_is_a_line() -> None:
    sample = conversation(RunScript().first("a\nb").end().turn())
    lines = JsonExporter().render(sample).splitlines()
    assert any(line.strip().startswith('{"id"') and '"a\\nb"' in line for line in lines)


def test_text_is_readable_and_utf_8() -> None:
    sample = conversation(RunScript("Grüße 🌊").first("Здравствуй").end().turn())
    written = JsonExporter().render(sample)
    assert "Grüße 🌊" in written
    assert "Здравствуй" in written


def test_json_text_refuses_what_json_lacks() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})


@given(conversations)
def test_json_text_is_what_a_parser_reads(sample: Conversation) -> None:
    value = document(sample)
    assert json.loads(to_json(value)) == json.loads(json.dumps(value))


def test_a_conversation_too_large_to_be_opened_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_format, "MAX_DOCUMENT_BYTES", 1000)
    with pytest.raises(ExportFailed, match="larger than") as caught:
        JsonExporter().render(demo_conversation())
    assert "HTML" in caught.value.remedy
