"""The store: what went in comes out, whatever happens to the process, the disk and the file."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from chatapp.domain.events import EndReason, RunEnded, StepCommitted
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.export.json_format import JsonExporter
from chatapp.store.sqlite_store import SqliteStore
from tests.helpers.first_version import event_without_additions
from tests.helpers.records import RunScript, demo_conversation
from tests.helpers.stores import STORY, answered, chat, keep, opened, partial, reopened
from tests.helpers.strategies import conversations

REPOSITORY = Path(__file__).parents[2]


# --- in and out ---------------------------------------------------------------------------------------------------------


def test_nothing_is_there_at_first(store: SqliteStore) -> None:
    assert store.latest() is None


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_what_went_in_comes_out(path: Path, batch: int) -> None:
    with opened(path) as store:
        keep(store, chat(STORY), 0, STORY.events, batch)
        assert store.latest() == answered(chat(STORY), STORY)
    assert reopened(path) == answered(chat(STORY), STORY)


@settings(max_examples=25)
@given(conversations)
def test_any_conversation_comes_out_as_its_json_says(value: Conversation) -> None:
    value.turns = [
        turn for turn in value.turns if turn.record.started is None or turn.record.ended is not None
    ]
    if not value.turns:
        return
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "a.sqlite") as store:
        store.begin_turn(value, len(value.turns) - 1)
        back = store.latest()
    assert back is not None
    assert JsonExporter().render(back) == JsonExporter().render(value)


def test_a_chat_kept_by_the_first_version_comes_back(path: Path) -> None:
    with opened(path) as store:
        keep(store, chat(STORY), 0, STORY.events)
    with sqlite3.connect(path) as old:
        for row, batch in old.execute("SELECT id, events FROM batch").fetchall():
            events = [event_without_additions(event) for event in json.loads(batch)]
            old.execute("UPDATE batch SET events = ? WHERE id = ?", (json.dumps(events), row))
    old.close()
    back = reopened(path)
    assert back is not None
    record = back.turns[0].record
    assert record.text == STORY.record().text
    assert {step.choice for step in record.steps} == {None}
    assert record.ended == STORY.record().ended


def test_lone_surrogates_do_not_stop_it(path: Path) -> None:
    script = RunScript("\ud800").first("a\udfff").end()
    with opened(path) as store:
        keep(store, chat(script), 0, script.events)
    back = reopened(path)
    assert back is not None
    assert (back.turns[0].prompt, back.turns[0].record.text) == ("\ufffd", "a\ufffd")


def test_an_empty_batch_is_nothing(path: Path, store: SqliteStore) -> None:
    store.begin_turn(chat(STORY), 0)
    store.append(chat(STORY), 0, [])
    assert store.latest() == chat(STORY)


def test_the_latest_is_the_one_written_last(store: SqliteStore) -> None:
    old, new = chat(STORY), Conversation("another", "Another", "today", [Turn("x", RunRecord())])
    store.begin_turn(old, 0)
    store.begin_turn(new, 0)
    latest = store.latest()
    assert latest is not None
    assert latest.id == "another"
    store.begin_turn(old, 0)
    latest = store.latest()
    assert latest is not None
    assert latest.id == old.id


def test_a_second_turn_and_a_new_title(path: Path) -> None:
    second = RunScript("And then?").first("Then").plain(" nothing").end()
    value = chat(STORY, second)
    with opened(path) as store:
        keep(store, Conversation(value.id, "New chat", value.created_at, value.turns[:1]), 0, STORY.events)
        value.turns[0] = STORY.turn()
        keep(store, value, 1, second.events)
    assert reopened(path) == answered(value, STORY, second)


def test_turns_that_were_never_stored_are_written_with_the_next_one(path: Path) -> None:
    """A conversation that was opened from a file is continued: its first turns are not in the database yet."""
    value = demo_conversation()
    value.turns.append(Turn(STORY.prompt, RunRecord()))
    with opened(path) as store:
        keep(store, value, 2, STORY.events)
    turns = [*demo_conversation().turns, STORY.turn()]
    assert reopened(path) == Conversation(value.id, value.title, value.created_at, turns)


def test_a_turn_asked_again_replaces_itself_and_all_behind_it(path: Path) -> None:
    other = RunScript("Other").first("b").end()
    with opened(path) as store:
        keep(store, chat(STORY, STORY), 0, STORY.events)
        keep(store, chat(STORY, STORY), 1, STORY.events)
        keep(store, chat(other), 0, other.events)
    assert reopened(path) == answered(chat(other), other)


def test_a_turn_without_an_answer_keeps_its_prompt(path: Path) -> None:
    with opened(path) as store:
        store.begin_turn(chat(STORY), 0)
    assert reopened(path) == chat(STORY)


# --- death in mid-run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", range(1, len(STORY.events)))
def test_a_run_without_its_end_is_closed_at_its_last_step(path: Path, taken: int) -> None:
    with opened(path) as store:
        keep(store, chat(STORY), 0, STORY.events[:taken], batch=1)
    back = reopened(path)
    assert back is not None
    record, expected = back.turns[0].record, partial(STORY.events[:taken])
    last_ns = expected.steps[-1].ended_ns if expected.steps else 0
    expected.apply(RunEnded(EndReason.CANCELLED, last_ns, "", expected.visible_chars, 0, 0))
    assert record == expected
    assert record.partial
    assert reopened(path) == back


def test_a_begun_stop_string_stays_hidden(path: Path) -> None:
    script = RunScript(stop=("END",)).first("Hello").plain(" EN")
    with opened(path) as store:
        keep(store, chat(script), 0, script.events)
    back = reopened(path)
    assert back is not None
    assert back.turns[0].record.text == "Hello "


CHILD = """
import sys
from pathlib import Path
from chatapp.store.sqlite_store import SqliteStore
from tests.helpers.stores import STORY, chat, refuse
store = SqliteStore(Path(sys.argv[1]), refuse)
store.begin_turn(chat(STORY), 0)
for event in STORY.events[:int(sys.argv[2])]:
    store.append(chat(STORY), 0, [event])
print("written", flush=True)
sys.stdin.read()  # until killed
"""


def test_kill_in_mid_run_loses_nothing_that_was_handed_over(path: Path) -> None:
    taken = 9
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(taken)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    with opened(path) as store:
        back = store.latest()
        assert back is not None
        steps = [event for event in STORY.events[:taken] if isinstance(event, StepCommitted)]
        assert back.turns[0].record.steps == steps
        assert len(steps) > 3
        assert back.turns[0].record.ended is not None
        assert back.turns[0].record.ended.reason is EndReason.CANCELLED
        again = chat(STORY, STORY)
        again.turns[0] = back.turns[0]
        keep(store, again, 1, STORY.events)  # and the chat goes on
    assert reopened(path) == Conversation(
        again.id, again.title, again.created_at, [back.turns[0], STORY.turn()]
    )
