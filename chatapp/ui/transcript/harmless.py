"""Model text made safe to draw: one character in, one character out, so that offsets stay the record's.

Control characters become their Unicode control pictures; characters that would reorder or hide their neighbours become a
visible substitute. Only what is drawn changes: copying and hovering read the record. Knows no Qt.
"""

from __future__ import annotations

SUBSTITUTE = "\u2426"
REPLACEMENT = "\ufffd"


def _table() -> dict[int, str]:
    table = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
    table[0x7F] = "\u2421"
    table.update(dict.fromkeys(range(0x80, 0xA0), REPLACEMENT))
    bidi = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    table.update(dict.fromkeys(bidi, SUBSTITUTE))
    # The line and paragraph separators would break lines behind the layout's back, U+FFFC reserves room for an object.
    table.update({0x2028: "\u2424", 0x2029: "\u2424", 0xFFFC: REPLACEMENT})
    table.update(dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT))
    return table


_TABLE = _table()


def harmless(text: str) -> str:
    """`text` with the same number of characters, none of which can act on its surroundings."""
    return text if text.isascii() and text.isprintable() else text.translate(_TABLE)
