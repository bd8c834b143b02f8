"""Escaping and small building blocks of HTML. Every text of a record passes through `esc` on its way out."""

from __future__ import annotations

import html
from collections.abc import Iterable

from chatapp.export.visible import visible


def esc(text: str) -> str:
    """`text` for element content and for quoted attributes: controls spelled out, markup characters escaped."""
    return html.escape(visible(text), quote=True)


def definition_list(rows: Iterable[tuple[str, str]]) -> str:
    pairs = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>" for name, value in rows)
    return f'<dl class="facts">{pairs}</dl>'
