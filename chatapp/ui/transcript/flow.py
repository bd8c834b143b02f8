"""A record's text as blocks of runs: the document that the transcript draws, built piece by piece as events arrive.

A block is one line of the reply's source, a run the part of a token that lies in it. The result is a function of the
record alone: streaming and opening a saved record end in equal blocks (tested for arbitrary texts). Offsets called
`start` and `end` are characters of the record's text; `shown_*` are characters of `Block.shown`, which differs only by
marks (places where k changed) and by `↵`, drawn for a token that is nothing but line breaks.

A token's run is snapped to grapheme clusters: a cluster split between tokens belongs to the one that completes it.
This module must not know fonts, colours or pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from chatapp.domain.record import RunRecord, TokenView, WindowChange
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript.graphemes import Boundaries
from chatapp.ui.transcript.harmless import harmless

NO_TOKEN = -1
LINE_END_SIGN = "↵"
FENCE_CHARS = 6

_FENCE_OPENS = re.compile(r" {0,3}```")
_FENCE_CLOSES = re.compile(r" {0,3}```+[ \t]*$")


class Role(str, Enum):
    TEXT = "text"
    LINE_END = "line_end"
    """`↵`: stands for one line break of a token that shows nothing else."""
    MARK = "mark"
    """A place where k or the toggle changed; no part of the text."""


@dataclass(frozen=True, slots=True)
class Run:
    """Characters that look alike: `token` is an index into the record's tokens (for a mark: the token behind it)."""

    role: Role
    token: int
    kind: TokenKind | None
    start: int
    end: int
    shown_start: int
    shown_end: int


@dataclass(slots=True)
class Block:
    """One line of source text: `start`:`end`, its line break excluded. `fenced`: it begins inside a code fence.

    `opened_by` is the token whose line break began it.
    """

    start: int
    opened_by: int = NO_TOKEN
    fenced: bool = False
    shown: str = ""
    runs: list[Run] = field(default_factory=list)
    end: int = 0

    @property
    def is_code(self) -> bool:
        """Set in a monospace font: between code fences, or a fence itself."""
        return self.fenced or _FENCE_OPENS.match(self.shown) is not None

    @property
    def fenced_after(self) -> bool:
        line = "".join(
            self.shown[run.shown_start : run.shown_end] for run in self.runs if run.role is Role.TEXT
        )
        if self.fenced:
            return _FENCE_CLOSES.match(line) is None
        return _FENCE_OPENS.match(line) is not None

    def append(
        self, role: Role, token: int, kind: TokenKind | None, start: int, end: int, shown: str
    ) -> None:
        begin = len(self.shown)
        self.runs.append(Run(role, token, kind, start, end, begin, begin + len(shown)))
        self.shown += shown
        self.end = max(self.end, end if role is Role.TEXT else start)


def mark_text(change: WindowChange) -> str:
    """The label as it stands in a line: unbreakable, isolated from right-to-left neighbours, with room at its sides."""
    label = change.label.replace(" ", "\u00a0")
    return f"\u200b\u2066\u00a0\u00a0{label}\u00a0\u00a0\u2069\u200b"


def plain_blocks(text: str) -> list[Block]:
    """A text that no model wrote (a prompt, a notice), as blocks without token kinds."""
    blocks: list[Block] = []
    start = 0
    for line in text.split("\n"):
        block = Block(start, fenced=bool(blocks) and blocks[-1].fenced_after, end=start)
        if line:
            block.append(Role.TEXT, NO_TOKEN, None, start, start + len(line), harmless(line))
        blocks.append(block)
        start += len(line) + 1
    return blocks


@dataclass(frozen=True, slots=True)
class Change:
    """Blocks before `block` are as they were, and so are the first `unchanged` characters that it shows."""

    block: int
    unchanged: int


