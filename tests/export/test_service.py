"""`FileExporter`: the formats it offers, the round trip through files, and strangers' formats beside the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.domain.errors import DamagedRecord, ExportFailed
from chatapp.domain.ports import ExportPort
from chatapp.domain.record import Conversation
from chatapp.export.registry import builtin_exporters
from chatapp.export.service import FileExporter
from tests.helpers.records import demo_conversation


class TitleExporter:
    name = "title"
    suffix = ".txt"
    description = "The title alone"

    def render(self, conversation: Conversation) -> str:
        return conversation.title


def test_it_is_what_the_window_asks_for(tmp_path: Path) -> None:
    port: ExportPort = FileExporter()
    assert [(name, suffix) for name, suffix, _ in port.formats()] == [
        ("json", ".json"),
        ("html", ".html"),
        ("markdown", ".md"),
    ]
    assert all(description for _, _, description in port.formats())


@pytest.mark.parametrize("name", ["json", "html", "markdown"])
def test_every_format_writes_a_file(tmp_path: Path, name: str) -> None:
    FileExporter().export(demo_conversation(), tmp_path / "out", name)
    assert "Mira" in (tmp_path / "out").read_text("utf-8")
    assert len(list(tmp_path.iterdir())) == 1


def test_export_open_export_through_files(tmp_path: Path) -> None:
    exporter = FileExporter()
    exporter.export(demo_conversation(), tmp_path / "a.json", "json")
    exporter.export(exporter.open_record(tmp_path / "a.json"), tmp_path / "b.json", "json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("name", ["html", "markdown"])
def test_an_opened_record_gives_the_same_picture(tmp_path: Path, name: str) -> None:
    exporter = FileExporter()
    exporter.export(demo_conversation(), tmp_path / "a.json", "json")
    exporter.export(demo_conversation(), tmp_path / "a", name)
    exporter.export(exporter.open_record(tmp_path / "a.json"), tmp_path / "b", name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_file_gives_no_conversation(tmp_path: Path) -> None:
    exporter = FileExporter()
    path = tmp_path / "a.json"
    exporter.export(demo_conversation(), path, "json")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DamagedRecord):
        exporter.open_record(path)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.json", "json"),
        ("A.HTML", "html"),
        ("a.htm", "html"),
        ("a.md", "markdown"),
        ("a.markdown", "markdown"),
    ],
)
def test_the_ending_says_the_format(name: str, wanted: str) -> None:
    assert FileExporter().format_of(Path(name)) == wanted


@pytest.mark.parametrize("name", ["a", "a.docx", ".json"])
def test_an_ending_that_says_nothing(name: str) -> None:
    with pytest.raises(ExportFailed) as caught:
        FileExporter().format_of(Path(name))
    assert ".html" in caught.value.remedy


def test_an_unknown_format_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="no export format"):
        FileExporter().export(demo_conversation(), tmp_path / "a", "docx")
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_s_format_works_like_a_built_in_one(tmp_path: Path) -> None:
    exporter = FileExporter([*builtin_exporters(), TitleExporter()])
    assert exporter.formats()[-1] == ("title", ".txt", "The title alone")
    exporter.export(demo_conversation(), tmp_path / "a.txt", exporter.format_of(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text() == "The lighthouse"
