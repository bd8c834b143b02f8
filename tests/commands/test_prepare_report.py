"""What `chatapp prepare` says at its end."""

from __future__ import annotations

import pytest

from chatapp.commands.prepare_report import closing_words
from chatapp.domain.preparation import PreparationFailed, PreparationStopped


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (PreparationStopped("", "Go on."), "Stopped. Go on."),
        (PreparationStopped("1 is kept.", "Go on."), "Stopped. 1 is kept. Go on."),
        (PreparationFailed("No room.", remedy="Make some."), "chatapp: No room. Make some."),
    ],
)
def test_the_last_words_have_no_gap(message: PreparationStopped | PreparationFailed, said: str) -> None:
    assert closing_words(message) == said
