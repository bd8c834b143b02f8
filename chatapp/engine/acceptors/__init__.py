"""Acceptance rules, one file each, and the table of them."""

from __future__ import annotations

from collections.abc import Callable

from chatapp.domain.errors import InvalidSetting
from chatapp.engine.acceptors.block import BlockAcceptor
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.contracts import Acceptor
from chatapp.engine.randomness import Streams

ACCEPTORS: dict[str, Callable[[Streams], Acceptor]] = {
    "rejection": RejectionAcceptor,
    "block": BlockAcceptor,
    "coupled": CoupledAcceptor,
    "greedy": GreedyAcceptor,
}

DESCRIPTIONS: tuple[tuple[str, bool, str], ...] = (
    (
        "rejection",
        True,
        "Keeps a draft with probability min(1, target / draft), else samples the residual.",
    ),
    (
        "block",
        True,
        "Judges the window as a whole: on average keeps no fewer tokens than rejection, more where k is large.",
    ),
    (
        "coupled",
        True,
        "Draft and target share their random noise: one seed gives one text, for every k and with speculation off.",
    ),
)
"""`(name, lossless, description)` of the rules a person can choose; `greedy` follows from temperature 0."""


def make_acceptor(name: str, greedy: bool, streams: Streams) -> Acceptor:
    """The rule for a run: `greedy` at temperature 0 whatever was asked. Raises `InvalidSetting` for an unknown name."""
    if greedy:
        return GreedyAcceptor(streams)
    if name not in ACCEPTORS or name == "greedy":
        known = ", ".join(sorted(set(ACCEPTORS) - {"greedy"}))
        raise InvalidSetting(
            "acceptor", f"There is no acceptor {name!r} for temperatures above 0; known are {known}."
        )
    return ACCEPTORS[name](streams)
