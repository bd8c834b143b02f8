"""neuron-monitor as a running process: started once, its reports read as they come, ended with its reader.

It is asked for one report per second. A monitor that dies or talks nonsense is started again after a while, and given up after
a few times. Nothing here blocks. This module must not know threads, nor what is done with a report.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from chatapp.library.host.commands import MOST_BYTES, NOT_INSTALLED, end
from chatapp.library.host.machine import Host
from chatapp.library.host.neuron_tools import MONITOR_CONFIG, MonitorReport, ToolNonsense, parse_monitor

NAME = "neuron-monitor"
CHUNK_BYTES = 1 << 16
AGAIN_AFTER_S = 30.0
STALE_AFTER_S = 5.0
MOST_STARTS = 3


class NeuronMonitor:
    """`report` is the newest while it is fresh, `trouble` says in a few words why there is none. Times are seconds of any clock
    that only goes forward."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._starts = 0
        self._next_start_s = 0.0
        self._report: MonitorReport | None = None
        self._heard_s = 0.0
        self._config: Path | None = None
        self.trouble = "" if host.commands.find(NAME) else NOT_INSTALLED

    @property
    def pipe(self) -> int | None:
        """What to wait on; None while nothing runs."""
        return (
            None if self._process is None or self._process.stdout is None else self._process.stdout.fileno()
        )

    def report(self, now_s: float) -> MonitorReport | None:
        """The newest report, None when there is none or it is stale."""
        if self._report is not None and now_s - self._heard_s > STALE_AFTER_S:
            self.trouble = f"silent for {now_s - self._heard_s:.0f} s"
            return None
        return self._report

    def start_if_due(self, now_s: float) -> None:
        """Start it, or again after it broke."""
        due = self._process is None and now_s >= self._next_start_s and self._starts < MOST_STARTS
        if not due or self.trouble == NOT_INSTALLED:
            return
        self._starts += 1
        self._next_start_s = now_s + AGAIN_AFTER_S
        self._heard_s = now_s
        try:
            command = [NAME, "-c", str(self._config_file())]
            self._process = self._host.commands.start(command, with_errors=False)
        except OSError as error:
            self.trouble = f"cannot be started: {error.strerror}"

    def hear(self, now_s: float) -> None:
        """Read what has come; call it when `pipe` can be read."""
        if self.pipe is None:
            return
        chunk = os.read(self.pipe, CHUNK_BYTES)
        if not chunk:
            self._break_off("ended by itself")
            return
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        if len(self._buffer) > MOST_BYTES:
            self._break_off("prints without end")
        for line in lines:
            self._take(line, now_s)

    def _take(self, line: bytes, now_s: float) -> None:
        if not line.strip():
            return
        try:
            self._report = parse_monitor(line.decode("utf-8", "replace"))
        except ToolNonsense as nonsense:
            self._break_off(str(nonsense))
            return
        self._heard_s = now_s
        self._starts = 1  # it works; what comes later is not held against it
        self.trouble = self._report.errors[0] if self._report.errors else ""

    def _break_off(self, trouble: str) -> None:
        self._end_process()
        self._report = None
        self.trouble = trouble

    def _end_process(self) -> None:
        if self._process is not None:
            end(self._process)
        self._process = None
        self._buffer = b""

    def _config_file(self) -> Path:
        if self._config is None:
            handle, name = tempfile.mkstemp(prefix="chatapp-monitor-", suffix=".json")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(MONITOR_CONFIG, file)
            self._config = Path(name)
        return self._config

    def close(self) -> None:
        """End the process and remove its configuration."""
        self._end_process()
        if self._config is not None:
            self._config.unlink(missing_ok=True)
            self._config = None
