"""The acceptors of one run by name."""

from __future__ import annotations

from collections.abc import Mapping

from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.contracts import Acceptor
from chatapp.engine.randomness import Streams
from chatapp.engine.registry.builtin import ACCEPTORS
from chatapp.engine.registry.parts import MakeAcceptor, Part, chosen


class RunAcceptors:
    """The rules of one run by name, each made once; at temperature 0 it is `greedy` whatever is asked."""

    def __init__(
        self, streams: Streams, *, greedy: bool, parts: Mapping[str, Part[MakeAcceptor]] = ACCEPTORS
    ) -> None:
        self._streams = streams
        self._greedy = greedy
        self._parts = parts
        self._made: dict[str, Acceptor] = {}
        self._current: Acceptor | None = None

    def __call__(self, name: str) -> Acceptor:
        """The rule for the next step. A name that is not known changes nothing, in mid-run. Raises `InvalidSetting` before."""
        if self._greedy:
            name = "greedy"
        if name not in self._made:
            if self._greedy:
                self._made[name] = GreedyAcceptor(self._streams)
            elif name in self._parts or self._current is None:
                self._made[name] = chosen(self._parts, "acceptor", name).make(self._streams)
            else:
                return self._current
        self._current = self._made[name]
        return self._current

    def current(self) -> Acceptor:
        """The rule of the step at hand."""
        assert self._current is not None
        return self._current
