"""What every test of the transcript needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from chatapp.domain.record import Conversation
from chatapp.ui.transcript import TranscriptView
from tests.ui.transcript.hands import ShowTranscript

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The offscreen platform says this whenever a widget with a size policy is shown; no code of ours can avoid it."""
    quiet = pytest.mark.qt_log_ignore("This plugin does not support propagateSizeHints", extend=True)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(quiet)


@pytest.fixture
def show(qtbot: QtBot) -> ShowTranscript:
    """Builds transcripts that are on screen: `show(conversation, width, height)`."""

    def build(shown: Conversation | None = None, width: int = 700, height: int = 500) -> TranscriptView:
        view = TranscriptView()
        qtbot.addWidget(view)
        view.resize(width, height)
        if shown is not None:
            view.set_conversation(shown)
        with qtbot.waitExposed(view):
            view.show()
        return view

    return build
