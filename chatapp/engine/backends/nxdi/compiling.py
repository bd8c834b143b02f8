"""Compiles the graphs of one model of neuronx-distributed-inference: in one process of its own, counted by the files it leaves.

The library compiles all graphs of a side in one call, says nothing meanwhile and keeps nothing of a call that was broken off:
what counts as finished is a whole side. How many graphs it compiles at once is its own choice. Must not know keys,
manifests or a screen.

Source: neuronx-distributed-inference 0.9, models/application_base.py (`compile`, `_save_configs_to_compiler_workdir`).
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.preparation import Stage
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.neuron.compiling import NEFF, TICK_S, Listener, worker_pool
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.nxdi.arguments import graphs_of
from chatapp.engine.backends.nxdi.library import make_application

WORK_VARIABLE = "BASE_COMPILE_WORK_DIR"
"""Where the library puts each graph while it is compiled, one folder per graph; /tmp/nxd_model without it."""

WORK = ".work"


@dataclass(frozen=True, slots=True)
class NxdiCompiler:
    """Implements `neuron.preparing.Compiler`; `settings` are resolved."""

    settings: NeuronSettings
    checkpoint: Checkpoint
    role: Role
    kind: str
    workers: int = 1
    """So that estimates add up, whatever the library does at once: a graph's time is its share of the whole."""

    @property
    def graphs(self) -> int:
        """One per bucket of prompts, and one per bucket of windows (target) or of single tokens (draft)."""
        found = graphs_of(self.settings, self.role)
        return len(found.context_buckets) + len(found.token_buckets)

    def compile(self, folder: Path, listener: Listener) -> int:
        """Fill `folder`, from the beginning. Raises what the library and the compiler raise, and lets KeyboardInterrupt
        through; then nothing of this side is finished."""
        _empty(folder)
        for left in folder.parent.glob(f"{folder.stem}.*{WORK}"):  # of a process that was killed
            shutil.rmtree(left)
        listener.stage(Stage.TRACING, 0, 0)
        # Beside the folder, not on a /tmp that may live in memory: compiled graphs of a large model are gigabytes.
        with TemporaryDirectory(prefix=f"{folder.stem}.", suffix=WORK, dir=folder.parent) as work:
            try:
                self._compile(folder, Path(work), listener)
            except BaseException:
                listener.graphs(0, self.graphs)
                raise
        listener.stage(Stage.SAVING, 0, 0)
        return self.graphs

    def _compile(self, folder: Path, work: Path, listener: Listener) -> None:
        begun = time.monotonic()
        with worker_pool(1) as pool:
            running = pool.submit(_compile_into, self.checkpoint, self.settings, self.role, folder, work)
            while not wait((running,), TICK_S).done:
                files = [path for path in work.rglob("*") if path.is_file()]
                if files:
                    done = sum(path.suffix == NEFF for path in files)
                    listener.graphs(min(done, self.graphs), self.graphs)
                listener.tick()
            running.result()
        listener.graphs(self.graphs, self.graphs)
        for _ in range(self.graphs):
            listener.compiled((time.monotonic() - begun) / self.graphs)


def _compile_into(
    checkpoint: Checkpoint, settings: NeuronSettings, role: Role, folder: Path, work: Path
) -> None:
    """In the process of the pool."""
    os.environ[WORK_VARIABLE] = str(work)
    make_application(checkpoint, settings, role).compile(str(folder))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
