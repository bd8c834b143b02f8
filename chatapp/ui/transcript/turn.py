"""One turn on screen: the prompt's card, the reply, its notices and its footer, stacked at one width.

A turn knows where its parts are and answers what lies under a point; `turn_painting` draws it. It must not know scrolling,
the mouse, or other turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QFontMetricsF

from chatapp.domain.record import RunRecord, TokenView, Turn
from chatapp.ui.transcript.flow import ReplyFlow, Role, plain_blocks
from chatapp.ui.transcript.stack import TextStack
from chatapp.ui.transcript.style import (
    BUBBLE_PAD_X_PX,
    BUBBLE_PAD_Y_PX,
    BUBBLE_SHARE,
    CARD_PAD_PX,
    PART_GAP_PX,
    TURN_GAP_PX,
    TranscriptStyle,
)
from chatapp.ui.transcript.wording import cut_label, reply_summary

PROMPT_CHARS = 1000
PROMPT_LINES = 16
EXPANDED_CHARS = 200_000
SMALL_GAP_PX = 8
CARET_ROOM_PX = 12
"""From where the text ends to behind the caret that is drawn there."""


class Part(IntEnum):
    """The selectable texts of a turn, in reading order."""

    PROMPT = 0
    REPLY = 1


@dataclass(frozen=True, slots=True)
class Card:
    """A boxed message below the reply: a notice, or the error that ended it."""

    box: QRectF
    text: TextStack
    failed: bool


class TurnItem:
    """One turn laid out; `live` while its record may still grow. Coordinates are px from the turn's top left corner; x spans the text column."""

    def __init__(self, turn: Turn, *, live: bool = False) -> None:
        self.turn = turn
        self.live = live
        self.flow = ReplyFlow(turn.record)
        self.prompt = TextStack()
        self.reply = TextStack()
        self.cards: list[Card] = []
        self.expanded = False
        self.height = 0.0
        self.bubble = QRectF()
        self.reply_top = 0.0
        self.more_box = QRectF()
        self.footer = QRectF()
        self.footer_badge = ""
        self.footer_parts: list[str] = []
        self._style: TranscriptStyle | None = None
        self._width = 0.0

    @property
    def record(self) -> RunRecord:
        return self.turn.record

    @property
    def running(self) -> bool:
        return self.live and self.record.ended is None

    @property
    def waiting(self) -> bool:
        """Nothing of the reply is there yet."""
        return self.running and not self.record.visible_chars

    @property
    def blank(self) -> bool:
        """No text is laid out yet: words that say so stand in its place."""
        return len(self.flow.blocks) == 1 and not self.flow.blocks[0].shown

    @property
    def reply_bottom(self) -> float:
        return self.reply_top + self.reply.height

    @property
    def caret_box(self) -> QRectF:
        """Where the text ends: the caret of a growing reply stands within, as high as the line."""
        end = self.reply.place_of(self.record.visible_chars).translated(self.reply_origin)
        return end.adjusted(0.0, 0.0, CARET_ROOM_PX, 0.0)

    def is_laid_out(self, style: TranscriptStyle, width: float) -> bool:
        return self._style is style and self._width == width

    def estimate(self, style: TranscriptStyle, width: float) -> None:
        """Guess the height from the number of characters; good enough for a scroll bar, replaced when the turn is seen."""
        per_line = max(width / (style.body.font.pixelSize() * 0.53), 1.0)
        prompt = min(len(self.turn.prompt), PROMPT_CHARS) / (per_line * BUBBLE_SHARE) + 1
        reply = self.record.visible_chars / per_line + 1
        self.height = round((prompt + reply) * style.body.pitch) + TURN_GAP_PX + 3 * PART_GAP_PX

    def lay_out(self, style: TranscriptStyle, width: float) -> None:
        """Lay out everything; cheap when neither style nor width changed."""
        if self.is_laid_out(style, width):
            return
        self._style, self._width = style, width
        self.cards = []
        self.flow.update()
        self._lay_out_prompt(style)
        self.reply_top = self.bubble.bottom() + PART_GAP_PX
        self.reply.lay_out(self.flow.blocks, style, width)
        self._lay_out_foot(style)

    def refresh(self) -> QRectF | None:
        """Take in what the record gained. Returns a box around what may have changed in the first line that did, None if
        nothing did; below it everything may have, above it nothing. The caret is not counted."""
        if self._style is None:
            return QRectF()
        change = self.flow.update()
        height, cards = self.height, len(self.cards)
        if change is None and self.flow.blocks[0].shown:
            self._lay_out_foot(self._style)
            grown = (height, cards) != (self.height, len(self.cards))
            return QRectF(0.0, self.reply_bottom, self._width, 0.0) if grown else None
        box = QRectF(0.0, 0.0, self._width, self._style.body.pitch)
        if change is not None:
            box = self.reply.lay_out(
                self.flow.blocks, self._style, self._width, first=change.block, unchanged=change.unchanged
            )
        self._lay_out_foot(self._style)
        return box.translated(self.reply_origin)

    def toggle_prompt(self) -> None:
        """Show the whole prompt, or its beginning again."""
        self.expanded = not self.expanded
        self._style = None

    # --- layout -----------------------------------------------------------------------------------------------------

    @property
    def prompt_shown(self) -> int:
        """How many characters of the prompt are shown."""
        text = self.turn.prompt
        if self.expanded:
            return min(len(text), EXPANDED_CHARS)
        if len(text) <= PROMPT_CHARS * 1.2 and text.count("\n") < PROMPT_LINES * 1.5:
            return len(text)
        head = text[:PROMPT_CHARS].split("\n")
        return len("\n".join(head[:PROMPT_LINES]))

    @property
    def more_label(self) -> str:
        """The words of the link below a long prompt; empty when all is shown."""
        if self.expanded:
            return "Show less"
        total = len(self.turn.prompt)
        return f"Show all {total:,} characters" if self.prompt_shown < total else ""

    def _lay_out_prompt(self, style: TranscriptStyle) -> None:
        inner = round(self._width * BUBBLE_SHARE) - 2 * BUBBLE_PAD_X_PX
        self.prompt = TextStack()
        self.prompt.lay_out(plain_blocks(self.turn.prompt[: self.prompt_shown]), style, inner)
        text_width = inner if self.prompt.has_code else min(self.prompt.natural_width + 1, inner)
        text_height = self.prompt.height
        label = self.more_label
        if label:
            metrics = QFontMetricsF(style.small.font)
            text_width = max(text_width, metrics.horizontalAdvance(label) + 2)
            text_height += style.small.pitch + 4
        width, height = round(text_width + 2 * BUBBLE_PAD_X_PX), round(text_height + 2 * BUBBLE_PAD_Y_PX)
        self.bubble = QRectF(self._width - width, TURN_GAP_PX / 2, width, height)
        self.more_box = QRectF()
        if label:
            bottom = self.bubble.bottom() - BUBBLE_PAD_Y_PX
            left = self.bubble.left() + BUBBLE_PAD_X_PX
            self.more_box = QRectF(left, bottom - style.small.pitch, text_width, style.small.pitch)

    def _lay_out_foot(self, style: TranscriptStyle) -> None:
        record = self.record
        shown = self.reply.height if self.flow.blocks[0].shown or len(self.flow.blocks) > 1 else 0.0
        bottom = self.reply_top + (shown or style.body.pitch)
        messages = [(notice.message, False) for notice in record.notices]
        label = cut_label(record, live=self.live)
        if label.startswith("failed"):
            messages.append((label[0].upper() + label[1:], True))
            label = ""
        if len(messages) != len(self.cards):
            self.cards = [self._card(text, failed, style) for text, failed in messages]
        for card in self.cards:
            bottom += SMALL_GAP_PX + 2
            card.box.moveTop(round(bottom))
            bottom += card.box.height()
        self.footer = QRectF()
        if not self.running:
            self.footer_badge, self.footer_parts = label, reply_summary(record)
            bottom += SMALL_GAP_PX
            self.footer = QRectF(0, round(bottom), self._width, style.small.pitch + 4)
            bottom = self.footer.bottom()
        self.height = round(bottom + TURN_GAP_PX / 2)

    def _card(self, text: str, failed: bool, style: TranscriptStyle) -> Card:
        stack = TextStack()
        stack.lay_out(plain_blocks(text), style, self._width - 2 * CARD_PAD_PX - 6, face=style.small)
        return Card(QRectF(0, 0, self._width, round(stack.height + 2 * SMALL_GAP_PX)), stack, failed)

    # --- where things are -------------------------------------------------------------------------------------------

    @property
    def prompt_origin(self) -> QPointF:
        return self.bubble.topLeft() + QPointF(BUBBLE_PAD_X_PX, BUBBLE_PAD_Y_PX)

    @property
    def reply_origin(self) -> QPointF:
        return QPointF(0, self.reply_top)

    def token_at(self, point: QPointF) -> TokenView | None:
        """The token drawn under a point."""
        at = point - self.reply_origin
        if not 0 <= at.y() < self.reply.height:
            return None
        cell = self.reply.cell_at(at.x(), at.y())
        return None if cell is None or cell.run.role is Role.MARK else self.record.tokens(cell.run.token)[0]

    def position_at(self, point: QPointF) -> tuple[Part, int]:
        """The text character nearest to a point."""
        if point.y() < self.bubble.bottom() + PART_GAP_PX / 2:
            at = point - self.prompt_origin
            if at.y() < 0:
                return Part.PROMPT, 0
            if at.y() >= self.prompt.height:
                return Part.PROMPT, len(self.turn.prompt)
            return Part.PROMPT, self.prompt.source_at(at.x(), at.y())
        at = point - self.reply_origin
        if at.y() >= self.reply.height:
            return Part.REPLY, self.record.visible_chars
        return Part.REPLY, self.reply.source_at(at.x(), max(at.y(), 0.0))

    def text_of(self, part: Part) -> str:
        return self.turn.prompt if part is Part.PROMPT else self.record.text

    def token_rects(self, first: TokenView, last: TokenView) -> Iterator[QRectF]:
        """Where the tokens `first` to `last` stand, one rectangle per line; a token without width has a narrow one."""
        found = False
        end = min(last.end, self.record.visible_chars)
        for box in self.reply.token_rects(min(first.start, end), end, first.index, last.index):
            found = True
            yield box.translated(self.reply_origin)
        if not found:
            place = self.reply.place_of(min(first.start, self.record.visible_chars))
            yield place.translated(self.reply_origin).adjusted(-2.0, 0.0, 2.0, 0.0)

    def step_rects(self, view: TokenView) -> Iterator[QRectF]:
        """Where the tokens of the verify step of `view` stand."""
        first = view.index - view.position
        count = len(self.record.steps[view.step].tokens)
        tokens = self.record.tokens(first)[:count]
        return self.token_rects(tokens[0], tokens[-1])
