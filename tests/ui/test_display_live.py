"""The display mode in the window: chosen in the menu, kept, told, and acting on what is on screen already."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from chatapp.app import set_pace
from chatapp.commands import gui
from chatapp.service.client import EngineClient
from chatapp.ui.controllers.chat import ChatState
from chatapp.ui.dialogs.about_dialog import AboutDialog
from chatapp.ui.display_manager import DisplayManager
from chatapp.ui.display_mode import LOCAL, REMOTE, DisplayChoice, DisplayedWidget, Finding
from chatapp.ui.main_window import MainWindow
from tests.helpers.scripted_engine import REPLY
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


@pytest.mark.parametrize("choice", [DisplayChoice.LOCAL, DisplayChoice.REMOTE])
def test_plot_and_numbers_follow_at_the_modes_clocks_and_not_at_once(
    stage: Stage, choice: DisplayChoice
) -> None:
    _choose(stage, choice)
    clocks, panel = stage.display.mode.clocks, stage.window.panel
    run = stage.run_held()
    with stage.qtbot.waitSignal(stage.chat.record_changed):
        run.let_pass()
    assert panel.plot._frame.isActive()
    assert panel.plot._frame.interval() == clocks.plot_ms
    assert panel.speed._slow_clock.isActive()
    assert panel.speed._slow_clock.interval() == clocks.numbers_ms
    run.let_all_pass()
    stage.qtbot.waitUntil(lambda: stage.chat.state is ChatState.IDLE)


def test_a_switch_in_the_middle_of_a_reply_is_heeded(stage: Stage) -> None:
    run = stage.run_held()
    with stage.qtbot.waitSignal(stage.chat.record_changed):
        run.let_pass()
    _choose(stage, DisplayChoice.REMOTE)
    assert stage.window.transcript.canvas.style_now.translucent is False
    run.let_all_pass()
    stage.qtbot.waitUntil(lambda: stage.chat.state is ChatState.IDLE)
    assert stage.record.text == REPLY
    frame = stage.window.transcript._frame
    stage.qtbot.waitUntil(lambda: not frame.isActive())
    assert stage.window.transcript.canvas.items[-1].flow.closed


def test_the_memory_gauge_keeps_its_place_while_the_next_reply_begins(stage: Stage) -> None:
    """Without it the card, and the plot below it, would move up and down again with every reply."""
    gauge, speed = stage.window.panel.speed.gauge, stage.window.panel.speed
    stage.send_and_wait("Hello")
    stage.qtbot.waitUntil(lambda: not gauge.isHidden())
    top = stage.window.panel.plot_card.y()
    run = stage.run_held()
    assert not gauge.isHidden()
    QApplication.sendPostedEvents()
    assert stage.window.panel.plot_card.y() == top
    run.cancel()
    stage.qtbot.waitUntil(lambda: stage.chat.state is ChatState.IDLE)
    speed.set_records(stage.chat.records)
    assert gauge.isHidden()  # the reply ended without a step: there is nothing to tell


def test_a_reply_that_begins_leaves_the_chart_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.send_and_wait("Hello")
    plot = stage.window.panel.plot
    stage.qtbot.waitUntil(lambda: bool(plot.bars()))
    assert plot.chart is not None
    drawn: list[object] = []
    plot.chart.sigRangeChanged.connect(lambda *_: drawn.append(1))
    grown = plot.chart.show_growth
    monkeypatch.setattr(plot.chart, "show_growth", lambda: drawn.append(grown()))
    run = stage.run_held()
    assert drawn == []
    run.let_all_pass()
    stage.qtbot.waitUntil(lambda: stage.chat.state is ChatState.IDLE)
    stage.qtbot.waitUntil(lambda: len({bar.left for bar in plot.bars()}) > 1 and drawn != [])
