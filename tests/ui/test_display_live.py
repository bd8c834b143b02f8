"""The display mode in the window: chosen in the menu, kept, told, and acting on what is on screen already."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from chatapp.app import set_pace
from chatapp.commands import gui
from chatapp.service.client import EngineClient
from chatapp.ui.dialogs.about_dialog import AboutDialog
from chatapp.ui.display_manager import DisplayManager
from chatapp.ui.display_mode import LOCAL, REMOTE, DisplayChoice, DisplayedWidget, Finding
from chatapp.ui.main_window import MainWindow
from tests.ui.stage import Stage


def _displayed(window: MainWindow) -> set[str]:
    return {
        child.display.name for child in window.findChildren(QWidget) if isinstance(child, DisplayedWidget)
    }


def _choose(stage: Stage, choice: DisplayChoice) -> None:
    stage.window.actions_.displays[choice].trigger()


def _chip(window: MainWindow) -> QLabel:
    return window.header._chips["display"]


def test_the_menu_switches_live_and_back(stage: Stage) -> None:
    flash = QApplication.styleHints().cursorFlashTime()
    assert flash > 0
    assert stage.window.actions_.displays[DisplayChoice.AUTO].isChecked()
    assert _displayed(stage.window) == {"local"}
    assert not _chip(stage.window).isVisible()
    _choose(stage, DisplayChoice.REMOTE)
    assert _displayed(stage.window) == {"remote"}
    assert QApplication.styleHints().cursorFlashTime() == 0
    assert _chip(stage.window).isVisible()
    assert _chip(stage.window).toolTip() == "Remote display: on (chosen; found was a local screen)."
    _choose(stage, DisplayChoice.LOCAL)
    assert _displayed(stage.window) == {"local"}
    assert QApplication.styleHints().cursorFlashTime() == flash
    assert not _chip(stage.window).isVisible()


def test_a_found_remote_desktop_switches_by_itself_and_says_why(stage: Stage) -> None:
    display = DisplayManager(finding=Finding(True, "Amazon DCV: DCV_SESSION_ID is set"))
    window = MainWindow(stage.theme, stage.settings, display)
    try:
        assert display.mode is REMOTE
        assert _displayed(window) == {"remote"}
        assert "DCV_SESSION_ID is set" in _chip(window).toolTip()
    finally:
        display.restore()
        window.deleteLater()
        display.deleteLater()


def test_about_says_which_mode_is_on(stage: Stage) -> None:
    _choose(stage, DisplayChoice.REMOTE)
    stage.window.actions_.about.trigger()
    dialog = stage.window.findChild(AboutDialog)
    assert isinstance(dialog, AboutDialog)
    assert dialog.display.text() == "Remote display: on (chosen; found was a local screen)."
    dialog.close()


def test_the_choice_is_kept_and_a_damaged_one_forgotten(stage: Stage) -> None:
    _choose(stage, DisplayChoice.REMOTE)
    stage.window.save_settings()
    assert "display=remote" in Path(stage.settings._store.fileName()).read_text(encoding="utf-8")
    assert stage.settings.display.value == "remote"
    stage.settings.set_text("view/display", "sideways")
    assert stage.settings.display.value == "auto"


@pytest.mark.parametrize("word", ["auto", "local", "remote"])
def test_the_command_line_takes_a_mode(word: str) -> None:
    parser = argparse.ArgumentParser()
    gui.add_arguments(parser)
    assert parser.parse_args(["--display-mode", word]).display_mode == word


def test_a_switch_slides_on_a_local_screen_only(stage: Stage) -> None:
    toggle = stage.window.composer.speculation
    toggle.click()
    assert toggle._place == 1.0  # it begins to slide
    stage.qtbot.waitUntil(lambda: toggle._place == 0.0)
    _choose(stage, DisplayChoice.REMOTE)
    toggle.click()
    assert toggle._place == 1.0


def test_the_engines_batches_follow_the_mode(stage: Stage) -> None:
    engine = EngineClient()
    set_pace(engine, stage.display)
    assert engine.frame_s == LOCAL.clocks.batch_s
    _choose(stage, DisplayChoice.REMOTE)
    assert engine.frame_s == REMOTE.clocks.batch_s == 0.1
    engine.close()
