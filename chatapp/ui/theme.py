"""Design tokens of the window: colours per theme, spacing, radii and the type scale.

One `Tokens` value per theme; the style sheet, the palette and every own painted widget read from it, so that a colour
is written once. The token classes' colours are not here: those belong to `domain.palette`, since the HTML export
shares them. This module must not know any widget of the window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontInfo, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from chatapp.domain.palette import Theme

SPACE_1_PX = 4
SPACE_2_PX = 8
SPACE_3_PX = 12
SPACE_4_PX = 16
SPACE_6_PX = 24
RADIUS_SMALL_PX = 6
RADIUS_PX = 10
RADIUS_LARGE_PX = 14
CONTROL_HEIGHT_PX = 32


class ThemeChoice(str, Enum):
    """What a person picks; `SYSTEM` follows the desktop's colour scheme, live."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Colours as `#rrggbb`. `window` lies behind everything, `surface` is a card, `sunken` a field inside a card."""

    theme: Theme
    window: str
    surface: str
    sunken: str
    hover: str
    border: str
    border_strong: str
    text: str
    muted: str
    disabled: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    danger: str
    danger_soft: str
    warning: str
    warning_soft: str
    info: str
    info_soft: str
    focus: str


LIGHT = Tokens(
    theme=Theme.LIGHT,
    window="#f4f5f8",
    surface="#ffffff",
    sunken="#f1f3f6",
    hover="#e8ebf0",
    border="#e0e4ea",
    border_strong="#c3c9d4",
    text="#1b2028",
    muted="#596273",
    disabled="#9aa3b1",
    accent="#5546d8",
    accent_hover="#4538bd",
    accent_soft="#ebe9fc",
    on_accent="#ffffff",
    danger="#b42332",
    danger_soft="#fdecee",
    warning="#8a5800",
    warning_soft="#fdf3e0",
    info="#37506f",
    info_soft="#e9f0f8",
    focus="#7c70ea",
)

DARK = Tokens(
    theme=Theme.DARK,
    window="#121419",
    surface="#1a1d24",
    sunken="#22262f",
    hover="#2b303b",
    border="#2b303a",
    border_strong="#454c5a",
    text="#e7eaf0",
    muted="#9ba4b4",
    disabled="#667082",
    accent="#8d80ff",
    accent_hover="#a296ff",
    accent_soft="#2b2850",
    on_accent="#131126",
    danger="#ff8b95",
    danger_soft="#3a2026",
    warning="#f0c071",
    warning_soft="#352b1a",
    info="#a9c5e6",
    info_soft="#1f2a38",
    focus="#a296ff",
)


def tokens_of(theme: Theme) -> Tokens:
    return LIGHT if theme is Theme.LIGHT else DARK


def mixed(colour: str | QColor, ground: str, share: float) -> QColor:
    """`share` of `colour` over `ground`, opaque."""
    over, under, rest = QColor(colour), QColor(ground), 1.0 - share
    return QColor.fromRgbF(
        over.redF() * share + under.redF() * rest,
        over.greenF() * share + under.greenF() * rest,
        over.blueF() * share + under.blueF() * rest,
    )


@dataclass(frozen=True, slots=True)
class TypeScale:
    """Font sizes in device-independent px, grown from the desktop's own size so that large-type users keep it."""

    caption: int
    body: int
    chat: int
    title: int
    hero: int

    @classmethod
    def from_base(cls, base_px: int) -> TypeScale:
        return cls(caption=base_px - 1, body=base_px, chat=base_px + 1, title=base_px + 2, hero=base_px + 11)


def system_type_scale() -> TypeScale:
    size = QFontInfo(QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)).pixelSize()
    return TypeScale.from_base(min(max(size, 13), 22))


def number_font(size_px: int, *, bold: bool = False) -> QFont:
    """The interface font with digits of one width, so that changing numbers do not dance."""
    font = QFont(QApplication.font())
    font.setPixelSize(size_px)
    font.setFeature(QFont.Tag("tnum"), 1)
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font


def mono_font(size_px: int) -> QFont:
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPixelSize(size_px)
    return font


def make_palette(tokens: Tokens) -> QPalette:
    """The same colours for everything that the style sheet does not reach (text documents, native dialogs, placeholders)."""
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: tokens.window,
        QPalette.ColorRole.WindowText: tokens.text,
        QPalette.ColorRole.Base: tokens.surface,
        QPalette.ColorRole.AlternateBase: tokens.sunken,
        QPalette.ColorRole.Text: tokens.text,
        QPalette.ColorRole.Button: tokens.surface,
        QPalette.ColorRole.ButtonText: tokens.text,
        QPalette.ColorRole.ToolTipBase: tokens.surface,
        QPalette.ColorRole.ToolTipText: tokens.text,
        QPalette.ColorRole.PlaceholderText: tokens.muted,
        QPalette.ColorRole.Highlight: tokens.accent,
        QPalette.ColorRole.HighlightedText: tokens.on_accent,
        QPalette.ColorRole.Link: tokens.accent,
        QPalette.ColorRole.LinkVisited: tokens.accent,
        QPalette.ColorRole.Mid: tokens.border_strong,
        QPalette.ColorRole.Dark: tokens.border_strong,
        QPalette.ColorRole.Light: tokens.surface,
        QPalette.ColorRole.Accent: tokens.accent,
    }
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(tokens.disabled))
    return palette


def themed_children(root: QWidget) -> Iterator[ThemedWidget]:
    """Every own painted widget below `root`."""
    for child in root.findChildren(QWidget):
        if isinstance(child, ThemedWidget):
            yield child


class ThemedWidget:
    """Mixin of widgets that paint or tint by hand: `set_tokens` is called at every change of theme."""

    tokens: Tokens = LIGHT

    def set_tokens(self, tokens: Tokens) -> None:
        self.tokens = tokens
        if isinstance(self, QWidget):
            self.update()
