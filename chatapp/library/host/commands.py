"""Runs other people's tools so that none of them can hang, flood or crash the program that asks.

This module must not know what any tool prints.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ANSWER_S = 5.0
MOST_BYTES = 4 << 20
CHUNK_BYTES = 1 << 16
NOT_INSTALLED = "not installed"


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
    """Finds tools on `path` (as in `PATH`) and runs them with `environ`, without a terminal and in a session of their own."""

    def __init__(self, path: str, environ: Mapping[str, str]) -> None:
        self._path = path
        # Tools translate and colour what they print; ours is read by a program.
        self._environ = {**environ, "PATH": path, "LC_ALL": "C", "NO_COLOR": "1"}

    def find(self, name: str) -> str | None:
        """The full path of a tool; None when it is not there."""
        return shutil.which(name, path=self._path)

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a tool whose output is a pipe. Raises `OSError`."""
        return subprocess.Popen(
            [self.find(arguments[0]) or arguments[0], *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environ,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout_s: float = ANSWER_S, first_line: bool = False) -> Ran:
        """Run to the end, or with `first_line` to the end of the first line, of a tool that would go on for ever."""
        if self.find(arguments[0]) is None:
            return Ran(trouble=NOT_INSTALLED)
        try:
            process = self.start(arguments)
        except OSError as error:
            return Ran(trouble=f"cannot be started: {error.strerror}")
        try:
            return _listen(process, timeout_s, first_line)
        finally:
            end(process)


def _listen(process: subprocess.Popen[bytes], timeout_s: float, first_line: bool) -> Ran:
    assert process.stdout is not None
    assert process.stderr is not None
    heard: dict[str, bytearray] = {"output": bytearray(), "errors": bytearray()}
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "output")
        selector.register(process.stderr, selectors.EVENT_READ, "errors")
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                return _ran(heard, trouble=f"no answer within {timeout_s:g} s")
            for key, _ in ready:
                chunk = os.read(key.fd, CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                heard[key.data] += chunk
            if first_line and b"\n" in heard["output"]:
                heard["output"] = heard["output"][: heard["output"].index(b"\n")]
                return _ran(heard, status=0)
            if sum(map(len, heard.values())) > MOST_BYTES:
                return _ran(heard, trouble="prints without end")
    try:
        status = process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        return _ran(heard, trouble=f"no answer within {timeout_s:g} s")
    return _ran(heard, status=status)


def _ran(heard: Mapping[str, bytearray], *, status: int | None = None, trouble: str = "") -> Ran:
    output, errors = (heard[name].decode("utf-8", "replace") for name in ("output", "errors"))
    return Ran(output, errors, status, trouble)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a started tool and all that it started, and collect it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
