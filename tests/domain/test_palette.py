"""Colours can be read and told apart; marks can be told apart without them."""

from __future__ import annotations

import itertools
import math

import pytest

from chatapp.domain.palette import KIND_STYLES, Theme, Underline
from chatapp.domain.tokens import TokenKind

BACKGROUNDS = {
    Theme.LIGHT: ("#ffffff", "#f4f5f8"),
    Theme.DARK: ("#1a1d24", "#121419"),
}
"""What token text stands on, in the window and in the HTML export: cards and the ground between them."""
MIN_CONTRAST = 4.5
"""WCAG 2.1, success criterion 1.4.3 (AA, normal text)."""
MIN_DISTANCE = 25.0
"""CIE 1976 colour difference; about 2.3 can just be noticed side by side, words in a line need far more."""


def linear(colour: str) -> list[float]:
    """`#rrggbb` as linear sRGB. Source: IEC 61966-2-1."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(colour: str) -> tuple[float, float, float]:
    """CIE L*a*b* under D65."""
    red, green, blue = linear(colour)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (
        value ** (1 / 3) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29
        for value in (x, y, z)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def test_the_measures_themselves() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert lab("#ffffff") == pytest.approx((100, 0, 0), abs=0.02)
    assert lab("#ff0000") == pytest.approx((53.24, 80.09, 67.20), abs=0.05)


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("kind", TokenKind)
def test_text_can_be_read(kind: TokenKind, theme: Theme) -> None:
    colour = KIND_STYLES[kind].colour(theme)
    assert min(contrast(colour, background) for background in BACKGROUNDS[theme]) >= MIN_CONTRAST


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize(
    "pair", list(itertools.combinations(TokenKind, 2)), ids=lambda pair: f"{pair[0].value}-{pair[1].value}"
)
def test_classes_can_be_told_apart_by_colour(pair: tuple[TokenKind, TokenKind], theme: Theme) -> None:
    one, other = (lab(KIND_STYLES[kind].colour(theme)) for kind in pair)
    assert math.dist(one, other) >= MIN_DISTANCE


def test_classes_can_be_told_apart_without_colour() -> None:
    assert {style.underline for style in KIND_STYLES.values()} == set(Underline)
    assert len({style.label for style in KIND_STYLES.values()}) == len(TokenKind)


def test_every_class_has_a_style() -> None:
    assert set(KIND_STYLES) == set(TokenKind)
