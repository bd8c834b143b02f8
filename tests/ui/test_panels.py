from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QLineEdit

from chatapp.domain.record import RunRecord, TokenView
from chatapp.domain.tokens import TokenKind
from chatapp.ui.panels.sampling.stop_field import format_stops, parse_stops
from chatapp.ui.panels.token_card import CHANCES, PLACE, PROPOSAL, TEST
from tests.helpers.records import demo_conversation
from tests.ui.stage import Stage


def _retype(stage: Stage, edit: QLineEdit, text: str) -> None:
    edit.setFocus()
    edit.selectAll()
    stage.qtbot.keyClicks(edit, text)


def test_sampling_goes_into_the_request(stage: Stage) -> None:
    card = stage.window.panel.sampling
    stage.window.panel.show_page(1)
    for name, text in (("temperature", "0.3"), ("top_k", "40"), ("max_tokens", "99")):
        _retype(stage, card.numbers[name].edit, text)
    card.stops.edit.setPlainText("END\n\\n\\n")
    stage.window.composer.edit.setFocus()
    stage.send_and_wait("Hello?")
    sampling = stage.engine.runs[-1].request.sampling
    assert (sampling.temperature, sampling.top_k, sampling.max_tokens) == (0.3, 40, 99)
    assert sampling.stop == ("END", "\n\n")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("temperature", "9", "temperature must lie in"),
        ("top_p", "0", "top_p"),
        ("top_k", "2.5", "whole number"),
    ],
)
def test_a_refused_value_stays_with_its_reason_and_nothing_is_sent(
    stage: Stage, name: str, text: str, said: str
) -> None:
    field = stage.window.panel.sampling.numbers[name]
    _retype(stage, field.edit, text)
    assert field.edit.text() == text
    assert said in field.error_text
    assert getattr(stage.window.sampling.settings, name) != float(text)
    stage.window.composer.edit.setFocus()
    stage.send("Hello?")
    assert said in stage.banner
    assert stage.box == "Hello?"
    assert stage.window.panel.page == 1
    _retype(stage, field.edit, "1")
    assert field.error_text == ""


def test_up_and_down_step_a_number(stage: Stage) -> None:
    field = stage.window.panel.sampling.numbers["temperature"]
    _retype(stage, field.edit, "0.7")
    stage.qtbot.keyClick(field.edit, Qt.Key.Key_Up)
    assert field.edit.text() == "0.75"
    assert stage.window.sampling.settings.temperature == 0.75


def test_each_reply_has_a_new_seed_until_it_is_kept(stage: Stage) -> None:
    stage.send_and_wait("One")
    stage.send_and_wait("Two")
    first, second = (run.request.sampling.seed for run in stage.engine.runs)
    assert first != second
    stage.window.panel.sampling.seed.keep.click()
    stage.send_and_wait("Three")
    assert stage.engine.runs[-1].request.sampling.seed == second
    stage.click(stage.window.panel.sampling.seed.roll)
    rolled = stage.window.sampling.settings.seed
    assert rolled != second
    assert stage.window.panel.sampling.seed.number.edit.text() == str(rolled)


def test_acceptors_come_from_the_engine_with_their_mark(stage: Stage) -> None:
    field = stage.window.panel.sampling.acceptor
    assert [field.box.itemData(i) for i in range(field.box.count())] == ["rejection", "coupled", "typical"]
    assert "lossless" in field.mark_text
    field.box.setCurrentIndex(2)
    assert field.mark_text.startswith("≈ lossy")
    stage.send_and_wait("Hello?")
    assert stage.engine.runs[-1].request.acceptor == "typical"
    _retype(stage, stage.window.panel.sampling.numbers["temperature"].edit, "0")
    assert field.mark_text.startswith("≈ lossy")
    field.box.setCurrentIndex(0)
    assert "greedy" in field.mark_text


def test_a_passing_wheel_scrolls_the_panel_and_changes_no_acceptor(stage: Stage) -> None:
    stage.window.panel.show_page(1)
    field = stage.window.panel.sampling.acceptor
    field.box.setFocus()
    place = QPointF(field.box.rect().center())
    turned = QWheelEvent(
        place,
        QPointF(field.box.mapToGlobal(place.toPoint())),
        QPoint(),
        QPoint(0, -240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(field.box, turned)
    assert stage.window.sampling.acceptor == "rejection"
    assert not turned.isAccepted()


def test_stop_strings_read_back_as_they_were_written() -> None:
    stops = ("a b", "\n\n", "\t", "\\n")
    assert parse_stops(format_stops(stops)) == stops
    assert parse_stops("\n\n") == ()


def _find(record: RunRecord, kind: TokenKind) -> TokenView:
    return next(view for view in record.tokens() if view.kind is kind)


def test_the_inspector_tells_a_correction(stage: Stage) -> None:
    record = demo_conversation().turns[0].record
    card = stage.window.panel.token
    view = _find(record, TokenKind.CORRECTION)
    stage.window.transcript.token_hovered.emit((record, view))
    assert view.rejected is not None
    assert card.token_text == "␣old"
    assert card.kind_text == "correction"
    assert card.shown(PLACE) == "token 5, step 1, 4 of k 5"
    assert f"target {view.token.target_prob:.4f}" in card.shown(CHANCES)
    assert card.shown(PROPOSAL).startswith("draft model: ␣the")
    assert f"{view.rejected.draft_prob:.4f}" in card.shown(PROPOSAL)
    assert card.shown(TEST).startswith("rejection, 0.7500 ≥ ")
    # Block verification judges windows: a draft has no threshold of its own.
    record.steps[view.step] = replace(record.steps[view.step], acceptor="block")
    stage.window.transcript.token_hovered.emit((record, view))
    assert card.shown(TEST) == "block, 0.7500"


def test_the_inspector_shows_dashes_where_no_draft_was(stage: Stage) -> None:
    record = demo_conversation().turns[0].record
    card = stage.window.panel.token
    stage.window.transcript.token_hovered.emit((record, _find(record, TokenKind.TARGET)))
    assert card.shown(CHANCES).endswith("draft –")
    assert card.shown(PROPOSAL) == "–"
    assert card.shown(TEST) == "–"


def test_a_selected_token_comes_back_when_the_pointer_leaves(stage: Stage) -> None:
    record = demo_conversation().turns[0].record
    first, other = record.tokens()[0], record.tokens()[1]
    transcript, card = stage.window.transcript, stage.window.panel.token
    transcript.token_selected.emit((record, first))
    transcript.token_hovered.emit((record, other))
    assert card.token_text == "␣lived"
    transcript.token_hovered.emit(None)
    assert card.token_text == "Mira"
    transcript.token_selected.emit(None)
    assert card.token_text != "␣lived"
    assert card.shown(PLACE) == "–"


def test_the_token_card_keeps_its_height(stage: Stage) -> None:
    card = stage.window.panel.token
    record = demo_conversation().turns[0].record
    empty = card.sizeHint().height()
    stage.window.transcript.token_hovered.emit((record, _find(record, TokenKind.CORRECTION)))
    assert card.sizeHint().height() == empty


def test_slider_snaps_to_the_stops_of_the_engine(stage: Stage) -> None:
    slider = stage.window.composer.window_slider
    slider.set_stops((1, 2, 4, 8))
    slider.setValue(4)
    stage.qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert slider.value() == 8
    stage.qtbot.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(1, slider.height() // 3))
    assert slider.value() == 2
    stage.qtbot.mouseClick(
        slider, Qt.MouseButton.LeftButton, pos=QPoint(round(slider._x_of(5)), slider.height() // 3)
    )
    assert slider.value() == 4
