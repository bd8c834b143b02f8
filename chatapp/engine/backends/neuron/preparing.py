"""Prepares the sides of a pair one after the other: looks what is there, compiles the rest, and says how far it is.

Runs in a process of its own, for it forks and computes for minutes. What is finished stays finished: a whole side becomes a set
of artefacts at once, single graphs wait in its partial folder. Must not know which library compiles, nor a screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chatapp import __version__
from chatapp.domain.errors import ArtefactsDamaged
from chatapp.domain.preparation import PreparationDone, PreparationProgress, Stage
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.neuron.compiling import Listener
from chatapp.engine.backends.neuron.durations import Durations, rounds
from chatapp.engine.backends.neuron.errors import Asked
from chatapp.engine.backends.neuron.prepare_errors import FAILURES, Circumstances, prepare_error
from chatapp.engine.backends.neuron.recipe import CORES, LIBRARY, Recipe

Clock = Callable[[], float]
Tell = Callable[[PreparationProgress], None]


class Compiler(Protocol):
    """One library's way to make one side's artefacts."""

    @property
    def graphs(self) -> int:
        """How many there will be, from the settings alone."""
        ...

    @property
    def kind(self) -> str:
        """What its durations are comparable with: library, device, shape, cores."""
        ...

    @property
    def workers(self) -> int:
        """Graphs that are compiled at once."""
        ...

    def compile(self, folder: Path, listener: Listener) -> int:
        """Fill `folder`, going on from what it holds; returns the number of graphs."""
        ...


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair: what is asked for, and who makes it."""

    recipe: Recipe
    compiler: Compiler


def prepare(
    sides: Sequence[Side],
    store: ArtefactStore,
    tell: Tell,
    *,
    log: Callable[[], str] = str,
    log_path: Path | None = None,
    clock: Clock = time.monotonic,
) -> PreparationDone:
    """Every side that is not prepared. `tell` may be called from a second thread, one call at a time. `log` gives what libraries and compiler wrote, which says why something failed; it is kept in `log_path`.

    Raises `ModelError`; KeyboardInterrupt passes. What is finished is kept either way.
    """
    begun = clock()
    store.root.mkdir(parents=True, exist_ok=True)
    durations = Durations(store.durations)
    telling = Telling(sides, durations, tell, clock)
    compiled = 0
    for side in sides:
        telling.begin(side)
        trouble = _trouble(store, side.recipe)
        if trouble is None:
            telling.skip()
            continue
        telling.note = trouble
        try:
            graphs = _make(side, store, telling, durations, salvage=bool(trouble))
        except FAILURES as error:
            if isinstance(error, BrokenPipeError):
                raise  # nobody listens any more, which is no failure of the compiler
            facts = dict(side.recipe.facts)
            asked = Asked(side.recipe.model, side.recipe.role, int(facts[CORES]), facts[LIBRARY])
            around = Circumstances(asked, store.root, side.compiler.workers, log(), log_path)
            raise prepare_error(error, around) from error
        compiled += telling.compiled_now
        telling.end(graphs)
    simulated = any(side.recipe.simulated for side in sides)
    return PreparationDone(compiled, telling.graphs_total, clock() - begun, simulated)


def _make(side: Side, store: ArtefactStore, telling: Telling, durations: Durations, *, salvage: bool) -> int:
    with store.begun(side.recipe) as folder:
        if salvage:
            store.salvage(side.recipe)
        try:
            graphs = side.compiler.compile(folder, telling)
        finally:
            with suppress(OSError):  # a full disk is told by what comes next
                durations.save()
        store.finish(side.recipe, graphs=graphs, seconds=telling.side_s, version=__version__)
    return graphs


def _trouble(store: ArtefactStore, recipe: Recipe) -> str | None:
    """None for a side that is prepared, a sentence for one that is damaged, else empty."""
    try:
        return None if store.find(recipe) is not None else ""
    except ArtefactsDamaged as damaged:
        return f"{damaged.what} They are prepared again."


