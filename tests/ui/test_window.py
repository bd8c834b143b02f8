from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QSlider,
    QWidget,
)

from chatapp.domain.errors import ModelNotFound
from chatapp.domain.palette import KIND_STYLES, Theme
from chatapp.domain.ports import PairLocation
from chatapp.ui.dialogs.about_dialog import AboutDialog
from chatapp.ui.dialogs.help_viewer import PAGES
from chatapp.ui.main_window import MainWindow
from chatapp.ui.theme import DARK, LIGHT, ThemeChoice, tokens_of
from chatapp.ui.theme_manager import ThemeManager
from tests.helpers.records import demo_conversation
from tests.helpers.scripted_engine import BUILTIN
from tests.ui.stage import Stage


def _paste(stage: Stage, text: str) -> None:
    data = QMimeData()
    data.setText(text)
    stage.window.composer.edit.insertFromMimeData(data)


def test_a_large_paste_becomes_a_chip_and_is_sent_whole(stage: Stage) -> None:
    large = "x" * 1_000_000
    stage.type("Summarise this:")
    _paste(stage, large)
    assert stage.box == "Summarise this:"
    assert stage.window.composer.chips[0].caption.text() == "Pasted text, 1,000,000 characters"
    stage.press(Qt.Key.Key_Return)
    stage.qtbot.waitUntil(lambda: len(stage.engine.runs) == 1)
    assert stage.engine.runs[0].request.messages[-1].content == f"Summarise this:\n\n{large}"
    stage.qtbot.waitUntil(stage.window.composer.is_empty)


def test_a_chip_can_be_removed(stage: Stage) -> None:
    _paste(stage, "y" * 9_000)
    stage.click(stage.window.composer.chips[0].close_button)
    assert stage.window.composer.chips == ()
    assert stage.window.composer.is_empty()
    assert not stage.window.composer.button.isEnabled()


def test_a_small_paste_stays_text(stage: Stage) -> None:
    _paste(stage, "line one\nline two")
    assert stage.box == "line one\nline two"


def test_theme_switch_repaints_everything_at_once(stage: Stage) -> None:
    corner = stage.window.grab().toImage().pixelColor(3, stage.window.height() - 3).name()
    assert corner == LIGHT.window
    stage.window.actions_.themes[ThemeChoice.DARK].trigger()
    corner = stage.window.grab().toImage().pixelColor(3, stage.window.height() - 3).name()
    assert corner == DARK.window
    assert stage.window.composer.speculation.tokens is DARK
    assert stage.theme.choice is ThemeChoice.DARK


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", list(Theme))
def test_text_is_readable(theme: Theme) -> None:
    tokens = tokens_of(theme)
    for ground in (tokens.window, tokens.surface):
        for style in KIND_STYLES.values():
            assert _contrast(style.colour(theme), ground) >= 4.5
        for text in (tokens.text, tokens.muted, tokens.danger, tokens.accent):
            assert _contrast(text, ground) >= 4.5
    assert _contrast(tokens.on_accent, tokens.accent) >= 4.5
    for text, soft in ((tokens.text, tokens.danger_soft), (tokens.muted, tokens.info_soft)):
        assert _contrast(text, soft) >= 4.5


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(stage: Stage) -> None:
    stage.chat.show_conversation(demo_conversation())
    kinds = (QAbstractButton, QLineEdit, QPlainTextEdit, QComboBox, QSlider)
    for widget in stage.window.findChildren(QWidget):
        inner = widget.parent() is not None and isinstance(widget.parent(), QComboBox)
        if isinstance(widget, kinds) and not inner and not widget.objectName().startswith("qt_"):
            named = widget.accessibleName() or (isinstance(widget, QAbstractButton) and widget.text())
            assert named, widget
            assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus, widget