class ReplyFlow:
    """Blocks of one record; `update` reads what the record gained and says from where on something changed."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self._clear()

    def _clear(self) -> None:
        self.blocks: list[Block] = [Block(0)]
        self._visible = 0
        self._stable = 0
        self._next_token = 0
        self._changes: list[WindowChange] = []
        self._marks_placed = 0
        self._steps_read = 0
        self.closed = False

    def update(self) -> Change | None:
        """Bring the blocks up to the record. Returns where they may differ now, None if nowhere."""
        record = self.record
        closed = record.ended is not None
        if (
            record.visible_chars == self._visible
            and len(record.steps) == self._steps_read
            and closed == self.closed
        ):
            return None
        if record.visible_chars < self._visible:
            self._clear()
        self._changes.extend(record.window_changes(self._steps_read))
        self._steps_read = len(record.steps)
        self.closed = closed
        # The last token grows when the run ends, and the last cluster may grow with every step: begin before them.
        first = min(self._next_token, max(record.token_count - 1, 0))
        tokens = record.tokens(self._first_unsettled(first))
        self._roll_back(tokens[0].index if tokens else 0)
        change = Change(len(self.blocks) - 1, len(self.blocks[-1].shown))
        self._visible = record.visible_chars
        self._append(tokens)
        return change

    def _first_unsettled(self, hint: int) -> int:
        """Index of the first token that ends behind the last settled cluster boundary."""
        while hint > 0 and self.record.tokens(hint - 1)[0].end > self._stable:
            hint -= 1
        return hint

    def _roll_back(self, token: int) -> None:
        """Take back every run and block that token `token` or a later one put there."""
        while len(self.blocks) > 1 and self.blocks[-1].opened_by >= token:
            self._drop_runs(self.blocks.pop(), token)
        self._drop_runs(self.blocks[-1], token)

    def _drop_runs(self, block: Block, token: int) -> None:
        runs = block.runs
        while runs and runs[-1].token >= token:
            self._marks_placed -= runs.pop().role is Role.MARK
        block.shown = block.shown[: runs[-1].shown_end] if runs else ""
        block.end = next((run.end for run in reversed(runs) if run.role is Role.TEXT), block.start)

    def _append(self, tokens: Sequence[TokenView]) -> None:
        record, visible = self.record, self._visible
        base = start = self.blocks[-1].end  # always a cluster boundary: runs end at one
        tail = harmless(record.text[base:visible])
        cuts = Boundaries(tail)
        placed = tokens[0].index if tokens else 0
        for view in tokens:
            if view.start > visible or (view.start == visible and view.end > view.start):
                break
            end = base + cuts.snap(min(view.end, visible) - base)
            self._place_marks(view.step, view.index, start)
            self._append_token(view, start, end, tail[start - base : end - base])
            start = end
            placed = view.index
        self._place_marks(None, record.token_count, start)
        self._stable = base + cuts.last_start if tail else self._stable
        self._next_token = placed

    def _place_marks(self, step: int | None, token: int, offset: int) -> None:
        """Put the marks due before `step`; None: all that lie within the visible text."""
        while self._marks_placed < len(self._changes):
            change = self._changes[self._marks_placed]
            if change.offset > self._visible or (step is not None and change.step > step):
                return
            self.blocks[-1].append(Role.MARK, token, None, offset, offset, mark_text(change))
            self._marks_placed += 1

    def _append_token(self, view: TokenView, start: int, end: int, shown: str) -> None:
        lines = shown.split("\n")
        breaks_only = len(lines) > 1 and not any(lines)
        for number, line in enumerate(lines):
            if number:
                block = self.blocks[-1]
                if breaks_only and number == 1:
                    block.append(Role.LINE_END, view.index, view.kind, start, start + 1, LINE_END_SIGN)
                start += 1
                self.blocks.append(Block(start, view.index, block.fenced_after, end=start))
            if line:
                self.blocks[-1].append(Role.TEXT, view.index, view.kind, start, start + len(line), line)
                start += len(line)
        assert start == end
