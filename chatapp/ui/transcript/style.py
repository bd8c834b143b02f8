"""Fonts, distances and colours of the transcript for one theme, as ready-made Qt values.

Colours of the token classes come from `domain.palette`, everything else from the window's design tokens. This module
must not know records or layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtGui import QColor, QFont, QFontMetricsF

from chatapp.domain.palette import KIND_STYLES, Theme
from chatapp.domain.tokens import TokenKind
from chatapp.ui.theme import Tokens, mixed, mono_font, tokens_of
from chatapp.ui.transcript.underlines import MarkPainter

COLUMN_PX = 780
MARGIN_PX = 28
NARROW_MARGIN_PX = 14
NARROW_PX = 520
TURN_GAP_PX = 28
PART_GAP_PX = 16
BUBBLE_PAD_X_PX = 16
BUBBLE_PAD_Y_PX = 10
BUBBLE_RADIUS_PX = 16
BUBBLE_SHARE = 0.82
CODE_PAD_X_PX = 14
CODE_PAD_Y_PX = 10
CODE_GAP_PX = 6
CODE_RADIUS_PX = 10
CARD_PAD_PX = 12
LINE_SPACING = 1.62
MARK_OPACITY = 0.8


@dataclass(frozen=True, slots=True)
class Face:
    """One font with the pitch of its lines: `pitch` px from line to line, `baseline` px from a line's top to its baseline."""

    font: QFont
    pitch: int
    baseline: int
    mark_font: QFont

    @classmethod
    def of(cls, font: QFont, marks: QFont, spacing: float = LINE_SPACING) -> Face:
        metrics = QFontMetricsF(font)
        pitch = round(font.pixelSize() * spacing)
        baseline = round((pitch - metrics.ascent() - metrics.descent()) / 2 + metrics.ascent()) - 1
        mark = QFont(marks)
        mark.setPixelSize(max(font.pixelSize() - 4, 9))
        mark.setWeight(QFont.Weight.Medium)
        return cls(font, pitch, baseline, mark)


@dataclass(frozen=True, slots=True)
class TranscriptStyle:
    """Everything that painting asks for; a change of theme, font or display mode makes a new one.

    `kinds` colours the text of a class, `marks` draws its underline. Without `translucent` no colour lets through what lies
    below it.
    """

    theme: Theme
    tokens: Tokens
    body: Face
    code: Face
    small: Face
    kinds: dict[TokenKind, QColor]
    marks: MarkPainter
    translucent: bool = True

    @classmethod
    def of(cls, theme: Theme, font: QFont, base_px: int, *, translucent: bool = True) -> TranscriptStyle:
        body = QFont(font)
        body.setPixelSize(base_px)
        small = QFont(font)
        small.setPixelSize(max(base_px - 3, 10))
        kinds = {kind: QColor(style.colour(theme)) for kind, style in KIND_STYLES.items()}
        tokens = tokens_of(theme)
        return cls(
            theme,
            tokens,
            Face.of(body, font),
            Face.of(mono_font(base_px - 1), font, 1.55),
            Face.of(small, font, 1.45),
            kinds,
            MarkPainter(
                {kind: veil(colour, MARK_OPACITY, tokens, translucent) for kind, colour in kinds.items()}
            ),
            translucent,
        )

    def colour(self, kind: TokenKind | None) -> QColor:
        return QColor(self.tokens.text) if kind is None else self.kinds[kind]

    def veil(self, colour: str | QColor, share: float) -> QColor:
        """`share` of a colour over what lies below it; where nothing may shine through, over the window's ground."""
        return veil(colour, share, self.tokens, self.translucent)


def veil(colour: str | QColor, share: float, tokens: Tokens, translucent: bool) -> QColor:
    return with_alpha(colour, share) if translucent else mixed(colour, tokens.window, share)


def with_alpha(colour: str | QColor, alpha: float) -> QColor:
    mixed = QColor(colour)
    mixed.setAlphaF(alpha)
    return mixed
