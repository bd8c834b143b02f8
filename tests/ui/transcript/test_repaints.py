"""What a growing reply repaints: as little as changed, and never less."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPolygon, QRegion, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from chatapp.bench.repaint_meter import area
from chatapp.domain.events import EndReason
from chatapp.domain.record import RunRecord, TokenView
from chatapp.ui.display_mode import LOCAL, REMOTE, DisplayMode
from chatapp.ui.transcript import TranscriptView
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words
from tests.ui.transcript.hands import ShowTranscript, cells, picture

PROSE = "A fox went over the hill and under the bridge, then slept by the unbelievably quiet water. "
CODE = "Like this:\n```python\ndef f(n):\n    return n * (n - 1)\n\nprint(f(3))\n```\nIt prints 6.\n\nDone. "
ARABIC = "السلام عليكم abc ثم עברית abc ועוד ब्रह्म 🙂 q̣̈ "
MODES = pytest.mark.parametrize("mode", [LOCAL, REMOTE], ids=lambda mode: mode.name)


class Painted(QObject):
    """The regions that the transcript's viewport was asked to paint, one per paint event."""

    def __init__(self, view: TranscriptView) -> None:
        super().__init__()
        self.regions: list[QRegion] = []
        view.canvas.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent):
            self.regions.append(event.region())
        return False

    def take(self) -> list[int]:
        """Pixels of each paint since the last look."""
        taken = [area(region) for region in self.regions]
        self.regions.clear()
        return taken


def on_screen(view: TranscriptView) -> QImage:
    """What the screen has of the viewport: the window's backing store, not a picture made for the test."""
    QApplication.sendPostedEvents()
    store = view.window().backingStore()
    image = store.paintDevice()
    assert isinstance(image, QImage)
    viewport = view.canvas.viewport()
    return image.copy(QRect(viewport.mapTo(view.window(), QPoint()), viewport.size()))


def in_full(view: TranscriptView) -> QImage:
    """The same after everything was painted anew."""
    view.canvas.viewport().repaint()
    return on_screen(view)


def differing(one: QImage, other: QImage) -> QRect:
    """The box around the pixels in which two pictures differ."""
    places = [
        QPoint(x, y)
        for x in range(one.width())
        for y in range(one.height())
        if one.pixel(x, y) != other.pixel(x, y)
    ]
    return QPolygon(places).boundingRect()


def frames(view: TranscriptView, script: RunScript) -> Iterator[RunRecord]:
    """Streams a script, a frame per event."""
    record = RunRecord()
    view.begin_turn(script.prompt, record)
    for event in script.events:
        record.apply(event)
        view._paint_new()
        QApplication.sendPostedEvents()
        yield record


@MODES
@pytest.mark.parametrize("text", [PROSE * 12, CODE * 3, ARABIC * 8, "x" * 400 + " " + "y" * 300])
def test_after_every_frame_the_screen_shows_what_a_full_repaint_would(
    show: ShowTranscript, mode: DisplayMode, text: str
) -> None:
    view = show(width=460, height=300)
    view.set_display(mode)
    script = scripted_run(words(text), seed=5)
    for number, _record in enumerate(frames(view, script)):
        seen, whole = on_screen(view), in_full(view)
        assert seen == whole, (number, differing(seen, whole))


@MODES
def test_a_failed_reply_with_notices_leaves_nothing_behind(show: ShowTranscript, mode: DisplayMode) -> None:
    view = show(width=460, height=300)
    view.set_display(mode)
    script = RunScript().progress(10, 40).first("a").notice("draft_failed", "The draft failed.")
    for word in words(PROSE):
        script.plain(word)
    for number, _record in enumerate(frames(view, script.end(EndReason.FAILED, error="no memory"))):
        assert on_screen(view) == in_full(view), number


def test_a_token_repaints_itself_and_the_caret(show: ShowTranscript) -> None:
    view = show(width=700, height=500)
    painted = Painted(view)
    script = RunScript().first("One")
    for word in words(" two three four five six seven eight"):
        script.plain(word)
    streamed = frames(view, script)
    sizes = [sum(painted.take()) for _ in streamed]
    line = view.canvas.column_width * view.canvas.style_now.body.pitch
    assert max(sizes[3:]) < line / 4
    assert sizes[3] == 0  # the draft's prefill changes nothing on screen


