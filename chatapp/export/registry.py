"""The formats in the order in which they are offered. A format is added by giving `FileExporter` a longer list."""

from __future__ import annotations

from chatapp.export.contracts import Exporter
from chatapp.export.html.page import HtmlExporter
from chatapp.export.json_format import JsonExporter
from chatapp.export.markdown_format import MarkdownExporter


def builtin_exporters() -> tuple[Exporter, ...]:
    return (JsonExporter(), HtmlExporter(), MarkdownExporter())
