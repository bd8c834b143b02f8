"""Where every short run of ids of a growing sequence stands, and which id the past suggests next.

The index is a function of the sequence alone: appending costs a few dictionary entries per id, and a tail that was taken
back is forgotten before the next look. This module must not know distributions, acceptance or windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

SHORTEST, LONGEST = 2, 4
"""Runs that are indexed. One id alone is followed by anything; beyond four, longer matches are told apart by looking back."""
LOOKED_BACK = 12
"""How far a match is measured: behind it, longer says nothing more."""
CANDIDATES = 8
"""How many of the latest places of a run are compared."""


class Agreement(IntEnum):
    """What the compared places say about the next id."""

    MIXED = 0
    SOLE = 1
    UNANIMOUS = 2


@dataclass(frozen=True, slots=True)
class Guess:
    """`token` followed the longest match, `length` ids long, the last time that most of its places agreed."""

    token: int
    length: int
    agreement: Agreement


class NgramIndex:
    """Places behind every run of `SHORTEST` to `LONGEST` ids."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._certain = 0
        self._places: dict[tuple[int, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def rewind(self, length: int) -> None:
        """Ids from `length` on may be others when `follow` looks next."""
        self._certain = min(self._certain, length)

    def follow(self, ids: Sequence[int]) -> None:
        """Become the index of `ids`. Nothing in front of the last `rewind` is looked at again."""
        known = self._ids
        same = self._certain
        end = min(len(known), len(ids))
        while same < end and known[same] == ids[same]:
            same += 1
        while len(known) > same:
            self._forget_last()
        for place in range(same, len(ids)):
            known.append(ids[place])
            for size in range(SHORTEST, min(LONGEST, place) + 1):
                self._places.setdefault(tuple(known[place - size : place]), []).append(place)
        self._certain = len(ids)

    def _forget_last(self) -> None:
        place = len(self._ids) - 1
        for size in range(SHORTEST, min(LONGEST, place) + 1):
            run = tuple(self._ids[place - size : place])
            places = self._places[run]
            places.pop()
            if not places:
                del self._places[run]
        self._ids.pop()

    def guess(self, drafts: Sequence[int] = ()) -> Guess | None:
        """The id behind the indexed ids and then `drafts`, None where no run of the tail was seen before.

        Of the latest places of the longest indexed run, those with the longest match count; among them the id that most
        were followed by, the latest at a tie.
        """
        tail = [*self._ids[-LOOKED_BACK:], *drafts][-LOOKED_BACK:]
        for size in range(min(LONGEST, len(tail)), SHORTEST - 1, -1):
            places = self._places.get(tuple(tail[-size:]))
            if places is not None:
                return self._best(places[-CANDIDATES:], tail, size)
        return None

    def _best(self, places: Sequence[int], tail: Sequence[int], size: int) -> Guess:
        ids = self._ids
        if len(places) == 1:
            return Guess(ids[places[0]], self._matched(places[0], tail, size), Agreement.SOLE)
        lengths = [self._matched(place, tail, size) for place in places]
        longest = max(lengths)
        # The latest first: of equals, Counter names the one that it met first.
        votes = Counter(
            ids[place]
            for place, length in zip(reversed(places), reversed(lengths), strict=True)
            if length == longest
        )
        token = votes.most_common(1)[0][0]
        unanimous = all(ids[place] == token for place in places)
        return Guess(token, longest, Agreement.UNANIMOUS if unanimous else Agreement.MIXED)

    def _matched(self, place: int, tail: Sequence[int], size: int) -> int:
        """How many ids in front of `place` are those of the tail; `size` of them are known to be."""
        ids, most = self._ids, min(len(tail), place)
        while size < most and ids[place - size - 1] == tail[-size - 1]:
            size += 1
        return size
