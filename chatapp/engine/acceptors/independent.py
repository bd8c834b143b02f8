"""Draws of rules whose draft and target choose with randomness of their own, one stream each."""

from __future__ import annotations

from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams


class IndependentDraws:
    """The part that `rejection` and `block` share; the position plays no part in it."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def draw_draft(self, row: Row, position: int) -> int:  # noqa: ARG002 - the contract's signature; no positional noise here
        return row.draw(self._streams.draft.random())

    def draw_target(self, row: Row, position: int) -> int:  # noqa: ARG002 - as above
        return row.draw(self._streams.target.random())
