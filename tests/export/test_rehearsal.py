"""No export lets a rehearsal pass for a measurement: every format of the registry, the terminal, and strangers' formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chatapp.domain.errors import ExportFailed
from chatapp.domain.palette import Theme
from chatapp.domain.record import Conversation, Turn
from chatapp.domain.rehearsal import REHEARSAL, rehearsed_pair
from chatapp.export.contracts import Exporter
from chatapp.export.html.page import HtmlExporter
from chatapp.export.json_format import document
from chatapp.export.markdown_format import MarkdownExporter
from chatapp.export.reading import parse_document
from chatapp.export.registry import builtin_exporters
from chatapp.export.service import FileExporter
from chatapp.export.terminal import TerminalLook, render
from tests.helpers.records import RunScript, conversation

NEAR_CHARS = 250
"""A figure's words stand no further in front of it than this, markup included."""
DEVICE = rehearsed_pair("trn1.32xlarge").device
LOOK = TerminalLook(colour=False, theme=Theme.DARK, width=80)
RENDERERS: list[tuple[str, Callable[[Conversation], str]]] = [
    *((one.name, one.render) for one in builtin_exporters()),
    ("terminal", lambda value: render(value, LOOK)),
]


def turn(device: str = "") -> Turn:
    script = RunScript(window=3, device=device).first("Once").verify([" upon", " a"], " time")
    return script.end().turn()


@pytest.mark.parametrize(("name", "rendered"), RENDERERS, ids=[name for name, _ in RENDERERS])
def test_every_format_says_so_beside_every_group_of_figures(
    name: str, rendered: Callable[[Conversation], str]
) -> None:
    """On top, at each of two replies, and at the sum of both; a format that is new is held to it as well."""
    text = rendered(conversation(turn(DEVICE), turn(DEVICE))).lower()
    figures = [found.start() for found in re.finditer("tpot", text)]
    assert len(figures) >= 3, name
    for place in figures:
        assert REHEARSAL in text[max(place - NEAR_CHARS, 0) : place], (
            f"{name}: {text[place - 80 : place + 80]}"
        )
    assert text.index(REHEARSAL) < text.index("tell me a story"), "on top"
    assert DEVICE.lower() in text


@pytest.mark.parametrize(("name", "rendered"), RENDERERS, ids=[name for name, _ in RENDERERS])
def test_a_measured_conversation_says_nothing_of_it(
    name: str, rendered: Callable[[Conversation], str]
) -> None:
    assert REHEARSAL not in rendered(conversation(turn(), turn())).lower(), name


@pytest.mark.parametrize(("name", "rendered"), RENDERERS, ids=[name for name, _ in RENDERERS])
def test_a_mixed_conversation_says_which_and_sums_no_times(
    name: str, rendered: Callable[[Conversation], str]
) -> None:
    text = rendered(conversation(turn(), turn(DEVICE)))
    assert "Rehearsal: simulated device, in reply 2." in text, name
    assert "Their times are not put together" in text, name
    assert DEVICE in text, name


def test_which_figures_of_a_mixed_document() -> None:
    written = document(conversation(turn(), turn(DEVICE), turn(DEVICE)))
    assert written["rehearsal"].startswith("Rehearsal: simulated device, in replies 2 and 3.")
    parts = [one["derived"]["metrics"] for one in written["turns"]]
    assert [part["provenance"] for part in parts] == ["measured", "simulated", "simulated"]
    assert [part.get("rehearsal", "") for part in parts] == ["", REHEARSAL, REHEARSAL]
    total = written["derived"]["metrics"]
    assert total["provenance"] == "mixed"
    assert total["tpot_s"] is total["ttft_s"] is total["tokens_per_s"] is None
    assert total["tokens"] == 12


def test_it_survives_the_file() -> None:
    text = json.dumps(document(conversation(turn(DEVICE))))
    opened = parse_document(text.encode(), "rehearsed.json")
    assert opened.turns[0].record.simulated
    assert json.dumps(document(opened)) == text


def test_the_published_latencies_stand_with_their_sources() -> None:
    for exporter in (HtmlExporter(), MarkdownExporter()):
        text = exporter.render(conversation(turn(DEVICE)))
        assert "target 20.6 ms, draft 3.7 ms: published, AWS Machine Learning Blog" in text
        assert "assumed, on the line from one row to 64 rows" in text


class Forgetful(Exporter):
    """A stranger's format that shows a figure and not what it is."""

    name = "forgetful"
    suffix = ".txt"
    description = "one figure"

    def render(self, conversation: Conversation) -> str:
        return f"{len(conversation.turns)} turns, TPOT 20.6 ms"


def test_a_format_that_forgets_it_is_not_written(tmp_path: Path) -> None:
    exporter, path = FileExporter([*builtin_exporters(), Forgetful()]), tmp_path / "out.txt"
    exporter.export(conversation(turn()), path, "forgetful")
    path.unlink()
    with pytest.raises(ExportFailed, match="does not say that replies are of a rehearsal"):
        exporter.export(conversation(turn(DEVICE)), path, "forgetful")
    assert not path.exists()
    for name, suffix, _ in FileExporter().formats():
        exporter.export(conversation(turn(DEVICE)), tmp_path / f"out{suffix}", name)