def test_the_remote_mode_moves_all_text_once_in_many_lines(show: ShowTranscript) -> None:
    """And paints as often as the local one otherwise: the clock that makes frames rare is the view's."""
    moved: dict[str, int] = {}
    painted_px: dict[str, int] = {}
    for mode in (LOCAL, REMOTE):
        view = show(width=460, height=400)
        view.set_display(mode)
        script = scripted_run(words(PROSE * 12), seed=5, ended=False)
        painted = Painted(view)
        places = [view.canvas.scroll_y for _ in frames(view, script)]
        moved[mode.name] = sum(1 for one, next_one in itertools.pairwise(places) if one != next_one)
        painted_px[mode.name] = sum(painted.take())
    assert moved["remote"] <= moved["local"] / 5
    assert painted_px["remote"] < painted_px["local"] / 2


def test_while_a_reply_grows_the_end_is_ahead_and_then_it_settles(show: ShowTranscript) -> None:
    view = show(width=460, height=400)
    view.set_display(REMOTE)
    pitch = view.canvas.style_now.body.pitch
    bar = view.canvas.verticalScrollBar()
    script = scripted_run(words(PROSE * 12), seed=5)
    for record in frames(view, script):
        assert bar.value() == bar.maximum()
        assert bar.value() % pitch == 0
        if record.ended is None and bar.value():
            caret = view.canvas.items[-1].caret_box.translated(view.canvas.origin_of(0))
            assert caret.bottom() <= view.canvas.viewport().height()
    end = view.canvas.origin_of(0).y() + view.canvas.items[0].height
    assert 0 <= view.canvas.viewport().height() - end < 2 * pitch


@pytest.mark.parametrize("places", [(0, 7), (100, 131), (333, 350)])
def test_every_way_of_scrolling_stops_at_whole_lines(show: ShowTranscript, places: tuple[int, int]) -> None:
    view = show(conversation(scripted_run(words(PROSE * 30), seed=5).turn()), height=300)
    view.set_display(REMOTE)
    bar, pitch = view.canvas._bar, view.canvas.style_now.body.pitch
    assert bar.maximum() % pitch == 0
    for place in places:
        bar.setSliderDown(True)
        bar.setSliderPosition(place)  # what a drag of the handle does
        assert bar.value() % pitch == 0
        assert abs(bar.value() - place) <= pitch / 2
        bar.setSliderDown(False)
    for key in (Qt.Key.Key_PageDown, Qt.Key.Key_PageUp, Qt.Key.Key_Down, Qt.Key.Key_Up):
        before = bar.value()
        QTest.keyClick(view.canvas, key)
        assert bar.value() % pitch == 0
        assert bar.value() != before
    view.canvas.reveal(QRect(0, -200, 10, 10))
    assert bar.value() % pitch == 0


def test_the_local_mode_scrolls_by_pixels(show: ShowTranscript) -> None:
    view = show(conversation(scripted_run(words(PROSE * 30), seed=5).turn()), height=300)
    bar = view.canvas.verticalScrollBar()
    bar.setSliderPosition(131)
    assert bar.value() == 131


def test_a_touchpad_adds_its_small_turns_up_to_lines(show: ShowTranscript) -> None:
    view = show(conversation(scripted_run(words(PROSE * 30), seed=5).turn()), height=300)
    view.set_display(REMOTE)
    bar, pitch = view.canvas._bar, view.canvas.style_now.body.pitch
    start = bar.value()
    places = []
    for _ in range(24):
        turn(view, 5)
        places.append(bar.value())
    assert all(place % pitch == 0 for place in places)
    assert start - places[-1] == QApplication.wheelScrollLines() * 2 * pitch  # 24 × 5 is one notch
    assert len(set(places)) > 3
    turn(view, -120)
    assert bar.value() == start


def turn(view: TranscriptView, angle: int) -> None:
    at = QPointF(view.canvas.viewport().rect().center())
    event = QWheelEvent(
        at,
        view.canvas.viewport().mapToGlobal(at),
        QPoint(),
        QPoint(0, angle),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view.canvas.viewport(), event)


