"""The store in trouble: damaged files, other versions, full disks and locks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatapp.domain.errors import StoreDamaged, StoreError, StoreFailed, StoreNewer
from chatapp.domain.ports import StorePort
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.store import sqlite_store
from chatapp.store.migrations import MIGRATIONS, migrate
from chatapp.store.sqlite_store import SqliteStore
from tests.helpers.stores import STORY, answered, chat, keep, opened, partial, refuse, reopened

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


def test_problems_go_to_the_log_when_nobody_listens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"damage" * 50)
    SqliteStore(path).close()
    assert "damaged-1" in caplog.text


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
