"""Conformance suites for authors of own parts: each `check_…` takes a way to make the part and raises `Nonconforming`.

    check_acceptor(make)     make(Streams) → Acceptor
    check_drafter(make)      make(DraftingContext) → Drafter
    check_window(make)       make() → WindowPolicy
    check_backend(load)      load() → CausalModel

A suite needs no weights and takes seconds. Chance: where a check draws samples, a part that is right is called wrong with
probability `CHANCE` at most per check; seeds are fixed, so what passes keeps passing.
"""

from tests.helpers.conformance.acceptors import check_acceptor
from tests.helpers.conformance.backends import check_backend
from tests.helpers.conformance.common import CHANCE, Nonconforming
from tests.helpers.conformance.drafters import check_drafter
from tests.helpers.conformance.windows import check_window

__all__ = [
    "CHANCE",
    "Nonconforming",
    "check_acceptor",
    "check_backend",
    "check_drafter",
    "check_window",
]
