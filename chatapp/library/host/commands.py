"""Runs other people's tools so that none of them can hang, flood or crash the program that asks.

This module must not know what any tool prints.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ANSWER_S = 5.0
END_S = 2.0
MOST_BYTES = 4 << 20
CHUNK_BYTES = 1 << 16
NOT_INSTALLED = "not installed"
STOP = "stopped"


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a tool. `trouble` is empty when it ended by itself, or said the one line that was asked for; then `status`
    is its exit status (0 for one line). Otherwise it says in a few words what went wrong, and `status` is None."""

    output: str = ""
    errors: str = ""
    status: int | None = None
    trouble: str = ""

    @property
    def good(self) -> bool:
        return not self.trouble and self.status == 0

    @property
    def why(self) -> str:
        """Why it is not good, in a few words."""
        if self.trouble:
            return self.trouble
        said = (self.errors.strip() or self.output.strip()).splitlines()
        return f"exit status {self.status}" + (f": {said[0][:160]}" if said else "")


class CommandRunner:
    """Finds tools on `path` (as in `PATH`) and runs them with `environ`, without a terminal and in a session of their own.

    `patience_s` is how long a tool may take to answer."""

    def __init__(self, path: str, environ: Mapping[str, str], patience_s: float = ANSWER_S) -> None:
        self._path = path
        self._patience_s = patience_s
        # Tools translate and colour what they print; ours is read by a program.
        self._environ = {**environ, "PATH": path, "LC_ALL": "C", "NO_COLOR": "1"}

    def find(self, name: str) -> str | None:
        """The full path of a tool; None when it is not there."""
        return shutil.which(name, path=self._path)

    def start(self, arguments: Sequence[str], *, with_errors: bool = True) -> subprocess.Popen[bytes]:
        """Start a tool whose output is a pipe, and with `with_errors` its error output too. Raises `OSError`."""
        return subprocess.Popen(
            [self.find(arguments[0]) or arguments[0], *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if with_errors else subprocess.DEVNULL,
            env=self._environ,
            start_new_session=True,
        )

    def run(
        self,
        *arguments: str,
        first_line: bool = False,
        stop: socket.socket | None = None,
    ) -> Ran:
        """Run to the end, or with `first_line` to the end of the first line, of a tool that would go on for ever. Comes back
        at once when something can be read from `stop`, which stays unread."""
        if self.find(arguments[0]) is None:
            return Ran(trouble=NOT_INSTALLED)
        try:
            process = self.start(arguments)
        except OSError as error:
            return Ran(trouble=f"cannot be started: {error.strerror}")
        try:
            return _listen(process, self._patience_s, first_line, stop)
        finally:
            end(process)


def _listen(
    process: subprocess.Popen[bytes], patience_s: float, first_line: bool, stop: socket.socket | None
) -> Ran:
    assert process.stdout is not None
    assert process.stderr is not None
    heard: dict[str, bytearray] = {"output": bytearray(), "errors": bytearray()}
    deadline = time.monotonic() + patience_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "output")
        selector.register(process.stderr, selectors.EVENT_READ, "errors")
        if stop is not None:
            selector.register(stop, selectors.EVENT_READ, STOP)
        speaking = 2
        while speaking:
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                return _ran(heard, trouble=f"no answer within {patience_s:g} s")
            if any(key.data is STOP for key, _ in ready):
                return _ran(heard, trouble=STOP)
            for key, _ in ready:
                chunk = os.read(key.fd, CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                    speaking -= 1
                heard[key.data] += chunk
            if first_line and b"\n" in heard["output"]:
                heard["output"] = heard["output"][: heard["output"].index(b"\n")]
                return _ran(heard, status=0)
            if sum(map(len, heard.values())) > MOST_BYTES:
                return _ran(heard, trouble="prints without end")
    try:
        status = process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        return _ran(heard, trouble=f"no answer within {patience_s:g} s")
    return _ran(heard, status=status)


def _ran(heard: Mapping[str, bytearray], *, status: int | None = None, trouble: str = "") -> Ran:
    output, errors = (heard[name].decode("utf-8", "replace") for name in ("output", "errors"))
    return Ran(output, errors, status, trouble)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a started tool and all that it started, and collect it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(
        subprocess.TimeoutExpired
    ):  # it changed its user, and may not be killed by this one
        process.wait(END_S)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
