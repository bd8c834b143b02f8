"""The four marks without their colours: a reader must tell them apart at both usual scales."""

from __future__ import annotations

import itertools

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage, QPainter

from chatapp.domain.palette import KIND_STYLES, Underline
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript.underlines import MarkPainter, underline_boxes

pytestmark = pytest.mark.usefixtures("qapp")

WIDTH_PX = 42
HEIGHT_PX = 8


def drawn(underline: Underline, scale: int) -> QImage:
    image = QImage(WIDTH_PX * scale, HEIGHT_PX * scale, QImage.Format.Format_Grayscale8)
    image.setDevicePixelRatio(scale)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    kind = next(kind for kind, style in KIND_STYLES.items() if style.underline is underline)
    MarkPainter(dict.fromkeys(TokenKind, QColor("black"))).draw_sample(painter, kind, 1.0, 41.0, 4.0)
    painter.end()
    return image


def ink(image: QImage) -> list[int]:
    """Darkness of every pixel, 0..255."""
    return [
        255 - image.pixelColor(x, y).lightness() for y in range(image.height()) for x in range(image.width())
    ]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(Underline, 2)))
def test_two_marks_differ_in_at_least_a_third_of_their_ink(
    one: Underline, other: Underline, scale: int
) -> None:
    left, right = ink(drawn(one, scale)), ink(drawn(other, scale))
    apart = sum(abs(a - b) for a, b in zip(left, right, strict=True))
    assert apart > min(sum(left), sum(right)) / 3


@pytest.mark.parametrize("scale", [1, 2])
def test_gaps_and_heights_are_what_the_names_say(scale: int) -> None:
    def columns(underline: Underline) -> list[bool]:
        image = drawn(underline, scale)
        dark = [
            max(255 - image.pixelColor(x, y).lightness() for y in range(image.height()))
            for x in range(image.width())
        ]
        return [value > 60 for value in dark[2 * scale : -3 * scale]]

    def dark_rows(underline: Underline) -> list[bool]:
        image = drawn(underline, scale)
        return [
            max(255 - image.pixelColor(x, y).lightness() for x in range(image.width())) > 60
            for y in range(image.height())
        ]

    def rows(underline: Underline) -> int:
        return sum(dark_rows(underline))

    def lines(underline: Underline) -> int:
        return runs(dark_rows(underline))

    def runs(values: list[bool]) -> int:
        return sum(1 for value, _group in itertools.groupby(values) if value)

    assert all(columns(Underline.SOLID))
    assert rows(Underline.WAVY) > rows(Underline.SOLID)
    assert all(columns(Underline.DOUBLE))
    assert lines(Underline.SOLID) == 1
    assert lines(Underline.DOUBLE) == 2
    assert runs(columns(Underline.DOTTED)) >= 6


@pytest.mark.parametrize("underline", list(Underline))
def test_a_token_one_character_wide_still_has_its_mark(underline: Underline) -> None:
    boxes = underline_boxes(underline, 10.0, 13.0)
    assert boxes
    assert all(box.width() >= 1.0 and box.left() >= 10.0 and box.right() <= 13.0 for box in boxes)
