"""The built-in parts pass the suites for authors."""

from __future__ import annotations

import pytest

from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.registry import ACCEPTORS, DRAFTERS, POLICIES
from tests.helpers.conformance import (
    check_acceptor,
    check_backend,
    check_drafter,
    check_window,
)

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


@pytest.mark.parametrize("limit", [2, 30, 512])
def test_the_toy_conforms(limit: int) -> None:
    check_backend(lambda: ToyModel(8, seed=1, context_limit=limit))
