"""What is selected in a transcript: a stretch of text across turns, and one token. Pure bookkeeping, no pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from chatapp.domain.record import RunRecord, TokenView
from chatapp.ui.transcript.turn import Part, TurnItem

PART_SEPARATOR = "\n\n"
_WORDS = re.compile(r"\w+|[^\w\s]|\s+")


class Place(NamedTuple):
    """A character in the conversation; places compare in reading order."""

    turn: int
    part: Part
    offset: int


class TextSelection:
    """The stretch between `anchor` (where it began) and `head` (where it ends now); empty when they are equal."""

    def __init__(self) -> None:
        self.anchor: Place | None = None
        self.head: Place | None = None

    def clear(self) -> None:
        self.anchor = self.head = None

    def begin(self, place: Place) -> None:
        self.anchor = self.head = place

    @property
    def empty(self) -> bool:
        return self.anchor == self.head

    def set(self, start: Place, end: Place) -> None:
        self.anchor, self.head = start, end

    def select_word(self, place: Place, text: str) -> None:
        """Select the word, the sign or the space at `place` in its part's `text`."""
        for match in _WORDS.finditer(text, max(text.rfind("\n", 0, place.offset), 0)):
            if match.end() > place.offset:
                self.set(place._replace(offset=match.start()), place._replace(offset=match.end()))
                return

    def select_line(self, place: Place, text: str) -> None:
        start = text.rfind("\n", 0, place.offset) + 1
        end = text.find("\n", place.offset)
        self.set(place._replace(offset=start), place._replace(offset=len(text) if end < 0 else end))

    def ranges(self, turn: int, item: TurnItem) -> tuple[tuple[Part, int, int], ...]:
        """The selected stretch of each part of turn number `turn`, as `(part, start, end)`."""
        if self.anchor is None or self.head is None or self.empty:
            return ()
        low, high = min(self.anchor, self.head), max(self.anchor, self.head)
        found = []
        for part in Part:
            length = len(item.turn.prompt) if part is Part.PROMPT else item.record.visible_chars
            before, behind = Place(turn, part, 0), Place(turn, part, length)
            start, end = max(low, before), min(high, behind)
            if start < end:
                found.append((part, start.offset, end.offset))
        return tuple(found)

    def text(self, items: Sequence[TurnItem]) -> str:
        """The selected characters as the record has them; marks are no part of them."""
        parts = [
            item.text_of(part)[start:end]
            for turn, item in enumerate(items)
            for part, start, end in self.ranges(turn, item)
        ]
        return PART_SEPARATOR.join(parts)


def shown_tokens(record: RunRecord) -> int:
    """How many tokens a reader can walk to: all but those of a stop string or of text still held back."""
    count = record.token_count
    visible = record.visible_chars
    while count:
        view = record.tokens(count - 1)[0]
        if view.start < visible or view.start == view.end == visible:
            break
        count -= 1
    return count


class TokenCursor:
    """The selected token: a turn and a token of its reply."""

    def __init__(self) -> None:
        self.turn = -1
        self.token = -1

    @property
    def active(self) -> bool:
        return self.turn >= 0

    def clear(self) -> None:
        self.turn = self.token = -1

    def set(self, turn: int, token: int) -> None:
        self.turn, self.token = turn, token

    def view(self, items: Sequence[TurnItem]) -> TokenView | None:
        if not self.active:
            return None
        return items[self.turn].record.tokens(self.token)[0]

    def move(self, by: int, items: Sequence[TurnItem]) -> bool:
        """Go to the next (`by` 1) or previous (-1) token, into the neighbouring reply at an end. False: nowhere to go."""
        turn, token = self.turn, self.token + by
        if not self.active:
            turn, token = (len(items) - 1, shown_tokens(items[-1].record) - 1) if items else (-1, -1)
        while 0 <= turn < len(items):
            count = shown_tokens(items[turn].record)
            if 0 <= token < count:
                self.set(turn, token)
                return True
            turn += by
            token = 0 if by > 0 or not 0 <= turn < len(items) else shown_tokens(items[turn].record) - 1
        return False

    def move_to_end(self, last: bool, items: Sequence[TurnItem]) -> bool:
        """Go to the first or last token of the reply."""
        turn = self.turn if self.active else len(items) - 1
        count = shown_tokens(items[turn].record) if items else 0
        if count:
            self.set(turn, count - 1 if last else 0)
        return count > 0
