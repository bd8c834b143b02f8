"""The process that prepares, as the window's side sees it: its messages, its end, and that it never stays behind."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.commands import prepare
from chatapp.commands.neuron_arguments import neuron_settings
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.preparation import (
    Message,
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    Stage,
    to_line,
)
from chatapp.resources import builtin_pair
from chatapp.service import preparation
from chatapp.service.preparation import PreparationClient, PreparationRun, preparation_command

PROGRESS = PreparationProgress("target", Stage.COMPILING, 1, 3, 1, 3, 2.0)
STOPPED = PreparationStopped("1 of 3 graphs are kept.", "The same command goes on from there.")
SAYS = f"print({to_line(PROGRESS)!r}, flush=True)"
STOPS = f"""
import signal, sys
def stop(*_):
    print({to_line(STOPPED)!r}, flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print({to_line(PROGRESS)!r}, flush=True)
signal.pause()
"""
DEAF = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print({to_line(PROGRESS)!r}, flush=True)
while True:
    signal.pause()
"""


def program(source: str) -> PreparationRun:
    return PreparationRun([sys.executable, "-S", "-c", source])


async def heard(run: PreparationRun) -> list[Message]:
    return [message async for message in run]


def test_a_pair_is_prepared_by_a_process_of_its_own(tmp_path: Path) -> None:
    settings = NeuronSettings(tp_degree=2, positions=128, artefacts=tmp_path / "n", rehearse="inf2.xlarge")
    pair = replace(builtin_pair(), neuron=settings)
    told = asyncio.run(heard(PreparationClient().start(pair)))
    assert {type(message) for message in told[:-1]} == {PreparationProgress}
    assert isinstance(told[-1], PreparationDone)
    assert told[-1].graphs_compiled == told[-1].graphs_total == 10


def test_stopping_asks_the_process_and_gives_its_last_word() -> None:
    async def stop_after_first() -> list[Message]:
        run = program(STOPS)
        told = []
        async for message in run:
            told.append(message)
            run.stop()
        return told

    assert asyncio.run(stop_after_first()) == [PROGRESS, STOPPED]


def test_stopping_before_it_began_is_stopping() -> None:
    async def stopped_at_once() -> list[Message]:
        run = program(STOPS)
        run.stop()
        return await heard(run)

    assert isinstance(asyncio.run(stopped_at_once())[-1], PreparationStopped)


def test_a_process_that_dies_is_told_with_its_last_words() -> None:
    told = asyncio.run(heard(program(f"{SAYS}; raise SystemExit('the disk melted')")))
    assert told[0] == PROGRESS
    assert isinstance(told[1], PreparationFailed)
    assert "ended with status 1" in told[1].what
    assert "the disk melted" in told[1].what
    told = asyncio.run(heard(program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")))
    assert isinstance(told[0], PreparationFailed)
    assert "was ended by signal 9" in told[0].what


def test_a_process_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    (told,) = asyncio.run(heard(PreparationRun([str(tmp_path / "nothing")])))
    assert isinstance(told, PreparationFailed)
    assert "could not be started" in told.what


@pytest.mark.parametrize("source", [STOPS, DEAF])
def test_who_is_cancelled_leaves_no_process(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "STOP_PATIENCE_S", 0.0)

    async def cancelled() -> int:
        run, begun = program(source), asyncio.Event()

        async def follow() -> None:
            async for _ in run:
                begun.set()

        task = asyncio.ensure_future(follow())
        await begun.wait()
        assert run.process_id is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return run.process_id

    with pytest.raises(ProcessLookupError):
        os.kill(asyncio.run(cancelled()), 0)


@pytest.mark.parametrize(
    "settings",
    [
        NeuronSettings(rehearse="trn1.32xlarge"),
        NeuronSettings("nxdi", 8, 4096),
        NeuronSettings("tnx", 24, artefacts=Path("/data/neuron")),
    ],
)
def test_the_command_says_what_the_pair_says(settings: NeuronSettings) -> None:
    pair = replace(builtin_pair(), neuron=settings)
    parser = argparse.ArgumentParser()
    prepare.add_arguments(parser)
    command = preparation_command(pair)
    args = parser.parse_args(command[command.index("prepare") + 1 :])
    assert neuron_settings(args) == settings
    assert (args.target, args.draft, args.json_progress) == (pair.target, pair.draft, True)
