"""Text from models and people made harmless for files that are read: nothing invisible may act.

Control characters and the bidirectional controls that reorder what stands beside them are spelled out; lone surrogates
become U+FFFD. Line breaks and tabs stay. Escaping for HTML or Markdown is the formats' business.
"""

from __future__ import annotations

import re

# Embeddings, overrides and isolates reach over the text behind them. The marks U+200E, U+200F and U+061C act on their
# neighbours alone and belong to right-to-left writing: they stay.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff\ufffe\uffff]"
)
_TOKEN_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥"}
_LABEL_LIMIT = 60


def visible(text: str) -> str:
    """`text` with control characters as control pictures (␀), direction controls as [U+202E]."""
    return _ACTIVE.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"[U+{code:04X}]"


def token_label(text: str) -> str:
    """A token's text on one line: white space as signs, long texts cut; words where there is no text."""
    if not text:
        return "no characters"
    label = "".join(_TOKEN_SIGNS.get(char, char) for char in visible(text))
    return label if len(label) <= _LABEL_LIMIT else label[: _LABEL_LIMIT - 1] + "…"
