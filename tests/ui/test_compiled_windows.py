"""The slider says which windows were compiled, and what lies between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAccessible, QColor, QImage
from pytestqt.qtbot import QtBot

from chatapp.domain.neuron import NeuronSettings
from chatapp.ui.theme import LIGHT
from chatapp.ui.widgets.window_slider import DESCRIPTION, HANDLE_HEIGHT_PX, WindowSlider
from tests.helpers.scripted_engine import BUILTIN
from tests.ui.stage import Stage

COMPILED = (1, 2, 4, 8, 16)
MIDDLE = 2 + HANDLE_HEIGHT_PX // 2


@pytest.fixture
def slider(qtbot: QtBot) -> WindowSlider:
    made = WindowSlider()
    qtbot.addWidget(made)
    made.set_tokens(LIGHT)
    made.resize(300, 40)
    return made


def picture(slider: WindowSlider) -> QImage:
    image = QImage(slider.size(), QImage.Format.Format_RGB32)
    image.fill(QColor(LIGHT.surface))
    slider.render(image, QPoint())
    return image


def marked(slider: WindowSlider) -> set[int]:
    """Stops with a mark that stands out above the track; the handle hides its own."""
    image, above = picture(slider), MIDDLE - 5
    bare = image.pixelColor(0, above)
    return {
        k
        for k in slider.stops
        if k != slider.value() and image.pixelColor(round(slider._x_of(k)), above) != bare
    }


def track(slider: WindowSlider, k: float) -> QColor:
    x = slider._x_of(int(k)) + (slider._x_of(int(k) + 1) - slider._x_of(int(k))) * (k - int(k))
    return picture(slider).pixelColor(round(x), MIDDLE)


def test_compiled_stops_stand_out(slider: WindowSlider) -> None:
    assert marked(slider) == set()
    slider.set_compiled(COMPILED)
    assert marked(slider) == {2, 4, 8, 16}
    slider.setValue(8)
    assert marked(slider) == {2, 4, 16}
    slider.set_compiled(())
    assert marked(slider) == set()


def test_the_track_shows_what_the_window_holds_beyond_k(slider: WindowSlider) -> None:
    slider.set_compiled(COMPILED)
    slider.setValue(9)
    pale, empty = track(slider, 13.5), QColor(LIGHT.border)
    assert pale not in (empty, QColor(LIGHT.accent))
    slider.setValue(5)
    assert (track(slider, 7.5), track(slider, 13.5)) == (pale, empty)
    slider.setValue(8)
    assert track(slider, 13.5) == empty, "a full window holds nothing beyond"


@pytest.mark.parametrize(
    ("compiled", "k", "words"),
    [
        ((), 5, ""),
        (COMPILED, 5, "k 5 runs in the compiled window of 8: up to k 8 a pass of the target costs the same."),
        (COMPILED, 8, "k 8 fills a compiled window: nothing is padded."),
        ((1, 2, 64), 12, "k 12 runs in the compiled window of 64: up to k 16 a pass"),
        ((1, 2, 4), 6, "k 6 takes more than one pass: the longest compiled window is 4."),
    ],
)
def test_it_says_what_k_costs(slider: WindowSlider, compiled: tuple[int, ...], k: int, words: str) -> None:
    slider.set_compiled(compiled)
    slider.setValue(k)
    assert slider.compiled_words.startswith(words)
    assert bool(slider.compiled_words) == bool(words)
    told = QAccessible.queryAccessibleInterface(slider).text(QAccessible.Text.Description)
    assert told.removeprefix(DESCRIPTION).removeprefix(". ") == slider.compiled_words


def test_a_pair_brings_its_windows_and_the_tooltip_follows_k(stage: Stage) -> None:
    composer = stage.window.composer
    assert "compiled" not in composer.window_slider.toolTip()
    bare = stage.engine.capabilities
    stage.engine.capabilities = replace(bare, compiled_windows=COMPILED)
    stage.load()
    assert marked(composer.window_slider) == {2, 4, 8, 16}
    assert "k 5 runs in the compiled window of 8" in composer.window_slider.toolTip()
    stage.press(Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    assert "k 6 runs in the compiled window of 8" in composer.window_slider.toolTip()
    stage.click(composer.auto)
    assert "longest window that Auto" in composer.window_slider.toolTip()
    assert "k 6 runs" in composer.window_slider.toolTip()
    stage.engine.capabilities = bare
    stage.load()
    assert "compiled" not in composer.window_slider.toolTip()


def test_a_pair_runs_where_it_says_whatever_ran_before(stage: Stage) -> None:
    """Back from NeuronCores to the processor."""
    for neuron in (NeuronSettings(tp_degree=2), None):
        with stage.qtbot.waitSignal(stage.pairs.loaded):
            stage.pairs.load(replace(BUILTIN, neuron=neuron))
        assert stage.engine.loaded[-1].neuron == neuron


@pytest.mark.parametrize("width", [760, 879, 880, 900, 1000, 1280])
@pytest.mark.parametrize("auto", [False, True])
def test_no_control_is_cropped_at_any_width(stage: Stage, width: int, auto: bool) -> None:
    composer = stage.window.composer
    row = (composer.speculation, composer.window_slider, composer.auto, composer.button)

    def is_whole() -> bool:
        boxes = [widget.geometry() for widget in row]
        apart = all(one.right() < other.left() for one, other in pairwise(boxes))
        wide = all(widget.width() >= widget.minimumSizeHint().width() for widget in row)
        return wide and apart and boxes[-1].right() < composer.width()

    composer.auto.setChecked(auto)
    composer.show_used_window(4.4)
    stage.window.resize(width, 600)
    for running, word in ((False, "Send"), (True, "Stop")):
        composer.set_running(running)
        stage.qtbot.waitUntil(is_whole)
        assert composer.button.accessibleName() == word
        assert composer.button.text() == ("" if width in (880, 900) else word)
