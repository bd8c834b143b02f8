"""What a long run leaves behind: a log of JSON lines, a line on the terminal, and files written whole.

It must not know what is being trained.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import torch

Clock = Callable[[], float]


class Log:
    """Appends JSON lines to a file and says the same in short on the terminal."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def write(self, event: str, say: str, **values: object) -> None:
        """One line for the file, ``say`` for a person."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": now, "event": event, **values}) + "\n")
        print(f"{now[11:]}  {say}", flush=True)


def save_whole(state: Mapping[str, object], path: Path) -> None:
    """``torch.save`` that leaves either the old file or the new one, never half of one."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


class StopSignal:
    """Turns SIGTERM and SIGINT into a flag, so that a run can save before it ends."""

    def __init__(self) -> None:
        self.raised = False

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._raise) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        print("stopping after this step", file=sys.stderr, flush=True)
        self.raised = True
