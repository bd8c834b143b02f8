"""Pairs on the emulated neuronx-distributed-inference: the emulator is in place for each test, on a fresh instance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.engine.backends.emulator.nxdi import installed
from tests.helpers import checkpoints


@pytest.fixture(autouse=True)
def emulator() -> Iterator[None]:
    with installed():
        yield


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp("nxdi") / "llama", checkpoints.llama_config())
