"""A place for a database, and an open one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.store.sqlite_store import SqliteStore
from tests.helpers.stores import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with opened(path) as ready:
        yield ready
