"""How `chatapp prepare` talks: one line that is rewritten on a terminal, plain lines elsewhere, lines of JSON for the window.

Libraries and the compiler write to the process's standard output and error; that goes to a log, so that the terminal stays
readable and no line of theirs comes between lines of ours. Must not know what is prepared.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from chatapp.domain.preparation import (
    Message,
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    to_line,
)

LOG_TAIL_BYTES = 1 << 18
CLEAR_LINE = "\r\x1b[2K"


class Reporter(Protocol):
    def progress(self, progress: PreparationProgress) -> None: ...

    def end(self, message: Message) -> None: ...


class JsonReporter:
    """Every message, each on a line of its own."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def progress(self, progress: PreparationProgress) -> None:
        print(to_line(progress), file=self._out, flush=True)

    def end(self, message: Message) -> None:
        print(to_line(message), file=self._out, flush=True)


class PlainReporter:
    """A line whenever something was finished, none for mere seconds: for logs and pipes. A failure goes to `errors`."""

    def __init__(self, out: TextIO, errors: TextIO) -> None:
        self._out = out
        self._errors = errors
        self._last: tuple[object, ...] = ()

    def progress(self, progress: PreparationProgress) -> None:
        now = (progress.role, progress.stage, progress.graphs_done)
        if now != self._last:
            self._last = now
            print(f"{progress.headline}; {progress.detail}", file=self._out, flush=True)

    def end(self, message: Message) -> None:
        out = self._errors if isinstance(message, PreparationFailed) else self._out
        print(closing_words(message), file=out, flush=True)


class TerminalReporter:
    """One line, rewritten. A failure goes to `errors`."""

    def __init__(self, out: TextIO, errors: TextIO) -> None:
        self._out = out
        self._errors = errors

    def progress(self, progress: PreparationProgress) -> None:
        width = shutil.get_terminal_size().columns - 1
        line = f"{progress.headline}; {progress.detail}"
        self._write(f"{CLEAR_LINE}{line if len(line) <= width else line[: width - 1] + '…'}")

    def end(self, message: Message) -> None:
        self._write(CLEAR_LINE)
        out = self._errors if isinstance(message, PreparationFailed) else self._out
        print(closing_words(message), file=out, flush=True)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def make_reporter(output: Output, *, json: bool) -> Reporter:
    out, errors = output.terminal, output.errors
    if json:
        return JsonReporter(out)
    return TerminalReporter(out, errors) if out.isatty() else PlainReporter(out, errors)


def closing_words(message: Message) -> str:
    """How it ended, for a person."""
    match message:
        case PreparationDone():
            return message.words
        case PreparationStopped():
            return " ".join(part for part in ("Stopped.", message.kept, message.remedy) if part)
        case PreparationFailed():
            parts = (message.what, message.kept, message.remedy)
            return f"chatapp: {' '.join(part for part in parts if part)}"
        case PreparationProgress():
            return message.headline


@dataclass(frozen=True, slots=True)
class Output:
    """`terminal` and `errors` are standard output and error as they were; `log` holds what everybody else writes meanwhile."""

    terminal: TextIO
    errors: TextIO
    log: Path

    def log_tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(file.tell() - LOG_TAIL_BYTES, 0))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


@contextmanager
def own_output(folder: Path) -> Iterator[Output]:
    """Standard output and error for us alone. Raises `OSError` where no log can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"prepare-{os.getpid()}.log"
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with (
        log.open("wb") as file,
        os.fdopen(os.dup(1), "w", encoding="utf-8") as terminal,
        os.fdopen(os.dup(2), "w", encoding="utf-8") as errors,
    ):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Output(terminal, errors, log)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in enumerate(kept, start=1):
                os.dup2(original, number)
                os.close(original)