@MODES
def test_hovering_repaints_the_tokens_alone(show: ShowTranscript, mode: DisplayMode) -> None:
    view = show(conversation(scripted_run(words(PROSE * 6), seed=5).turn()))
    view.set_display(mode)
    record = view.canvas.items[0].record
    QApplication.sendPostedEvents()
    painted = Painted(view)
    whole = view.canvas.viewport().width() * view.canvas.viewport().height()
    for token in (record.tokens()[-3], record.tokens()[-20], record.tokens()[-21]):
        view.canvas._hover((0, token))
        QApplication.sendPostedEvents()
        assert 0 < sum(painted.take()) < whole / 20
        assert on_screen(view) == in_full(view)
        painted.take()
    view.canvas.stop_hovering()
    QApplication.sendPostedEvents()
    assert on_screen(view) == in_full(view)


def test_the_remote_mode_marks_the_hovered_token_without_its_step(show: ShowTranscript) -> None:
    view = show(demo_conversation())
    record = view.canvas.items[-1].record
    token = next(view_ for view_ in record.tokens() if view_.position == 1)
    before = token_ground(view, record.tokens(token.index - 1)[0])
    view.canvas._hover((len(view.canvas.items) - 1, token))
    assert token_ground(view, record.tokens(token.index - 1)[0]) != before
    view.set_display(REMOTE)
    view.canvas._hover((len(view.canvas.items) - 1, token))
    assert token_ground(view, record.tokens(token.index - 1)[0]) == before
    assert token_ground(view, token) != before


def token_ground(view: TranscriptView, token: TokenView) -> str:
    """The colour behind a token, at its cell's upper edge."""
    box = view.canvas.token_box(len(view.canvas.items) - 1, token)
    return picture(view).pixelColor(box.center().x(), box.top() + 5).name()


def test_waiting_moves_on_a_local_screen_only(show: ShowTranscript) -> None:
    view = show()
    view.begin_turn("hello", RunRecord())
    assert view.canvas._pulse_timer.isActive()
    QApplication.sendPostedEvents()
    painted = Painted(view)
    view.canvas._on_pulse()
    QApplication.sendPostedEvents()
    assert sum(painted.take()) <= view.canvas.viewport().width() * (view.canvas.style_now.body.pitch + 2)
    view.set_display(REMOTE)
    assert not view.canvas._pulse_timer.isActive()
    view.set_display(LOCAL)
    assert view.canvas._pulse_timer.isActive()


def test_nothing_shines_through_in_the_remote_mode(show: ShowTranscript) -> None:
    view = show(demo_conversation())
    assert view.canvas.style_now.veil("#ff0000", 0.3).alphaF() < 1.0
    view.set_display(REMOTE)
    style = view.canvas.style_now
    assert style.veil("#ff0000", 0.3).alphaF() == 1.0
    assert view.card.testAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
    assert view.canvas.viewport().testAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
    assert "border-radius: 0px" in view.jump_button.styleSheet()
    token = view.canvas.items[-1].record.tokens(2)[0]
    view.card.show_token(view.canvas.items[-1].record, token, QRect(100, 100, 30, 20))
    card = QImage(view.card.size(), QImage.Format.Format_ARGB32_Premultiplied)
    card.fill(Qt.GlobalColor.transparent)
    painter = QPainter(card)
    view.card.render(painter, QPoint(), QRegion(), QWidget.RenderFlag.DrawChildren)
    painter.end()
    assert (
        min(card.pixelColor(x, y).alpha() for x in range(card.width()) for y in range(card.height())) == 255
    )


def test_a_switch_in_the_middle_of_a_reply_keeps_the_text_and_the_end(show: ShowTranscript) -> None:
    script = scripted_run(words(PROSE * 12), seed=5)
    view, opened = show(height=400), show(conversation(script.turn()), height=400)
    for number, _record in enumerate(frames(view, script)):
        if number % 7 == 3:
            view.set_display(REMOTE if view.display is LOCAL else LOCAL)
            bar = view.canvas.verticalScrollBar()
            assert bar.value() == bar.maximum()
    view.set_display(LOCAL)
    assert cells(view) == cells(opened)
    assert picture(view) == picture(opened)


@MODES
def test_frames_come_at_the_modes_clock(show: ShowTranscript, mode: DisplayMode) -> None:
    view = show()
    view.set_display(mode)
    view.begin_turn("hello", RunRecord())
    view.record_changed()
    assert mode.clocks.text_ms - 20 <= view._frame.interval() <= mode.clocks.text_ms