@dataclass
class Telling:
    """Implements `compiling.Listener`: adds up what is heard of the sides, and estimates."""

    sides: Sequence[Side]
    durations: Durations
    tell: Tell
    clock: Clock
    note: str = ""
    compiled_now: int = 0
    _place: int = -1
    _stage: tuple[Stage, int, int] = (Stage.CHECKING, 0, 0)
    _finished: int = 0
    _totals: list[int] = field(default_factory=list)
    _done: int = 0
    _begun: float = 0.0
    _side_begun: float = 0.0
    _compiling_begun: float = 0.0
    _last_done: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._totals = [side.compiler.graphs for side in self.sides]
        self._begun = self.clock()

    @property
    def graphs_total(self) -> int:
        return sum(self._totals)

    @property
    def side_s(self) -> float:
        return self.clock() - self._side_begun

    def begin(self, side: Side) -> None:
        with self._lock:
            self._place += 1
            assert self.sides[self._place] is side
            self._done = self.compiled_now = 0
            self._side_begun = self.clock()
            self._stage = (Stage.CHECKING, 0, 0)
            self.note = ""
            self._say()

    def skip(self) -> None:
        """The side is prepared."""
        self._end(self._totals[self._place])

    def end(self, graphs: int) -> None:
        """The side is finished, with as many graphs as there really were."""
        self._stage = (Stage.SAVING, 0, 0)
        self._end(graphs)

    def _end(self, graphs: int) -> None:
        with self._lock:
            self._totals[self._place] = graphs
            self._finished += graphs
            self._done = 0
            self._say()

    # compiling.Listener

    def stage(self, stage: Stage, done: int, total: int) -> None:
        with self._lock:
            self._stage = (stage, done, total)
            self._say()

    def graphs(self, done: int, total: int) -> None:
        with self._lock:
            if self._stage[0] is not Stage.COMPILING:
                self._compiling_begun = self.clock()
                self.durations.add_rest(self._kind, self._compiling_begun - self._side_begun)
            self._stage = (Stage.COMPILING, done, total)
            self._totals[self._place], self._done = total, done
            self._last_done = self.clock()
            self._say()

    def compiled(self, seconds: float) -> None:
        with self._lock:
            self.compiled_now += 1
            self.durations.add_graph(self._kind, seconds)

    def tick(self) -> None:
        with self._lock:
            self._say()

    @property
    def _kind(self) -> str:
        return self.sides[self._place].compiler.kind

    def _say(self) -> None:
        side = self.sides[self._place]
        stage, done, total = self._stage
        self.tell(
            PreparationProgress(
                role=side.recipe.role,
                stage=stage,
                done=done,
                total=total,
                graphs_done=self._finished + self._done,
                graphs_total=self.graphs_total,
                elapsed_s=self.clock() - self._begun,
                left_s=self._left_s(),
                simulated=side.recipe.simulated,
                note=self.note,
            )
        )

    def _left_s(self) -> float | None:
        """Of this side and those after it; None as soon as one of them was never measured."""
        left = self._left_of_this_side_s()
        for place in range(self._place + 1, len(self.sides)):
            side = self.sides[place]
            expected = self.durations.of(side.compiler.kind).expected_s(
                self._totals[place], side.compiler.workers
            )
            if left is None or expected is None:
                return None
            left += expected
        return left

    def _left_of_this_side_s(self) -> float | None:
        measured, stage = self.durations.of(self._kind), self._stage[0]
        workers = self.sides[self._place].compiler.workers
        if stage is Stage.SAVING:
            return 0.0
        if stage is not Stage.COMPILING:
            expected = measured.expected_s(self._totals[self._place], workers)
            return None if expected is None else max(expected - self.side_s, 0.0)
        if measured.graph_s is None:
            return None
        missing = self._totals[self._place] - self._done
        under_way_s = self.clock() - self._last_done
        return max(rounds(missing, workers) * measured.graph_s - under_way_s, 0.0)
