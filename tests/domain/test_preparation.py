"""The words of a preparation, and its lines of JSON among those of the libraries."""

from __future__ import annotations

import pytest

from chatapp.domain.preparation import (
    Message,
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    Stage,
    duration,
    from_line,
    remaining,
    to_line,
)

PROGRESS = PreparationProgress("target", Stage.COMPILING, 7, 11, 7, 15, 190.4, 222.0)


def test_a_progress_says_counts_time_and_estimate() -> None:
    assert PROGRESS.headline == "7 of 15 graphs, 3 min 10 s, about 4 min left"
    assert PROGRESS.detail == "Target: compiling, graph 7 of 11 done"


def test_without_an_estimate_none_is_said_and_the_simulated_device_always_is() -> None:
    told = PreparationProgress("draft", Stage.WEIGHTS, 3, 16, 0, 1, 5.0, simulated=True)
    assert told.headline == "0 of 1 graph, 5 s"
    assert told.detail == "Draft: reading the weights, layer 3 of 16 (simulated device)"
    assert PreparationDone(2, 3, 61, simulated=True).words.startswith(
        "Prepared 3 graphs for the simulated device"
    )


@pytest.mark.parametrize(
    ("seconds", "spent", "left"),
    [
        (0, "0 s", "less than a minute left"),
        (59.9, "59 s", "less than a minute left"),
        (61, "1 min 1 s", "about 2 min left"),
        (3599, "59 min 59 s", "about 1 h 00 min left"),
        (4800, "1 h 20 min", "about 1 h 20 min left"),
    ],
)
def test_times_are_told_as_finely_as_they_are_known(seconds: float, spent: str, left: str) -> None:
    assert duration(seconds) == spent
    assert remaining(seconds) == left


@pytest.mark.parametrize(
    "message",
    [
        PROGRESS,
        PreparationDone(4, 15, 700.0),
        PreparationStopped("4 of 15 graphs.", "Start it again."),
        PreparationFailed("The disk is full.", "Nothing.", "Make room."),
    ],
)
def test_every_message_comes_back_from_its_line(message: Message) -> None:
    line = to_line(message)
    assert "\n" not in line
    assert from_line(line) == message


@pytest.mark.parametrize(
    "line",
    [
        "..... Compiler status PASS",
        '{"kind": "progress"}',
        '{"from": "chatapp prepare", "kind": "progress"}',
        '{"from": "chatapp prepare", "kind": "song"}',
        "[1, 2]",
        "",
    ],
)
def test_what_libraries_write_is_no_message(line: str) -> None:
    assert from_line(line) is None
