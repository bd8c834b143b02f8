"""The emulator in the library's place, fresh for every test, and a small pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.domain.ports import PairLocation
from chatapp.engine.backends import emulator
from tests.helpers import checkpoints


@pytest.fixture(autouse=True)
def emulated() -> Iterator[None]:
    with emulator.installed():
        yield


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> PairLocation:
    """Random Llamas of one vocabulary."""
    root = tmp_path_factory.mktemp("neuron-pair")
    config = checkpoints.llama_config(rope_theta=10_000.0)
    checkpoints.save(root / "target", config)
    checkpoints.save(
        root / "draft", checkpoints.llama_config(num_hidden_layers=1, rope_theta=10_000.0), seed=1
    )
    return PairLocation("small", root / "target", root / "draft")


@pytest.fixture(scope="session")
def target(small: PairLocation) -> Path:
    return small.target
