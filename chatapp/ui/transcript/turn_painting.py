"""Draws one `TurnItem`: cards, highlights, text, footer, in that order. Decides nothing; must not know the mouse."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen

from chatapp.domain.record import TokenView
from chatapp.ui.transcript.stack import TextStack
from chatapp.ui.transcript.style import BUBBLE_RADIUS_PX, CARD_PAD_PX, TranscriptStyle
from chatapp.ui.transcript.turn import Card, Part, TurnItem
from chatapp.ui.transcript.wording import progress_label

CARET_PX = 7.0
DOTS = 3
FOOTER_SEPARATOR = "  ·  "


@dataclass(frozen=True, slots=True)
class Highlights:
    """What of a turn is marked: the hovered and the selected token, and selected text per part as `start`, `end`.

    `whole_step`: with the hovered token the step that made it.
    """

    hovered: TokenView | None = None
    selected: TokenView | None = None
    focused: bool = False
    texts: tuple[tuple[Part, int, int], ...] = ()
    pulse: int = 0
    whole_step: bool = True


class TurnPainter:
    """Draws turns in one style with one painter; `clip` is in the painter's px."""

    def __init__(self, painter: QPainter, style: TranscriptStyle, clip: QRectF) -> None:
        self._painter = painter
        self._style = style
        self._clip = clip

    def draw(self, item: TurnItem, origin: QPointF, marks: Highlights) -> None:
        """Draw `item` with its top left corner at `origin`."""
        self._draw_bubble(item, origin)
        reply = origin + item.reply_origin
        item.reply.draw_panels(self._painter, reply, self._clip.top(), self._clip.bottom())
        self._draw_highlights(item, origin, marks)
        self._draw_stack(item.prompt, origin + item.prompt_origin)
        self._draw_stack(item.reply, reply)
        self._draw_reply_state(item, reply, marks.pulse)
        for card in item.cards:
            self._draw_card(card, origin)
        self._draw_footer(item, origin)
        if marks.selected is not None:
            self._draw_outline(item, origin, marks.selected, marks.focused)

    def _draw_stack(self, stack: TextStack, origin: QPointF) -> None:
        self._painter.setPen(QColor(self._style.tokens.text))
        stack.draw(self._painter, origin, self._clip.top(), self._clip.bottom())

    def _draw_bubble(self, item: TurnItem, origin: QPointF) -> None:
        painter, tokens = self._painter, self._style.tokens
        box = item.bubble.translated(origin)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.accent_soft))
        painter.drawRoundedRect(box, BUBBLE_RADIUS_PX, BUBBLE_RADIUS_PX)
        item.prompt.draw_panels(painter, origin + item.prompt_origin, self._clip.top(), self._clip.bottom())
        if item.more_label:
            painter.setPen(QColor(tokens.accent))
            painter.setFont(self._style.small.font)
            more = item.more_box.translated(origin)
            painter.drawText(
                more, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, item.more_label
            )

    def _draw_highlights(self, item: TurnItem, origin: QPointF, marks: Highlights) -> None:
        painter, tokens = self._painter, self._style.tokens
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._style.veil(tokens.accent, 0.28))
        for part, start, end in marks.texts:
            stack, at = (
                (item.prompt, item.prompt_origin) if part is Part.PROMPT else (item.reply, item.reply_origin)
            )
            for box in stack.spans(start, end):
                painter.drawRect(box.translated(origin + at))
        if marks.hovered is None or marks.hovered.index >= item.record.token_count:
            return
        if marks.whole_step:
            painter.setPen(QPen(self._style.veil(tokens.muted, 0.45), 1))
            painter.setBrush(self._style.veil(tokens.muted, 0.07))
            for box in item.step_rects(marks.hovered):
                painter.drawRoundedRect(_around(box.translated(origin)), 4, 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._style.veil(self._style.colour(marks.hovered.kind), 0.2))
        for box in item.token_rects(marks.hovered, marks.hovered):
            painter.drawRoundedRect(_around(box.translated(origin)), 4, 4)

    def _draw_outline(self, item: TurnItem, origin: QPointF, view: TokenView, focused: bool) -> None:
        painter = self._painter
        painter.setPen(QPen(self._style.veil(self._style.tokens.focus, 1.0 if focused else 0.6), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for box in item.token_rects(view, view):
            painter.drawRoundedRect(_around(box.translated(origin)), 4, 4)

    def _draw_reply_state(self, item: TurnItem, reply: QPointF, pulse: int) -> None:
        """The caret of a reply that grows, the indicator of one that has not begun, the words for an empty one."""
        painter, style, record = self._painter, self._style, item.record
        line = QRectF(reply.x(), reply.y(), item.bubble.right(), style.body.pitch)
        if record.visible_chars:
            if item.running:
                end = item.reply.place_of(record.visible_chars).translated(reply)
                height = style.body.font.pixelSize() * 1.05
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(style.veil(style.tokens.accent, 0.55))
                top = end.top() + (end.height() - height) / 2
                painter.drawRoundedRect(QRectF(end.left() + 3, top, CARET_PX, height), 2, 2)
            return
        painter.setFont(style.small.font)
        painter.setPen(QColor(style.tokens.muted))
        align = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        if not item.running:
            painter.drawText(line, align, "The reply is empty.")
            return
        painter.drawText(line.adjusted(DOTS * 9 + 8, 0, 0, 0), align, progress_label(record))
        painter.setPen(Qt.PenStyle.NoPen)
        for dot in range(DOTS):
            painter.setBrush(style.veil(style.tokens.accent, 0.9 if dot == pulse % DOTS else 0.3))
            painter.drawEllipse(QPointF(line.left() + 4 + dot * 9, line.center().y()), 2.5, 2.5)

    def _draw_card(self, card: Card, origin: QPointF) -> None:
        painter, tokens = self._painter, self._style.tokens
        box = card.box.translated(origin)
        ground, edge = (
            (tokens.danger_soft, tokens.danger) if card.failed else (tokens.warning_soft, tokens.warning)
        )
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ground))
        painter.drawRoundedRect(box, 8, 8)
        painter.setBrush(QColor(edge))
        painter.drawRoundedRect(QRectF(box.left() + 6, box.top() + 7, 3, box.height() - 14), 1.5, 1.5)
        self._draw_stack(card.text, box.topLeft() + QPointF(CARD_PAD_PX + 6, 8))

    def _draw_footer(self, item: TurnItem, origin: QPointF) -> None:
        if item.footer.isEmpty():
            return
        painter, style = self._painter, self._style
        box = item.footer.translated(origin)
        metrics = QFontMetricsF(style.small.font)
        painter.setFont(style.small.font)
        if item.footer_badge:
            width = metrics.horizontalAdvance(item.footer_badge) + 18
            badge = QRectF(box.left(), box.top(), width, box.height())
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(style.tokens.warning_soft))
            painter.drawRoundedRect(badge, box.height() / 2, box.height() / 2)
            painter.setPen(QColor(style.tokens.warning))
            painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, item.footer_badge)
            box.setLeft(badge.right() + 10)
        painter.setPen(QColor(style.tokens.muted))
        parts = list(item.footer_parts)
        while len(parts) > 1 and metrics.horizontalAdvance(FOOTER_SEPARATOR.join(parts)) > box.width():
            parts.pop()  # the last ones matter least
        text = metrics.elidedText(FOOTER_SEPARATOR.join(parts), Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)


def _around(box: QRectF) -> QRectF:
    """The rounded box around a token's cell: tighter than the line, so that lines above and below stay apart."""
    trim = box.height() * 0.1
    return box.adjusted(-0.5, trim, 0.0, -trim + 1)
