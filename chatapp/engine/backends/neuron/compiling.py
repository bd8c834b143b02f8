"""Compiles the graphs of one model of transformers-neuronx: counted, each kept on disk at once, and stoppable.

The library's own `compile` waits in silence for a pool of as many processes as there are graphs, and keeps nothing of what
is ready when one of them fails or somebody stops it. Ours takes its place on one model: it runs as many at once as memory
allows, writes every graph to the folder when it is ready, under the name that `save` gives it, and finds it there again next
time. `new_layer` is counted the same way. Nothing is patched but the model at hand. Must not know keys, manifests or a screen.

Source: transformers_neuronx 0.13, base.py:39-98,766-797 (neuron-contract.md §1.5).
"""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from chatapp.domain.preparation import Stage

TICK_S = 1.0
"""How often something is said while nothing changes but the time."""
NAME_DIGITS = 20
NEFF = ".neff"
HALF_WRITTEN = ".writing"
PR_SET_PDEATHSIG = 1
"""prctl(2)."""
END_PATIENCE_S = 3.0


class Listener(Protocol):
    """Who is told. All calls come while the compilation runs, `tick` also from a second thread before graphs are compiled."""

    def stage(self, stage: Stage, done: int, total: int) -> None: ...

    def graphs(self, done: int, total: int) -> None: ...

    def compiled(self, seconds: float) -> None: ...

    def tick(self) -> None: ...


def compile_graphs(model: Any, folder: Path, workers: int, listener: Listener) -> int:
    """Compile every graph of `model`, which is built and not yet uploaded, into `folder`; returns how many there are.

    `workers` graphs are compiled at once, each in a process of its own. Nothing of the device is touched. Raises what the
    library and the compiler raise, `BrokenProcessPool` when one of the processes was killed, and lets KeyboardInterrupt
    through; finished graphs are in the folder either way.
    """
    _discard_half_written(folder)
    layers = int(model.config.num_hidden_layers)
    with _Loading(model, layers, listener).counted() as end_looking:

        def compile_in_place(parallel_degree: int | None = None) -> None:  # noqa: ARG001 - the library's signature
            end_looking()
            _compile(model._get_all_kernels(), folder, workers, listener)

        model.compile = compile_in_place
        model.cpu_compile()
    listener.stage(Stage.SAVING, 0, 0)
    model.save(str(folder))
    return len(model._get_all_kernels())


@contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """`tick` every second, from a thread of its own, for as long as the body runs or until what is given is called."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(TICK_S):
            tick()

    thread = threading.Thread(target=run, name="chatapp-prepare-ticks", daemon=True)

    def end() -> None:
        over.set()
        thread.join()

    thread.start()
    try:
        yield end
    finally:
        end()


class _Loading:
    """Layers by counting `new_layer`; decoders by looking which have a program, as tracing calls nobody."""

    def __init__(self, model: Any, layers: int, listener: Listener) -> None:
        self._model = model
        self._layers = layers
        self._listener = listener
        self._read = 0

    @contextmanager
    def counted(self) -> Iterator[Callable[[], None]]:
        """What is given ends the looking: no thread may be there when processes are forked."""
        decoder = self._model.decoder_lm_head
        new_layer: Callable[..., Any] = decoder.new_layer

        def counting(*arguments: Any, **options: Any) -> Any:
            made = new_layer(*arguments, **options)
            self._read += 1
            self._listener.stage(Stage.WEIGHTS, self._read, self._layers)
            return made

        decoder.new_layer = counting
        self._listener.stage(Stage.WEIGHTS, 0, self._layers)
        with ticking(self._look) as end:
            yield end

    def _look(self) -> None:
        if self._read < self._layers:
            self._listener.tick()
        else:
            decoders = list(self._model.nbs_objs)
            traced = sum(decoder.program is not None for decoder in decoders)
            self._listener.stage(Stage.TRACING, traced, len(decoders))


def _compile(kernels: list[Any], folder: Path, workers: int, listener: Listener) -> None:
    wanted = {neff_name(kernel): kernel for kernel in kernels}
    ready = {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}
    waiting = [name for name in wanted if name not in ready]
    listener.graphs(len(ready), len(wanted))
    with worker_pool(min(workers, max(len(waiting), 1))) as pool:
        running: dict[Future[tuple[bytes, float]], str] = {}
        while waiting or running:
            while waiting and len(running) < workers:
                name = waiting.pop(0)
                running[pool.submit(_timed, wanted[name])] = name
            done, _ = wait(running, TICK_S, FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                ready[name], seconds = future.result()
                _write(folder / name, ready[name])
                listener.compiled(seconds)
                listener.graphs(len(ready), len(wanted))
            if not done:
                listener.tick()
    for kernel in kernels:
        kernel.neff_bytes = ready[neff_name(kernel)]


def neff_name(kernel: Any) -> str:
    """The file that the library's `save` writes and `load` looks for."""
    return hashlib.sha256(kernel.hlo_module.SerializeToString()).hexdigest()[:NAME_DIGITS] + NEFF


def _timed(kernel: Any) -> tuple[bytes, float]:
    """In a process of the pool."""
    begun = time.monotonic()
    repetition = getattr(kernel, "num_exec_repetition", None)  # an argument of later 0.13 wheels
    compiled: bytes = kernel.compile() if repetition is None else kernel.compile(repetition)
    return compiled, time.monotonic() - begun


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that share what is traced, as the library's do. However it is left, none of them and no compiler stays behind."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield pool
    except BaseException:
        # `shutdown` would wait for graphs that take minutes: the processes are ended, each with the compiler it started.
        _end_groups([child for child in multiprocessing.active_children() if child not in before])
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """A group of its own: Ctrl+C in the terminal reaches the parent alone, and the worker can be ended with all it started."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        # A worker waits for work on a pipe whose other end it has itself: when its parent is killed it would wait for ever.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_groups(children: list[Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:  # gone with all it started, or not yet at its first line
                with suppress(ProcessLookupError):
                    os.kill(child.pid, number)
        end = time.monotonic() + END_PATIENCE_S
        for child in children:
            child.join(max(end - time.monotonic(), 0.0))


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: half a graph under its name would be taken for one."""
    half = path.with_suffix(HALF_WRITTEN)
    half.write_bytes(content)
    half.replace(path)


def _discard_half_written(folder: Path) -> None:
    for path in folder.glob(f"*{HALF_WRITTEN}"):
        path.unlink()