def test_panel_and_legend_can_be_hidden(stage: Stage) -> None:
    stage.press(Qt.Key.Key_F9)
    assert not stage.window.panel.isVisible()
    stage.click(stage.window.header._panel)
    assert stage.window.panel.isVisible()
    assert stage.window.actions_.legend.isChecked()
    stage.press(Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    assert not stage.window.actions_.legend.isChecked()


@pytest.mark.qt_log_ignore("raise", extend=True)  # the offscreen platform cannot
def test_f1_shows_the_guide_and_its_links_lead_on(stage: Stage) -> None:
    stage.press(Qt.Key.Key_F1)
    guide = stage.desk._guide
    assert guide is not None
    assert guide.isVisible()
    assert guide.contents.count() == len(PAGES)
    for place in range(len(PAGES)):
        guide.contents.setCurrentRow(place)
        assert len(guide.page.toPlainText()) > 400
        links = guide.page.toMarkdown().count("](")
        assert links == guide.page.toMarkdown().count(".md)")
    stage.qtbot.keyClick(guide, Qt.Key.Key_Escape)
    assert not guide.isVisible()


def test_about_says_the_version(stage: Stage) -> None:
    stage.window.actions_.about.trigger()
    dialog = stage.window.findChild(AboutDialog)
    assert isinstance(dialog, AboutDialog)
    assert dialog.isVisible()
    dialog.accept()


def test_settings_come_back(stage: Stage) -> None:
    stage.window.composer.window_slider.setValue(11)
    stage.window.sampling.set_field("temperature", 0.25)
    stage.window.sampling.set_system_prompt("Be brief.")
    stage.window.actions_.panel.setChecked(False)
    stage.window.save_settings()
    again = MainWindow(stage.theme, stage.settings, stage.display)
    assert again.composer.window_slider.value() == 11
    assert again.sampling.settings.temperature == 0.25
    assert again.panel.sampling.system_prompt.toPlainText() == "Be brief."
    assert not again.actions_.panel.isChecked()
    again.deleteLater()


def test_settings_are_on_disk_with_every_message(stage: Stage) -> None:
    """A process that is killed has no close event."""
    stage.window.composer.window_slider.setValue(13)
    stage.send_and_wait("Hello")
    assert Path(stage.settings._store.fileName()).read_text(encoding="utf-8").count("window=13") == 1


def test_a_damaged_settings_file_is_forgotten(stage: Stage) -> None:
    stage.settings._store.setValue("run/sampling", '{"temperature": "hot"}')
    stage.settings._store.setValue("run/window", "many")
    stage.settings._store.setValue("view/theme", "pink")
    assert stage.settings.sampling is None
    assert stage.settings.window == 5
    assert stage.settings.theme is ThemeChoice.SYSTEM


def test_a_pair_that_does_not_load_is_told_and_the_old_one_stays(stage: Stage) -> None:
    stage.engine.load_error = ModelNotFound("There is no directory “x”.")
    with stage.qtbot.waitSignal(stage.pairs.failed):
        stage.pairs.load(BUILTIN)
    assert "There is no directory" in stage.banner
    assert "The pair in use, scripted pair, stays loaded." in stage.banner
    assert stage.window.header.state_text == "Ready"
    stage.send_and_wait("Hello?")


def test_qt_calls_leave_the_reference_count_of_none_alone(stage: Stage) -> None:
    """PySide6 6.12.0 drops a reference per call on Python < 3.12 and aborts after a few thousand."""
    widget = stage.window.composer
    before = sys.getrefcount(None)
    for _ in range(1000):
        widget.update()
        widget.setToolTip("")
    assert abs(sys.getrefcount(None) - before) < 100


def test_escape_dismisses_a_message_when_nothing_runs(stage: Stage) -> None:
    stage.press(Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert stage.banner
    stage.press(Qt.Key.Key_Escape)
    assert stage.banner == ""


def test_tab_goes_round_the_composer(stage: Stage) -> None:
    stage.type("Hello?")
    composer = stage.window.composer
    for expected in (composer.speculation, composer.window_slider, composer.auto, composer.button):
        stage.press(Qt.Key.Key_Tab)
        assert stage.focused is expected
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        stage.press(Qt.Key.Key_Space)
    assert stage.focused is composer.edit


def test_control_enter_sends_from_anywhere(stage: Stage) -> None:
    stage.type("Hello?")
    stage.window.panel.sampling.system_prompt.setFocus()
    with stage.qtbot.waitSignal(stage.chat.run_ended):
        stage.press(Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


def test_the_switch_tells_screen_readers_what_it_is(stage: Stage) -> None:
    told = QAccessible.queryAccessibleInterface(stage.window.composer.speculation)
    assert told.role() is QAccessible.Role.CheckBox
    assert told.text(QAccessible.Text.Name) == "Speculation"
    assert told.state().checked
    slider = QAccessible.queryAccessibleInterface(stage.window.composer.window_slider)
    assert slider.role() is QAccessible.Role.Slider
    assert slider.text(QAccessible.Text.Name) == "Window k"


def test_long_names_do_not_widen_the_window(stage: Stage) -> None:
    least = stage.window.minimumSizeHint().width()
    name = "a-very-long-directory-name-" * 8
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.pairs.load(PairLocation(name, Path("target"), Path("draft")))
    assert stage.window.minimumSizeHint().width() < least + 260
    assert "…" in stage.window.header.pair_text


def test_the_desktops_scheme_is_followed_until_a_theme_is_chosen(qapp: QApplication) -> None:
    scheme = [Qt.ColorScheme.Light]
    manager = ThemeManager(scheme=lambda: scheme[0])
    manager.apply()
    assert manager.tokens is LIGHT
    scheme[0] = Qt.ColorScheme.Dark
    qapp.styleHints().colorSchemeChanged.emit(scheme[0])
    assert manager.tokens is DARK
    manager.set_choice(ThemeChoice.LIGHT)
    qapp.styleHints().colorSchemeChanged.emit(scheme[0])
    assert manager.tokens is LIGHT
    manager.deleteLater()


def test_a_narrow_window_shows_chat_or_panel_and_a_wide_one_both(stage: Stage) -> None:
    window = stage.window
    window.resize(640, 480)
    stage.qtbot.waitUntil(lambda: not window.panel.isVisible())
    assert (window.width(), window.composer.isVisible()) == (640, True)
    stage.press(Qt.Key.Key_F9)
    assert (window.panel.isVisible(), window.composer.isVisible()) == (True, False)
    assert window.width() == 640
    stage.press(Qt.Key.Key_F9)
    assert (window.panel.isVisible(), window.composer.isVisible()) == (False, True)
    assert window.composer.edit.hasFocus()
    window.resize(1280, 800)
    stage.qtbot.waitUntil(window.panel.isVisible)
    assert window.composer.isVisible()


def test_a_pair_that_loads_in_a_narrow_window_brings_back_no_chip(stage: Stage) -> None:
    header = stage.window.header
    stage.window.resize(660, 520)
    stage.load()
    assert not header._chips["context"].isVisible()
    assert header._chips["device"].isVisible()
    stage.window.resize(1280, 800)
    assert header._chips["context"].isVisible()
