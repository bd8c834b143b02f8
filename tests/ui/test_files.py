from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QLineEdit, QPushButton

from chatapp.domain.metrics import step_timings
from chatapp.domain.ports import PairLocation
from chatapp.export.service import FileExporter
from chatapp.ui.controllers.files import file_stem
from chatapp.ui.dialogs.pair_dialog import PairDialog
from chatapp.ui.widgets.banner import Severity
from tests.helpers.records import demo_conversation
from tests.helpers.scripted_engine import BUILTIN, REPLY
from tests.ui.stage import Stage

CTRL = Qt.KeyboardModifier.ControlModifier


def _dialog(stage: Stage) -> QFileDialog:
    found = [dialog for dialog in stage.window.findChildren(QFileDialog) if dialog.isVisible()]
    assert len(found) == 1
    return found[0]


def _accept(stage: Stage, dialog: QFileDialog, path: Path) -> None:
    """Type the path and press Enter, as a person would."""
    field = dialog.findChild(QLineEdit)
    assert isinstance(field, QLineEdit)
    field.setText(str(path))
    stage.qtbot.keyClick(field, Qt.Key.Key_Return)


def test_export_asks_where_and_writes_every_format(stage: Stage, tmp_path: Path) -> None:
    stage.send_and_wait("What is k?")
    for suffix in ("json", "html", "md"):
        stage.press(Qt.Key.Key_E, CTRL)
        path = tmp_path / f"chat.{suffix}"
        with stage.qtbot.waitSignal(stage.files.exported):
            _accept(stage, _dialog(stage), path)
        assert "What is k?" in path.read_text(encoding="utf-8")
        assert f"Exported to chat.{suffix}" in stage.banner


def test_the_chosen_format_gives_the_ending(stage: Stage, tmp_path: Path) -> None:
    stage.send_and_wait("What is k?")
    dialog = stage.files.ask_export()
    assert dialog is not None
    html = next(name for name in dialog.nameFilters() if ".html" in name)
    dialog.selectNameFilter(html)
    dialog.filterSelected.emit(html)
    with stage.qtbot.waitSignal(stage.files.exported):
        _accept(stage, dialog, tmp_path / "picture")
    assert (tmp_path / "picture.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_export_that_cannot_be_written_says_so(stage: Stage, tmp_path: Path) -> None:
    stage.send_and_wait("What is k?")
    stage.files.export(tmp_path / "missing" / "chat.json", "json")
    assert stage.window.banner.severity is Severity.ERROR
    assert stage.banner


def test_nothing_to_export(stage: Stage) -> None:
    stage.press(Qt.Key.Key_E, CTRL)
    assert "nothing to export" in stage.banner


def test_an_opened_record_gives_the_same_picture(stage: Stage, tmp_path: Path) -> None:
    stage.send_and_wait("What is k?")
    stage.send_and_wait("Again")
    stage.window.panel.speed._refresh()
    names = ("TPOT", "TTFT", "Tokens / s", "Acceptance rate", "Tested acceptance", "Mean accept. length")
    before = [stage.window.panel.speed.shown(name) for name in names]
    steps = [timing for record in stage.chat.records for timing in step_timings(record)]
    stage.qtbot.waitUntil(lambda: len(stage.window.panel.plot.bars()) == len(steps))
    bars = stage.window.panel.plot.bars()
    stage.files.export(tmp_path / "chat.json", "json")
    stage.press(Qt.Key.Key_N, CTRL)
    assert stage.window.panel.speed.shown("TPOT") == ("–", "–")
    stage.press(Qt.Key.Key_O, CTRL)
    with stage.qtbot.waitSignal(stage.files.opened):
        _accept(stage, _dialog(stage), tmp_path / "chat.json")
    assert [stage.window.panel.speed.shown(name) for name in names] == before
    assert stage.window.panel.plot.bars() == bars
    assert stage.record.text == REPLY
    assert stage.window.windowTitle() == "What is k? — chatapp"
    assert "continue the chat" in stage.banner


def test_the_chat_goes_on_from_an_opened_record(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    FileExporter().export(demo_conversation(), path, "json")
    stage.files.open_record(path)
    stage.send_and_wait("And then?")
    prompts = [turn.prompt for turn in demo_conversation().turns]
    sent = [message.content for message in stage.engine.runs[-1].request.messages]
    assert sent[0] == prompts[0]
    assert sent[-1] == "And then?"
    assert len(sent) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", ""), ("not json", ""), (json.dumps({"format": "chatapp", "schema_version": 999}), "")],
)
def test_a_file_that_is_not_ours_changes_nothing(stage: Stage, tmp_path: Path, text: str, said: str) -> None:
    stage.send_and_wait("What is k?")
    path = tmp_path / "strange.json"
    path.write_text(text, encoding="utf-8")
    stage.files.open_record(path)
    assert stage.window.banner.severity is Severity.ERROR
    assert "on screen is untouched" in stage.banner
    assert stage.chat.conversation.turns[0].prompt == "What is k?"


def test_opening_while_a_reply_runs_is_refused(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    FileExporter().export(demo_conversation(), path, "json")
    stage.run_held()
    stage.files.open_record(path)
    assert "still running" in stage.banner
    assert len(stage.chat.records) == 1


def test_file_names_from_titles() -> None:
    assert file_stem("What is k? — *now*") == "What-is-k-now"
    assert file_stem("../..") == "chat"


def _pair_dialog(stage: Stage) -> PairDialog:
    stage.press(Qt.Key.Key_P, CTRL)
    dialog = stage.window.findChild(PairDialog)
    assert isinstance(dialog, PairDialog)
    return dialog


def test_another_pair_is_chosen_by_two_directories(stage: Stage, tmp_path: Path) -> None:
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
    dialog = _pair_dialog(stage)
    dialog.target.setText(str(tmp_path / "large"))
    dialog.draft.setText(str(tmp_path / "small"))
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.click(dialog.open_button)
    assert stage.engine.loaded[-1] == PairLocation("large + small", tmp_path / "large", tmp_path / "small")
    assert stage.window.header.pair_text == "large + small"


def test_the_numbers_of_each_side_can_be_chosen(stage: Stage, tmp_path: Path) -> None:
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
    dialog = _pair_dialog(stage)
    dialog.target.setText(str(tmp_path / "large"))
    dialog.draft.setText(str(tmp_path / "small"))
    dialog.draft_weights.setFocus()
    stage.qtbot.keyClick(dialog.draft_weights, Qt.Key.Key_Down)
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.click(dialog.open_button)
    loaded = stage.engine.loaded[-1]
    assert (loaded.target_weights, loaded.draft_weights) == ("auto", "int8")


def test_a_missing_directory_is_told_in_the_dialog(stage: Stage, tmp_path: Path) -> None:
    dialog = _pair_dialog(stage)
    stage.click(dialog.open_button)
    assert "target" in dialog.problem
    dialog.target.setText(str(tmp_path / "nowhere"))
    stage.click(dialog.open_button)
    assert "nowhere" in dialog.problem
    cancel = next(b for b in dialog.findChildren(QPushButton) if b.text() == "Cancel")
    stage.click(cancel)
    assert stage.engine.loaded == [BUILTIN]


def test_the_built_in_pair_is_one_click_away(stage: Stage) -> None:
    dialog = _pair_dialog(stage)
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.click(dialog.use_builtin)
    assert stage.engine.loaded == [BUILTIN, BUILTIN]
