"""The store: what went in comes out, whatever happens to the process, the disk and the file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings

from chatapp.domain.errors import StoreDamaged, StoreError, StoreFailed, StoreNewer
from chatapp.domain.events import EndReason, RunEnded, RunEvent, StepCommitted
from chatapp.domain.ports import StorePort
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.export.json_format import JsonExporter
from chatapp.store import sqlite_store
from chatapp.store.migrations import MIGRATIONS, migrate
from chatapp.store.opening import open_store
from chatapp.store.sqlite_store import SqliteStore
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words
from tests.helpers.strategies import conversations

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.sqlite"


def refuse(problem: StoreError) -> None:
    """For tests in which nothing may go wrong."""
    raise problem


def opened(path: Path, told: list[StoreError] | None = None) -> closing[SqliteStore]:
    return closing(SqliteStore(path, refuse if told is None else told.append))


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with opened(path) as ready:
        yield ready


def reopened(path: Path) -> Conversation | None:
    with opened(path) as store:
        return store.latest()


def keep(store: StorePort, value: Conversation, index: int, events: list[RunEvent], batch: int = 2) -> None:
    store.begin_turn(value, index)
    for start in range(0, len(events), batch):
        store.append(value, index, events[start : start + batch])


def chat(*scripts: RunScript) -> Conversation:
    """A conversation whose turns have begun and have no answer yet, as the window has it when it calls `begin_turn`."""
    return conversation(*(Turn(script.prompt, RunRecord()) for script in scripts))


def answered(value: Conversation, *scripts: RunScript) -> Conversation:
    return Conversation(value.id, value.title, value.created_at, [script.turn() for script in scripts])


STORY = scripted_run(words("The quick brown fox jumps over the lazy dog. " * 3), seed=3, prompt="A story")


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


def partial(events: list[RunEvent]) -> RunRecord:
    record = RunRecord()
    for event in events:
        record.apply(event)
    return record


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
from chatapp.store.opening import open_store
from chatapp.store.sqlite_store import SqliteStore
from tests.store.test_sqlite_store import STORY, chat, refuse
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


# --- damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "junk", [b"this is no database" * 100, b"\x00" * 4096, b"SQLite format 3\x00" + b"\xff" * 4080]
)
def test_a_damaged_file_is_set_aside_and_a_fresh_one_begun(path: Path, junk: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(junk)
    told: list[StoreError] = []
    with opened(path, told) as store:
        assert store.latest() is None
        (problem,) = told
        assert isinstance(problem, StoreDamaged)
        assert "conversations.sqlite.damaged-1" in problem.kept
        keep(store, chat(STORY), 0, STORY.events)
    assert path.with_name("conversations.sqlite.damaged-1").read_bytes() == junk
    assert reopened(path) == answered(chat(STORY), STORY)


def test_a_second_damaged_file_gets_the_next_number(path: Path) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        path.write_bytes(b"damage %d " % number * 50)
        SqliteStore(path, list[StoreError]().append).close()
        assert path.with_name(f"{path.name}.damaged-{number}").read_bytes().startswith(b"damage %d" % number)


def test_damage_in_the_middle_is_found_when_it_is_read(path: Path) -> None:
    with opened(path) as store:
        for index in range(8):
            keep(store, Conversation(f"c{index}", "x", "y", [Turn("p", RunRecord())]), 0, STORY.events)
    data = bytearray(path.read_bytes())
    page = 4096
    for start in range(page, len(data), page):
        data[start : start + 64] = b"\xa5" * 64
    path.write_bytes(bytes(data))
    told: list[StoreError] = []
    with opened(path, told) as store:
        assert store.latest() is None
        assert len(told) == 1
        keep(store, chat(STORY), 0, STORY.events)
    assert reopened(path) == answered(chat(STORY), STORY)


def test_a_damaged_batch_costs_only_what_stands_behind_it(path: Path) -> None:
    with opened(path) as store:
        keep(store, chat(STORY), 0, STORY.events, batch=1)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE batch SET events = '[{\"event\":' WHERE id = 7")
    told: list[StoreError] = []
    with opened(path, told) as store:
        back = store.latest()
    assert back is not None
    assert back.turns[0].record.steps == partial(STORY.events[:6]).steps
    assert back.turns[0].record.partial
    (problem,) = told
    assert "damaged from step 3" in problem.what


# --- versions -----------------------------------------------------------------------------------------------------------


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path, refuse).close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("INSERT INTO migration (name) VALUES ('9999-from-the-future')")
    before = path.read_bytes()
    with pytest.raises(StoreNewer) as caught:
        SqliteStore(path, refuse)
    assert "9999-from-the-future" in caught.value.what
    assert caught.value.kept
    assert caught.value.remedy
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_another_program_s_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match="another program"):
        SqliteStore(path, refuse)
    assert path.read_bytes() == before


def test_migrations_run_once_and_have_lasting_names(path: Path) -> None:
    for _ in range(2):
        SqliteStore(path, refuse).close()
    with closing(sqlite3.connect(path)) as raw:
        names = [name for (name,) in raw.execute("SELECT name FROM migration ORDER BY id")]
    assert names == [migration.name for migration in MIGRATIONS] == sorted(set(names))
    assert names[0] == "0001-conversations"


def test_a_migration_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatapp.store import migrations

    broken = migrations.Migration("0002-broken", ("CREATE TABLE half (a TEXT)", "CREATE NONSENSE"))
    monkeypatch.setattr(migrations, "MIGRATIONS", (broken,))
    with closing(sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)) as raw:
        done = migrations.applied(raw)
        with pytest.raises(sqlite3.OperationalError):
            migrate(raw, done)
        assert [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE name = 'half'")] == []
        assert migrations.applied(raw) == []


# --- disks and locks ----------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "a.sqlite", tmp_path):
        with pytest.raises(StoreFailed) as caught:
            SqliteStore(place, refuse)
        assert caught.value.remedy


def test_a_lock_is_told_once_and_nothing_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "BUSY_TIMEOUT_S", 0.0)
    value, told = chat(STORY), list[StoreError]()
    with opened(path, told) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.begin_turn(value, 0)
        store.append(value, 0, STORY.events[:2])
        (problem,) = told  # once, not at every verify step
        assert isinstance(problem, StoreFailed)
        assert "locked" in problem.what
        assert problem.kept
        assert problem.remedy
        other.execute("ROLLBACK")
        store.append(value, 0, STORY.events[2:4])
        other.execute("BEGIN IMMEDIATE")
        store.append(value, 0, STORY.events[4:6])
        assert len(told) == 2  # a new spell
        other.execute("ROLLBACK")
        store.append(value, 0, STORY.events[6:])
    assert reopened(path) == answered(value, STORY)


def test_what_could_not_be_written_is_told_again_on_close(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "BUSY_TIMEOUT_S", 0.0)
    told: list[StoreError] = []
    store = SqliteStore(path, told.append)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.begin_turn(chat(STORY), 0)
        store.close()
    assert len(told) == 2


def test_a_full_disk_does_not_end_the_reply(path: Path) -> None:
    told: list[StoreError] = []
    with opened(path, told) as store:
        store._connection.execute("PRAGMA max_page_count = 1")  # what SQLite calls full
        keep(store, chat(STORY), 0, STORY.events)
        assert len(told) == 1
        assert "full" in told[0].what
        store._connection.execute("PRAGMA max_page_count = 1000000")
    assert reopened(path) == answered(chat(STORY), STORY)


@pytest.mark.parametrize("place", ["a folder", "of a later version"])
def test_without_a_file_the_window_gets_a_store_that_keeps_nothing(path: Path, place: str) -> None:
    if place == "a folder":
        path.mkdir(parents=True)
    else:
        SqliteStore(path, refuse).close()
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("INSERT INTO migration (name) VALUES ('9999-from-the-future')")
    told: list[StoreError] = []
    store = open_store(path, told.append)
    keep(store, chat(STORY), 0, STORY.events)
    assert store.latest() is None
    store.close()
    assert len(told) == 1


def test_problems_go_to_the_log_when_nobody_listens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"damage" * 50)
    SqliteStore(path).close()
    assert "damaged-1" in caplog.text


def test_opening_gives_the_real_store_where_it_can(path: Path) -> None:
    store = open_store(path, refuse)
    keep(store, chat(STORY), 0, STORY.events)
    store.close()
    assert reopened(path) == answered(chat(STORY), STORY)


def test_the_log_is_emptied_after_a_reply_and_not_during_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "CHECKPOINT_BYTES", 0)
    with opened(path) as store:
        begun = path.stat().st_size
        keep(store, chat(STORY), 0, STORY.events[:-1], batch=1)
        assert path.stat().st_size == begun
        store.append(chat(STORY), 0, STORY.events[-1:])
        assert path.stat().st_size > begun


def test_it_is_what_the_window_asks_for(store: SqliteStore) -> None:
    port: StorePort = store
    assert port.latest() is None
