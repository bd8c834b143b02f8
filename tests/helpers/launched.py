"""`chatapp` commands as processes of their own, quickly: each is forked from one that has torch imported.

A process started afresh spends two seconds on imports. These are as real: own pid, own signals, own output.

`Gate` puts a test's hand on the emulated compiler: ALLOWED graphs are compiled, and with the next one happens what MODE says.

    hold      the compiler starts a process of its own and waits for ever; both their ids are in `Gate.held`
    killed    the compiling process is killed
    abandon   the process that prepares is killed
    fail      the compiler fails, with a word in its log
    full      the disk is full: the graph's file is a link to /dev/full
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, GenerationMixin, PreTrainedTokenizerFast

from chatapp import cli
from chatapp.commands import prepare
from chatapp.engine.backends import emulator

IMPORTED = (AutoConfig, GenerationMixin, PreTrainedTokenizerFast, prepare)
"""What every command would spend its first second on."""
COMPILER = "import signal; signal.pause()"


@dataclass(frozen=True, slots=True)
class Gate:
    """`folder` is empty at first; each compiled graph leaves a file in it. `artefacts` is where they go."""

    mode: str
    allowed: int
    folder: Path
    artefacts: Path

    @property
    def held(self) -> Path:
        return self.folder.with_suffix(".held")

    def __call__(self, _tag: str, name: str) -> None:
        """Before a graph is compiled, in the compiling process."""
        if len(list(self.folder.iterdir())) < self.allowed:
            (self.folder / name).touch()
        elif self.mode == "hold":
            compiler = subprocess.Popen([sys.executable, "-S", "-c", COMPILER])
            half = self.folder.with_suffix(".half")
            half.write_text(f"{os.getpid()} {compiler.pid}")
            half.rename(self.held)
            signal.pause()
        elif self.mode == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.mode == "abandon":
            os.kill(os.getppid(), signal.SIGKILL)
        elif self.mode == "fail":
            os.write(1, b"[ERROR] the compiler's own words\n")
            raise RuntimeError("Failed compilation with ['neuronx-cc', 'compile']")
        elif self.mode == "full":
            (partial,) = self.artefacts.glob("*.partial")
            (partial / name).with_suffix(".writing").symlink_to("/dev/full")


class Launched:
    """A running command. Read `lines` to the end before `status`."""

    def __init__(self, folder: Path, arguments: Sequence[str], gate: Gate | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["chatapp.engine.backends.neuron.sides", "tests.helpers.launched"])
        place = len(list(folder.glob("*.out")))
        pipe, self._errors = folder / f"{place}.out", folder / f"{place}.err"
        os.mkfifo(pipe)
        self._process = context.Process(target=_run, args=(pipe, self._errors, tuple(arguments), gate))
        self._process.start()
        self._out = pipe.open(encoding="utf-8")

    def lines(self) -> Iterator[str]:
        """What it writes, as it comes."""
        for line in self._out:  # noqa: UP028 - `yield from` would close the file when its reader breaks off
            yield line

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def status(self) -> int:
        """Waits for the end; what was not read is lost."""
        self._out.close()
        self._process.join()
        code = self._process.exitcode
        self._process.close()
        assert code is not None
        return code

    @property
    def errors(self) -> str:
        return self._errors.read_text(encoding="utf-8")


def _run(pipe: Path, errors: Path, arguments: Sequence[str], gate: Gate | None) -> None:
    """In the new process."""
    for number, descriptor in (
        (1, os.open(pipe, os.O_WRONLY)),
        (2, os.open(errors, os.O_WRONLY | os.O_CREAT)),
    ):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    emulator.behaviour.compile_hook = gate
    status = cli.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
