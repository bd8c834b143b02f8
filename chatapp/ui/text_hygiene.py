"""Text from outside made harmless: what is sent to the engine, and what is shown in labels.

Standard library only; this module must not know Qt.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_PAIRS = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile("\r\n?|\u2028|\u2029")


@dataclass(frozen=True, slots=True)
class CleanText:
    """`text` may be sent. The counts say what was changed (`replaced` lone surrogates became U+FFFD, `removed` control
    characters are gone); `direction_controls` are kept, since right-to-left writing needs them, and only reported."""

    text: str
    replaced: int
    removed: int
    direction_controls: int

    @property
    def notice(self) -> str:
        """One or two sentences for the person, empty when there is nothing to say."""
        changes = []
        if self.replaced:
            changes.append(f"{_count(self.replaced, 'broken character')} became U+FFFD")
        if self.removed:
            verb = "was" if self.removed == 1 else "were"
            changes.append(f"{_count(self.removed, 'control character')} {verb} removed")
        sentences = [" and ".join(changes) + " before sending."] if changes else []
        if self.direction_controls:
            sentences.append(
                f"The message holds {_count(self.direction_controls, 'invisible direction control')}: "
                "it may read in another order than it is stored."
            )
        return " ".join(sentences)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def clean_prompt(text: str) -> CleanText:
    """Make `text` safe for the engine and for files: lone surrogates → U+FFFD, C0 controls except \\n and \\t removed."""
    joined = _PAIRS.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    joined = _LINE_ENDS.sub("\n", joined)
    whole, replaced = _SURROGATES.subn("\ufffd", joined)
    kept, removed = _CONTROLS.subn("", whole)
    return CleanText(kept, replaced, removed, len(_BIDI_CONTROLS.findall(kept)))


def visible(text: str, limit: int = 40) -> str:
    """`text` on one line with its invisible characters spelled out, at most `limit` characters and an ellipsis."""
    pieces: list[str] = []
    for place, char in enumerate(text):
        if place == limit:
            pieces.append("…")
            break
        pieces.append(_spelled(char))
    shown = "".join(pieces)
    return shown if shown else "(no text)"


def _spelled(char: str) -> str:
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", " ": "␣", "\\": "\\\\"}
    if char in named:
        return named[char]
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or (
        char != " " and char.isspace()
    ):
        return f"\\u{{{ord(char):x}}}"
    return char


def readable(text: str, limit: int = 300) -> str:
    """A sentence from outside on one line: as `visible`, and spaces stay spaces."""
    return visible(text, limit).replace("␣", " ")
