"""Strangers' backends: asked in order, passed over with words when they fail, guarded when their models run."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.contracts import PartFailed
from chatapp.engine.registry import BackendChooser, discover
from chatapp.engine.registry.guards import GuardedModel
from tests.helpers.strangers import GOOD, changed, entry, raises

CHECKPOINT = Checkpoint(Path("models/odd"), {"architectures": ["OddModel"]})


@pytest.fixture
def built_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Stands for the built-in backend: what it was asked to load."""
    asked: list[tuple[str, str]] = []

    def load_model(checkpoint: Checkpoint, device: str, *, role: str, weights: str) -> ToyModel:
        asked.append((role, weights))
        return ToyModel(3, seed=1)

    def check_config(checkpoint: Checkpoint) -> None:
        asked.append(("check", checkpoint.name))

    monkeypatch.setattr("chatapp.engine.registry.loading.load_model", load_model)
    monkeypatch.setattr("chatapp.engine.registry.loading.check_config", check_config)
    return asked


def chooser(*entries: EntryPoint) -> BackendChooser:
    return BackendChooser(discover(entries), "cpu")


def test_a_stranger_that_claims_a_checkpoint_loads_it(built_in: list[tuple[str, str]]) -> None:
    backends = chooser(entry("chatapp.backends", "good", GOOD["chatapp.backends"]))
    backends.check(CHECKPOINT)
    model = backends.load(CHECKPOINT, role="draft", weights="int8")
    assert isinstance(model, GuardedModel)
    assert (model.backend, model.vocabulary) == ("good", 8)
    assert model.info == ToyModel(8, seed=9).info
    expected = ToyModel(8, seed=9).forward([1, 2], 0, 1)
    assert torch.equal(model.forward([1, 2], 0, 1), expected)
    assert model.traffic(1, 0) == 0
    assert built_in == []


def test_without_a_claim_the_built_in_backend_is_used(built_in: list[tuple[str, str]]) -> None:
    shy = changed(GOOD["chatapp.backends"], claims=lambda *_: False)
    backends = chooser(entry("chatapp.backends", "good", shy))
    backends.check(CHECKPOINT)
    assert backends.load(CHECKPOINT, role="target", weights="int8").vocabulary == 3
    assert built_in == [("check", "odd"), ("target", "int8")]


def test_the_higher_priority_is_asked_first() -> None:
    low = changed(GOOD["chatapp.backends"], name="low", priority=-1)
    high = changed(GOOD["chatapp.backends"], name="high", priority=2.5)
    entries = [entry("chatapp.backends", name, part) for name, part in (("low", low), ("high", high))]
    entries.append(entry("chatapp.backends", "good", GOOD["chatapp.backends"]))
    assert [one.name for one in chooser(*entries).registry.backends] == ["high", "good", "low"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"claims": raises}, "asking it about odd failed: OSError: no licence"),
        ({"load": raises}, "loading odd failed"),
        ({"load": lambda *_, **__: None}, "loading odd failed"),
        ({"load": lambda *_, **__: changed(ToyModel(8, seed=1), context_limit=0)}, "loading odd failed"),
    ],
)
def test_a_backend_that_fails_is_named_and_passed_over(
    change: dict[str, object], complaint: str, built_in: list[tuple[str, str]]
) -> None:
    backends = chooser(entry("chatapp.backends", "good", changed(GOOD["chatapp.backends"], **change)))
    for role in ("target", "draft"):
        assert backends.load(CHECKPOINT, role=role).vocabulary == 3
    assert len(built_in) == 2
    [(plugin, what)] = backends.registry.errors
    assert plugin == "stranger 1.0"
    assert complaint in what


@pytest.mark.parametrize(
    "forward", [raises, lambda *_: None, lambda *_: torch.zeros(8), lambda *_: torch.zeros(2, 8)]
)
def test_a_strangers_model_that_fails_is_a_model_that_failed(forward: Callable[..., object]) -> None:
    class Breaking(ToyModel):
        def __init__(self) -> None:
            super().__init__(8, seed=1)

        def forward(self, *arguments: Any) -> torch.Tensor:
            return forward(*arguments)  # type: ignore[return-value]  # on purpose

    model = GuardedModel("good", "stranger 1.0", Breaking())
    with pytest.raises(PartFailed, match=r"'good' of the plugin stranger 1.0"):
        model.forward([1], 0, 1)
