"""Where a text may be cut without tearing what a reader takes for one character (Unicode grapheme clusters).

Offsets are code points, as everywhere in the record; Qt's UTF-16 units stay inside this module and `paragraph`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from PySide6.QtCore import QTextBoundaryFinder


def is_basic(text: str) -> bool:
    """Whether code points and UTF-16 units of `text` count alike."""
    return text.isascii() or max(text, default="") <= "\uffff"


def utf16_offsets(text: str) -> list[int]:
    """The UTF-16 offset of every code point of `text`, its end included."""
    offsets = [0]
    for char in text:
        offsets.append(offsets[-1] + (2 if char > "\uffff" else 1))
    return offsets


class Boundaries:
    """Grapheme cluster boundaries of `text`, which must begin at one; 0 and its length are boundaries."""

    def __init__(self, text: str) -> None:
        self._size = len(text)
        # CR LF is the one ASCII cluster of two characters, and a drawn text holds no CR.
        self._cuts: Sequence[int] = range(self._size + 1) if text.isascii() else _cluster_cuts(text)

    def snap(self, offset: int) -> int:
        """The last boundary at or before `offset`."""
        offset = min(offset, self._size)
        return self._cuts[bisect_right(self._cuts, offset) - 1]

    @property
    def last_start(self) -> int:
        """Where the last cluster begins; everything up to it stays as it is when text is appended."""
        return self._cuts[-2] if len(self._cuts) > 1 else 0


def _cluster_cuts(text: str) -> list[int]:
    finder = QTextBoundaryFinder(QTextBoundaryFinder.BoundaryType.Grapheme, text)
    units = [0]
    while (position := finder.toNextBoundary()) >= 0:
        units.append(position)
    if is_basic(text):
        return units
    offsets = utf16_offsets(text)
    wanted = set(units)
    return [index for index, unit in enumerate(offsets) if unit in wanted]
