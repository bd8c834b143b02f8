"""The built-in parts pass the suites for authors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.hf import TransformersModel
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.registry import ACCEPTORS, DRAFTERS, POLICIES
from chatapp.engine.registry.loading import TORCH
from tests.helpers.checkpoints import gpt2_config, save
from tests.helpers.conformance import (
    check_acceptor,
    check_backend,
    check_drafter,
    check_window,
)

PAIR = Path(__file__).resolve().parents[2] / "resources" / "pair"

pytestmark = pytest.mark.statistical


@pytest.mark.parametrize("name", ACCEPTORS)
def test_built_in_acceptors_conform(name: str) -> None:
    check_acceptor(ACCEPTORS[name].make, lossless=ACCEPTORS[name].lossless)


@pytest.mark.parametrize("name", [name for name in DRAFTERS if name != "none"])
def test_built_in_drafters_conform(name: str) -> None:
    check_drafter(DRAFTERS[name].make)


@pytest.mark.parametrize("name", POLICIES)
def test_built_in_policies_conform(name: str) -> None:
    check_window(POLICIES[name].make)


@pytest.mark.parametrize(
    ("side", "weights"), [("target", "auto"), ("target", "int8"), ("draft", "auto"), ("draft", "int8")]
)
def test_the_built_in_backend_conforms(side: Literal["target", "draft"], weights: str) -> None:
    model = TORCH.load(read_checkpoint(PAIR / side), "cpu", role=side, weights=weights)
    # Where rows are exact, they are the same bits whatever is asked for; a draft's need not be.
    check_backend(lambda: model, grain=0.0 if "rows exact" in model.info.runs_on else 1e-4)


def test_a_transformers_model_conforms(tmp_path: Path) -> None:
    save(tmp_path, gpt2_config())
    model = TORCH.load(read_checkpoint(tmp_path), "cpu", role="target", weights="auto")
    assert isinstance(model, TransformersModel)
    check_backend(lambda: model)


@pytest.mark.parametrize("limit", [2, 30, 512])
def test_the_toy_conforms(limit: int) -> None:
    check_backend(lambda: ToyModel(8, seed=1, context_limit=limit))
