"""What the tests of the transcript share: pictures, cells, places, and a stream of real events."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from chatapp.domain.record import RunRecord, TokenView
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript import TranscriptView
from chatapp.ui.transcript.lines import Cell
from tests.helpers.records import RunScript

ShowTranscript = Callable[..., TranscriptView]


def picture(view: TranscriptView) -> QImage:
    return view.canvas.viewport().grab().toImage()


def middle_of(view: TranscriptView, token: TokenView, turn: int = -1) -> QPoint:
    turn = turn % len(view.canvas.items)
    return view.canvas.token_box(turn, token).center()


def token_where(record: RunRecord, kind: TokenKind) -> TokenView:
    return next(view for view in record.tokens() if view.kind is kind and view.token.text.strip())


def stream(view: TranscriptView, script: RunScript, qtbot: QtBot, *, each: bool = False) -> RunRecord:
    """Send the script's events through a new turn; `each`: a frame per event."""
    record = RunRecord()
    view.begin_turn(script.prompt, record)
    for event in script.events:
        record.apply(event)
        view.record_changed()
        if each:
            settle(view, qtbot)
    settle(view, qtbot)
    return record


def settle(view: TranscriptView, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not view._frame.isActive())


def cells(view: TranscriptView, turn: int = -1) -> list[tuple[int, str, Cell]]:
    paragraphs = view.canvas.items[turn].reply.paragraphs
    return [
        (number, paragraph.block.shown[cell.run.shown_start : cell.run.shown_end], cell)
        for number, paragraph in enumerate(paragraphs)
        for line in paragraph.lines
        for cell in line.cells
    ]
