"""Prepares a pair in a process of its own: an implementation of `ports.PreparationPort` over `chatapp prepare`.

Compilation forks, traces for minutes under the interpreter's lock and takes the device: none of that may happen in the process
of the window. The other process tells what it does in lines of JSON; it is asked to stop by SIGTERM, and is never left behind:
whoever stops iterating, by cancellation too, ends it. Must not know how graphs are made.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairLocation
from chatapp.domain.preparation import (
    Message,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    from_line,
)

STOP_PATIENCE_S = 10.0
"""A process that does not end this long after it was asked to is killed; what it has finished is on disk either way."""
LAST_LINES = 6
GO_ON = "Prepare the pair again to go on."
NOT_COMPILED_TWICE = "Graphs that were finished are kept."


class PreparationRun:
    """Implements `ports.PreparationHandle`. Iterate once; the last message is never a `PreparationProgress`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._asked = False

    @property
    def process_id(self) -> int | None:
        """None before it was started."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Once is enough: the process is cleaning up then."""
        self._stopping = True
        if self._process is not None and not self._asked:
            self._asked = True
            with suppress(ProcessLookupError):
                self._process.terminate()

    async def __aiter__(self) -> AsyncIterator[Message]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            yield PreparationFailed(
                f"The process that prepares could not be started: {error.strerror}.",
                remedy="Run `chatapp prepare` in a terminal.",
            )
            return
        self._process = process
        if self._stopping:
            self.stop()
        last: Message | None = None
        others: deque[str] = deque(maxlen=LAST_LINES)
        try:
            async for line in _lines(process):
                message = from_line(line)
                if message is None:
                    others.append(line.strip())
                else:
                    last = message
                    yield message
            status = await process.wait()
        finally:
            await _end(process)
        if last is None or isinstance(last, PreparationProgress):
            yield (PreparationStopped(NOT_COMPILED_TWICE, GO_ON) if self._stopping else _died(status, others))


class PreparationClient:
    """Implements `ports.PreparationPort`."""

    def start(self, pair: PairLocation) -> PreparationRun:
        return PreparationRun(preparation_command(pair))


def preparation_command(pair: PairLocation) -> list[str]:
    """What a person would type in a terminal, and `--json-progress`."""
    own = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "chatapp"]
    models = ["--target", str(pair.target)]
    if pair.draft is not None:
        models += ["--draft", str(pair.draft)]
    return [*own, "prepare", *models, *neuron_options(pair.neuron or NeuronSettings()), "--json-progress"]


def neuron_options(settings: NeuronSettings) -> list[str]:
    """The options of the command line that say the same."""
    options = ["--neuron", settings.library, "--context", str(settings.positions)]
    if settings.tp_degree:
        options += ["--tp", str(settings.tp_degree)]
    if settings.artefacts is not None:
        options += ["--artefacts", str(settings.artefacts)]
    if settings.rehearse:
        options += ["--rehearse", settings.rehearse]
    return options


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        yield line.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Returns when the process is gone."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
    except asyncio.TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _died(status: int, last_lines: Sequence[str]) -> PreparationFailed:
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    said = f" Its last words: {' / '.join(last_lines)}" if last_lines else ""
    return PreparationFailed(
        f"The process that prepares {how}.{said}",
        NOT_COMPILED_TWICE,
        "Prepare again; if it happens again, run `chatapp prepare` in a terminal and look at what it says.",
    )
