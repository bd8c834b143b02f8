"""JSON text that people can read: a container of plain values stays on one line, so a token is a line.

The text depends on the value alone, so that equal documents are equal bytes. Knows nothing of conversations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

INDENT = "  "


def to_json(value: object) -> str:
    """`value` as JSON, ending in a line break. Raises `ValueError` on NaN and infinities: JSON has none."""
    return "".join(_pieces(value, "")) + "\n"


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _is_leaf(value: object) -> bool:
    children: object
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value
    else:
        return True
    return not any(isinstance(child, dict | list) for child in children)


def _pieces(value: object, margin: str) -> Iterator[str]:
    if _is_leaf(value):
        yield _plain(value)
        return
    inner = margin + INDENT
    if isinstance(value, dict):
        opening, closing = "{", "}"
        entries = [(f"{_plain(str(key))}: ", child) for key, child in value.items()]
    elif isinstance(value, list):
        opening, closing = "[", "]"
        entries = [("", child) for child in value]
    else:
        raise TypeError(type(value).__name__)
    for number, (label, child) in enumerate(entries):
        yield f"{',' if number else opening}\n{inner}{label}"
        yield from _pieces(child, inner)
    yield f"\n{margin}{closing}"
