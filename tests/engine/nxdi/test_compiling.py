"""`chatapp prepare --neuron nxdi` as a process: a side is compiled whole or not at all, counted meanwhile, and found by a load."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from chatapp.domain.errors import NotPrepared
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.preparation import (
    Message,
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    Stage,
    from_line,
)
from chatapp.engine.backends import emulator
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.nxdi.loading import NxdiBackend, recipe_of
from chatapp.resources import resource_path
from tests.helpers.launched import Gate, Launched

INSTANCE = "trn1.32xlarge"
PAIR = resource_path("pair")
SIDE = 3
"""Graphs of one side: prompts of 128 and 512, and one that goes on."""


def prepare(artefacts: Path, gate: Gate | None = None) -> Launched:
    folder = artefacts.with_suffix(".talk")
    folder.mkdir(exist_ok=True)
    asked = ("--neuron", "nxdi", "--rehearse", INSTANCE, "--tp", "2", "--context", "512", "--json-progress")
    return Launched(folder, ("prepare", "--artefacts", str(artefacts), *asked), gate)


def gated(mode: str, allowed: int, artefacts: Path) -> tuple[Launched, Gate]:
    gate = Gate(mode, allowed, artefacts.with_suffix(".gate"), artefacts)
    gate.folder.mkdir()
    return prepare(artefacts, gate), gate


def messages(process: Launched) -> tuple[list[Message], int]:
    heard = [from_line(line) for line in process.lines()]
    status = process.status()
    assert process.errors == ""
    return [message for message in heard if message is not None], status


def prepared(artefacts: Path) -> PreparationDone:
    told, status = messages(prepare(artefacts))
    assert status == 0
    done = told[-1]
    assert isinstance(done, PreparationDone)
    return done


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    return tmp_path / "neuron"


def alive(pid: int) -> bool:
    """A zombie that nobody has waited for yet is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def backend(artefacts: Path, positions: int = 512) -> NxdiBackend:
    return NxdiBackend(
        NeuronSettings(
            library="nxdi", tp_degree=2, positions=positions, rehearse=INSTANCE, artefacts=artefacts
        )
    )


def test_what_was_prepared_is_found_and_compiled_no_more(artefacts: Path) -> None:
    done = prepared(artefacts)
    assert (done.graphs_compiled, done.graphs_total, done.simulated) == (2 * SIDE, 2 * SIDE, True)
    sets = ArtefactStore(artefacts).manifests()
    assert {(one.role, one.graphs) for one in sets} == {("target", SIDE), ("draft", SIDE)}
    assert {name for name, _, _ in sets[0].files} == {"model.pt", "neuron_config.json"}
    assert prepared(artefacts).graphs_compiled == 0
    compiled: list[str] = []
    emulator.behaviour.compile_hook = lambda tag, _: compiled.append(tag)
    found = backend(artefacts)
    loaded = found.load(read_checkpoint(PAIR / "target"), "neuron", role="target")
    assert compiled == []
    assert loaded.forward([5, 6, 7], 0, 1).shape == (1, loaded.vocabulary)
    other = backend(artefacts, positions=1024).settings
    with pytest.raises(NotPrepared, match=r"context \(positions\): 512 prepared, 1024 asked for"):
        ArtefactStore(artefacts).require(recipe_of(read_checkpoint(PAIR / "target"), other, "target"))


def test_a_stop_keeps_whole_sides_and_no_process(artefacts: Path) -> None:
    """Of the draft one graph was compiled: that is said while it runs, and is not among what is kept."""
    process, gate = gated("hold", SIDE + 1, artefacts)
    for line in process.lines():
        message = from_line(line)
        assert isinstance(message, PreparationProgress)
        if message.graphs_done == SIDE + 1 and gate.held.exists():
            assert (message.stage, message.done, message.total) == (Stage.COMPILING, 1, SIDE)
            break
    workers = [int(pid) for pid in gate.held.read_text().split()]
    assert all(map(alive, workers))
    process.send(signal.SIGTERM)
    told, status = messages(process)
    assert status == 130
    assert isinstance(told[-1], PreparationStopped)
    assert told[-1].kept == f"{SIDE} of {2 * SIDE} graphs are kept."
    assert not any(map(alive, workers))
    assert not list(artefacts.glob("*.work"))
    assert prepared(artefacts).graphs_compiled == SIDE


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("fail", "The graphs of target (target) cannot be compiled"),
        ("killed", "A compiler process was killed"),
    ],
)
def test_what_goes_wrong_is_told(artefacts: Path, mode: str, message: str) -> None:
    told, status = messages(gated(mode, 1, artefacts)[0])
    assert status == 1
    failed = told[-1]
    assert isinstance(failed, PreparationFailed)
    assert message in failed.what
    assert failed.kept == "No graph was finished yet."
    assert prepared(artefacts).graphs_compiled == 2 * SIDE


def test_a_killed_process_leaves_nothing_that_is_taken_for_graphs(artefacts: Path) -> None:
    process, _ = gated("abandon", 1, artefacts)
    list(process.lines())
    assert process.status() == -signal.SIGKILL
    assert list(artefacts.glob("*.work"))
    assert prepared(artefacts).graphs_compiled == 2 * SIDE
    assert not list(artefacts.glob("*.work"))
