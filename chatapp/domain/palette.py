"""Colours and marks of the token classes: one table for the window and for the HTML export.

Every class has a colour for each theme and an underline style, so that colour is never the only channel. The text
colours keep a contrast of at least 4.5 : 1 against `background` of their theme (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chatapp.domain.tokens import TokenKind


class Theme(str, Enum):
    LIGHT = "light"
    DARK = "dark"


class Underline(str, Enum):
    """Underline styles; the values are CSS `text-decoration-style` words."""

    SOLID = "solid"
    WAVY = "wavy"
    DOUBLE = "double"
    DOTTED = "dotted"


@dataclass(frozen=True, slots=True)
class KindStyle:
    """How one class looks: `label` for the legend, `meaning` for its tooltip, `#rrggbb` per theme."""

    label: str
    meaning: str
    underline: Underline
    light: str
    dark: str

    def colour(self, theme: Theme) -> str:
        return self.light if theme is Theme.LIGHT else self.dark


KIND_STYLES: dict[TokenKind, KindStyle] = {
    TokenKind.ACCEPTED: KindStyle(
        "accepted",
        "proposed by the drafter (draft model or n-gram look-up), kept by the target",
        Underline.SOLID,
        "#1b7a3d",
        "#6fd08c",
    ),
    TokenKind.CORRECTION: KindStyle(
        "correction", "sampled by the target after it rejected a draft", Underline.WAVY, "#b6301c", "#ff8f7a"
    ),
    TokenKind.BONUS: KindStyle(
        "bonus",
        "sampled by the target after every draft of the window was accepted",
        Underline.DOUBLE,
        "#2a5fc4",
        "#8ab8ff",
    ),
    TokenKind.TARGET: KindStyle(
        "target",
        "from the target alone: first token, or speculation off",
        Underline.DOTTED,
        "#5b6270",
        "#b3bac6",
    ),
}
