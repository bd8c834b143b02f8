"""`chatapp export` and `chatapp replay` as a person calls them."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.cli import main
from chatapp.commands import gui
from chatapp.domain.events import EndReason
from chatapp.domain.palette import Theme
from chatapp.export.service import FileExporter
from chatapp.export.terminal import TerminalLook, render
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "saved.json"
    FileExporter().export(demo_conversation(), path, "json")
    return path


# --- export -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"), [("a.html", "<!doctype html>"), ("a.md", "# The"), ("a.json", "{")]
)
def test_export_by_ending(saved: Path, name: str, start: str) -> None:
    out = saved.with_name(name)
    assert main(["export", str(saved), str(out)]) == 0
    assert out.read_text("utf-8").startswith(start)


def test_export_by_format(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = saved.with_name("page")
    assert main(["export", str(saved), str(out), "--format", "html"]) == 0
    assert out.read_text("utf-8").startswith("<!doctype html>")
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "destination", "words_wanted"),
    [
        ("none.json", "a.md", "No such file"),
        ("saved.json", "a.docx", "which format"),
        ("saved.json", "none/a.md", "could not be written"),
        ("junk.json", "a.md", "not a conversation"),
    ],
)
def test_one_clear_message_and_exit_1(
    saved: Path, capsys: pytest.CaptureFixture[str], source: str, destination: str, words_wanted: str
) -> None:
    (saved.parent / "junk.json").write_text("junk")
    assert main(["export", str(saved.parent / source), str(saved.parent / destination)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("chatapp export: ")
    assert output.err.count("\n") == 1
    assert words_wanted in output.err
    assert not (saved.parent / destination).exists()


@pytest.mark.parametrize("command", ["export", "replay"])
def test_neither_qt_nor_torch_is_needed(saved: Path, command: str) -> None:
    arguments = [command, str(saved)] + ([str(saved.with_name("a.html"))] if command == "export" else [])
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['PySide6', 'torch', 'transformers', 'numpy']));"
        f"from chatapp.cli import main; sys.exit(main({arguments!r}))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


# --- replay -------------------------------------------------------------------------------------------------------------


def test_replay_prints_the_conversation(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(saved)]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output  # captured output is no terminal
    assert "Mira lived in an old lighthouse" in output
    assert "[stopped]" in output
    assert "TPOT 9." in output
    assert "Target: toy-target" in output


def test_replay_of_junk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "junk.json").write_text("junk")
    assert main(["replay", str(tmp_path / "junk.json")]) == 1
    assert capsys.readouterr().err.startswith("chatapp replay: junk.json is not a conversation")


def test_replay_in_the_window_uses_the_window_s_own_option(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[argparse.Namespace] = []

    def run(args: argparse.Namespace) -> int:
        asked.append(args)
        return 7

    monkeypatch.setattr(gui, "run", run)
    assert main(["replay", str(saved), "--gui"]) == 7
    assert [args.replay for args in asked] == [saved]


def test_a_file_that_does_not_open_opens_no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gui, "run", lambda args: pytest.fail("the window opened"))
    assert main(["replay", str(tmp_path / "none.json"), "--gui"]) == 1


def look(*, colour: bool = False, width: int = 60) -> TerminalLook:
    return TerminalLook(colour, Theme.DARK, width)


def test_marks_stand_below_their_tokens() -> None:
    script = RunScript(window=4).first("Once").verify([" upon"], " time", rejected=" day").plain("!")
    lines = render(conversation(script.end().turn()), look()).splitlines()
    place = lines.index("Once upon time!")
    assert lines[place + 1] == "...." + "_____" + "~~~~~" + "."


def test_wide_characters_get_wide_marks() -> None:
    script = RunScript().first("日本").plain("x")
    lines = render(conversation(script.end().turn()), look()).splitlines()
    assert lines[lines.index("日本x") + 1] == "....."


def test_colours_only_add_escapes_of_their_own() -> None:
    value = demo_conversation()
    coloured = render(value, look(colour=True))
    assert "\x1b[38;2;111;208;140m" in coloured
    assert ESCAPE.sub("", coloured) == render(value, look())


def test_no_text_can_steer_the_terminal() -> None:
    script = RunScript("a\x1b[2Jb\x07").first("c\x1b]0;x\x07").end(EndReason.FAILED, error="d\x9be\r")
    value = conversation(script.turn(), title="f\x1b[1m")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", ESCAPE.sub("", render(value, look())))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", render(value, look()))


@pytest.mark.parametrize("width", [20, 41, 100])
def test_lines_keep_to_the_width_and_lose_nothing(width: int) -> None:
    record = scripted_run(
        words("The quick brown fox jumps over the lazy dog. " * 6), seed=2, changes=False
    ).turn()
    lines = render(conversation(record), look(width=width)).splitlines()
    begin, end = lines.index("Reply 1") + 1, lines.index("[complete]")
    rows = lines[begin:end]
    assert all(len(row) <= width for row in rows)
    assert "".join(rows[0::2]) == record.record.text
    assert all(set(row) <= set("_~=. ") for row in rows[1::2])


def test_a_word_longer_than_the_line_is_broken() -> None:
    lines = render(conversation(RunScript().first("x" * 50).end().turn()), look(width=20)).splitlines()
    assert [line for line in lines if set(line) == {"x"}] == ["x" * 20, "x" * 20, "x" * 10]


@pytest.mark.parametrize("width", range(16, 40))
def test_a_mark_of_a_change_is_never_broken(width: int) -> None:
    script = RunScript(window=5).first("one").plain(" two").set_window(8).plain(" three").plain(" four")
    assert "[k 5 → 8]" in render(conversation(script.end().turn()), look(width=width))


def test_an_ascii_terminal_gets_what_it_can_show(saved: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "chatapp", "replay", str(saved)],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        cwd=Path(__file__).parents[2],
    )
    assert result.returncode == 0, result.stderr
    assert b"just let it go. ?" in result.stdout
