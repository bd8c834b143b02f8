"""Preparing a pair without processes: what is counted and told, when time is estimated, and what is said of failures."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from chatapp.domain.errors import PrepareFailed, UnsupportedModel
from chatapp.domain.preparation import PreparationDone, PreparationProgress, Stage
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.neuron.compiling import Listener
from chatapp.engine.backends.neuron.durations import KEPT, Durations
from chatapp.engine.backends.neuron.errors import Asked
from chatapp.engine.backends.neuron.prepare_errors import Circumstances, prepare_error
from chatapp.engine.backends.neuron.preparing import Side, prepare
from chatapp.engine.backends.neuron.recipe import Recipe, Role
from chatapp.engine.backends.neuron.sides import require_compiler

GRAPH_S = 60.0
REST_S = 30.0


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Compiler:
    """`graphs` of a minute each, after half a minute of reading, on a clock of its own."""

    clock: Clock
    graphs: int
    kind: str
    workers: int = 1
    compiled: list[str] = field(default_factory=list)
    fail: BaseException | None = None

    def compile(self, folder: Path, listener: Listener) -> int:
        listener.stage(Stage.WEIGHTS, 0, 2)
        self.clock.now += REST_S
        listener.stage(Stage.WEIGHTS, 2, 2)
        listener.graphs(0, self.graphs)
        for done in range(self.graphs):
            self.clock.now += GRAPH_S / 2
            listener.tick()
            self.clock.now += GRAPH_S / 2
            if self.fail is not None and done:
                raise self.fail
            (folder / f"{done:020}.neff").write_bytes(b"graph")
            listener.compiled(GRAPH_S)
            listener.graphs(done + 1, self.graphs)
        listener.stage(Stage.SAVING, 0, 0)
        return self.graphs


def side(role: Role, compiler: Compiler) -> Side:
    facts = {"role": role, "library": "transformers-neuronx", "NeuronCores (tp)": "2", "weights": role}
    return Side(Recipe(f"the {role}", role, tuple(facts.items())), compiler)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "neuron")


def pair(clock: Clock) -> list[Side]:
    return [side("target", Compiler(clock, 4, "large")), side("draft", Compiler(clock, 2, "small"))]


def run(
    sides: list[Side], store: ArtefactStore, clock: Clock
) -> tuple[list[PreparationProgress], PreparationDone]:
    told: list[PreparationProgress] = []
    done = prepare(sides, store, told.append, clock=clock)
    return told, done


def test_counts_are_those_of_the_pair_and_end_at_all_of_it(store: ArtefactStore, clock: Clock) -> None:
    told, done = run(pair(clock), store, clock)
    counts = [progress.graphs_done for progress in told]
    assert counts == sorted(counts)
    assert set(counts) == set(range(7))
    assert {progress.graphs_total for progress in told} == {6}
    assert (done.graphs_compiled, done.graphs_total) == (6, 6)
    assert done.elapsed_s == told[-1].elapsed_s == 2 * REST_S + 6 * GRAPH_S
    assert [made.graphs for made in store.manifests()] == [4, 2]
    assert [made.seconds for made in store.manifests()] == [270.0, 150.0]


def test_the_first_time_no_estimate_is_shown_before_every_side_was_measured(
    store: ArtefactStore, clock: Clock
) -> None:
    told, _ = run(pair(clock), store, clock)
    estimates = [(one.role, one.graphs_done, one.left_s) for one in told if one.left_s is not None]
    assert estimates[0] == ("draft", 5, GRAPH_S)


def test_later_the_estimate_is_right_from_the_beginning(store: ArtefactStore, clock: Clock) -> None:
    """Every graph takes as long as before, so what is left and what has gone by make the whole at any moment."""
    run(pair(clock), store, clock)
    for manifest in store.manifests():
        store.remove(manifest.key)
    told, done = run(pair(clock), store, clock)
    sums = {one.elapsed_s + (one.left_s or 0.0) for one in told if one.stage is not Stage.SAVING}
    assert sums == {done.elapsed_s}


def test_workers_share_what_is_left(store: ArtefactStore, clock: Clock) -> None:
    durations = Durations(store.durations)
    store.root.mkdir(parents=True)
    durations.add_graph("large", GRAPH_S)
    durations.add_rest("large", REST_S)
    durations.save()
    told, _ = run([side("target", Compiler(clock, 5, "large", workers=2))], store, clock)
    assert told[0].left_s == REST_S + 3 * GRAPH_S


def test_a_finished_target_stays_when_the_draft_fails(store: ArtefactStore, clock: Clock) -> None:
    sides = pair(clock)
    assert isinstance(sides[1].compiler, Compiler)
    sides[1].compiler.fail = RuntimeError("Failed compilation")
    with pytest.raises(PrepareFailed, match=r"the draft \(draft\)"):
        run(sides, store, clock)
    assert [made.role for made in store.manifests()] == ["target"]
    told, done = run(pair(clock), store, clock)
    assert told[0].role == "target"
    assert done.graphs_compiled == 2
    assert Durations(store.durations).of("small").graphs_s[0] == GRAPH_S


def test_a_listener_that_left_is_no_failure_of_the_compiler(store: ArtefactStore, clock: Clock) -> None:
    def leave(_: PreparationProgress) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        prepare(pair(clock), store, leave, clock=clock)


def test_durations_forget_the_oldest_and_a_damaged_file_costs_the_estimate_alone(tmp_path: Path) -> None:
    path = tmp_path / "durations.json"
    durations = Durations(path)
    for second in range(KEPT + 5):
        durations.add_graph("kind", second)
    durations.save()
    assert Durations(path).of("kind").graphs_s == [float(second) for second in range(5, KEPT + 5)]
    path.write_text('{"kind": [1, 2]}')
    assert Durations(path).of("kind").graph_s is None


# Failures


def told_of(error: BaseException, log: str = "", workers: int = 4) -> str:
    around = Circumstances(Asked("Llama", "target", 24), Path("/"), workers, log, Path("/l/prepare.log"))
    return str(prepare_error(error, around))


@pytest.mark.parametrize(
    ("error", "log", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "", "The disk is full"),
        (RuntimeError("compiler"), "OSError: No space left on device: '/tmp/x'", "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "", "/data cannot be written"),
        (BrokenProcessPool("terminated abruptly"), "", "--workers 2"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "neuronx-cc"),
            "",
            "The compiler neuronx-cc is not installed",
        ),
        (
            RuntimeError("Got a cached failed neff at /c/MODULE_1. Will skip compilation, please set ..."),
            "",
            "--retry-failed",
        ),
        (RuntimeError("Failed compilation"), "line\n[F137] forcibly killed\n", "[F137] forcibly killed"),
        (RuntimeError("Failed compilation"), "", "/l/prepare.log"),
    ],
)
def test_every_failure_says_what_to_do(error: BaseException, log: str, said: str) -> None:
    assert said in told_of(error, log)


def test_a_single_worker_is_not_told_to_be_fewer() -> None:
    assert "--workers" not in told_of(BrokenProcessPool("terminated abruptly"), workers=1)


def test_what_loading_explains_is_explained_in_the_same_words() -> None:
    error = ValueError("Weight with shape (64, 50) cannot be sharded along dimension 1.")
    around = Circumstances(Asked("Llama", "target", 24), Path("/"), 4, "")
    assert isinstance(prepare_error(error, around), UnsupportedModel)


def absent(_: str) -> str:
    raise PackageNotFoundError


@pytest.mark.parametrize(
    ("version", "program", "said"),
    [
        (absent, None, "not installed"),
        (lambda _: "1.0.post1", "/bin/neuronx-cc", "placeholder"),
        (lambda _: "2.21.33363.0", None, "not on the PATH"),
    ],
)
def test_a_missing_compiler_is_said_before_anything_is_read(
    version: Callable[[str], str], program: str | None, said: str
) -> None:
    with pytest.raises(PrepareFailed, match=said):
        require_compiler(version, lambda _: program)
    require_compiler(lambda _: "2.21.33363.0", lambda _: "/opt/venv/bin/neuronx-cc")
