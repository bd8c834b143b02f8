"""`chatapp prepare` as a process: progress, stopping and going on, what is kept when something fails, and what a load finds."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
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
    from_line,
)
from chatapp.engine.backends import emulator
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.emulator import nxdi
from chatapp.engine.backends.neuron.artefacts import MANIFEST, ArtefactStore
from chatapp.engine.backends.neuron.loading import TnxBackend
from chatapp.engine.backends.neuron.recipe import ROLES
from chatapp.engine.backends.nxdi.loading import NxdiBackend
from chatapp.engine.session import Engine
from chatapp.resources import builtin_pair, resource_path
from tests.helpers.launched import Gate, Launched

ROOT = Path(__file__).resolve().parents[2]
PAIR = resource_path("pair")
INSTANCE = "trn1.32xlarge"
ASKED = ("--rehearse", INSTANCE, "--tp", "2", "--context", "128")
SETTINGS = NeuronSettings(tp_degree=2, positions=128, rehearse=INSTANCE)
TARGET_GRAPHS, DRAFT_GRAPHS = 7, 3
GRAPHS = TARGET_GRAPHS + DRAFT_GRAPHS
"""One token bucket and one context bucket: 1 + 5 windows + 1 for the target, 1 + 1 + 1 for the draft."""


def prepare(artefacts: Path, *arguments: str, gate: Gate | None = None) -> Launched:
    folder = artefacts.with_suffix(".talk")
    folder.mkdir(exist_ok=True)
    options = ("prepare", "--artefacts", str(artefacts), *ASKED, "--workers", "1", *arguments)
    return Launched(folder, options, gate)


def gated(mode: str, allowed: int, artefacts: Path) -> tuple[Launched, Gate]:
    gate = Gate(mode, allowed, artefacts.with_suffix(".gate"), artefacts)
    gate.folder.mkdir()
    return prepare(artefacts, "--json-progress", gate=gate), gate


def messages(process: Launched) -> tuple[list[Message], int]:
    """Everything that was not yet read, and the exit status."""
    heard = [from_line(line) for line in process.lines()]
    status = process.status()
    assert None not in heard
    assert process.errors == ""
    return [message for message in heard if message is not None], status


def prepared(artefacts: Path, *arguments: str) -> PreparationDone:
    told, status = messages(prepare(artefacts, "--json-progress", *arguments))
    assert status == 0
    assert isinstance(told[-1], PreparationDone)
    return told[-1]


def fresh(*command: str | Path, pipe: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """A process that a person would start."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=pipe, stderr=pipe, text=True
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built-in pair prepared; nobody changes it."""
    artefacts = tmp_path_factory.mktemp("finished")
    done = prepared(artefacts)
    assert (done.graphs_compiled, done.graphs_total, done.simulated) == (GRAPHS, GRAPHS, True)
    return artefacts


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    return tmp_path / "neuron"


@pytest.fixture
def copied(finished: Path, artefacts: Path) -> Path:
    for path in finished.rglob("*"):
        if path.is_file():
            (artefacts / path.relative_to(finished)).parent.mkdir(parents=True, exist_ok=True)
            (artefacts / path.relative_to(finished)).write_bytes(path.read_bytes())
    return artefacts


@pytest.fixture
def emulated() -> Iterator[list[str]]:
    """The emulator in this process; what is compiled here leaves its tag."""
    compiled: list[str] = []
    with emulator.installed():
        emulator.behaviour.compile_hook = lambda tag, _: compiled.append(tag)
        yield compiled


def graphs_in(folder: Path, suffix: str) -> int:
    return sum(len(list(path.glob("*.neff"))) for path in folder.glob(f"*{suffix}"))


# What a load finds


def test_a_load_finds_the_artefacts_and_compiles_nothing(finished: Path, emulated: list[str]) -> None:
    settings = NeuronSettings(tp_degree=2, positions=128, rehearse=INSTANCE, artefacts=finished)
    backend = TnxBackend(settings)
    target = backend.load(read_checkpoint(PAIR / "target"), "neuron", role="target")
    draft = backend.load(read_checkpoint(PAIR / "draft"), "neuron", role="draft")
    assert emulated == []
    assert target.forward([5, 6, 7], 0, 1).shape == (1, target.vocabulary)
    assert draft.forward([5, 6, 7], 0, 1).shape == (1, draft.vocabulary)


def test_a_changed_argument_is_not_prepared_and_is_named(finished: Path, emulated: list[str]) -> None:
    settings = NeuronSettings(tp_degree=8, positions=128, rehearse=INSTANCE, artefacts=finished)
    with pytest.raises(NotPrepared) as caught:
        TnxBackend(settings).load(read_checkpoint(PAIR / "target"), "neuron", role="target")
    assert caught.value.differences == ("NeuronCores (tp): 2 prepared, 8 asked for",)
    assert emulated == []


def test_the_manifest_says_that_the_device_was_simulated(finished: Path) -> None:
    told = [json.loads(path.read_text()) for path in finished.glob(f"*/{MANIFEST}")]
    assert [one["simulated"] for one in told] == [True, True]
    assert {one["facts"]["device"] for one in told} == {"simulated"}
    assert all(one["facts"]["chatapp's simulated device"] for one in told)


def test_the_other_library_is_prepared_side_by_side_and_loaded(tmp_path: Path) -> None:
    options = ("--neuron", "nxdi", "--context", "256")
    told, status = messages(prepare(tmp_path / "neuron", "--json-progress", *options))
    assert status == 0
    assert isinstance(told[-1], PreparationDone)
    assert told[-1].graphs_compiled == told[-1].graphs_total == 4
    settings = NeuronSettings("nxdi", 2, 256, rehearse=INSTANCE, artefacts=tmp_path / "neuron")
    with nxdi.installed():
        backend = NxdiBackend(settings)
        for role in ROLES:
            backend.require(read_checkpoint(PAIR / role), role)
            model = backend.load(read_checkpoint(PAIR / role), "neuron", role=role)
            assert model.forward([5, 6, 7], 0, 1).shape == (1, model.vocabulary)
    assert prepared(tmp_path / "neuron", *options).graphs_compiled == 0


def test_a_pair_is_refused_before_its_target_takes_the_cores(finished: Path, emulated: list[str]) -> None:
    """Both sides are looked for first: what a target holds cannot be given back."""
    settings = NeuronSettings(
        tp_degree=2, positions=128, draft_windows=(32,), rehearse=INSTANCE, artefacts=finished
    )
    with pytest.raises(NotPrepared) as caught:
        Engine().load(replace(builtin_pair(), neuron=settings), lambda _: None)
    assert caught.value.differences == ("windows: 64 prepared, 32 asked for",)
    assert emulator.device.used(0) == 0


# Progress


def test_preparing_again_does_nothing(copied: Path) -> None:
    assert prepared(copied).words == f"Everything was prepared before: {GRAPHS} graphs."


def test_lines_of_progress_count_every_graph(artefacts: Path) -> None:
    process = prepare(artefacts)
    lines = [line.rstrip() for line in process.lines()]
    assert process.status() == 0
    for count in range(GRAPHS + 1):
        assert any(line.startswith(f"{count} of {GRAPHS} graphs, ") for line in lines)
    assert any("Target: reading the weights, layer" in line for line in lines)
    assert lines[-1].startswith(f"Prepared {GRAPHS} graphs for the simulated device")
    assert not list(artefacts.glob("*.log"))


def test_no_time_is_promised_before_one_was_measured(artefacts: Path, copied: Path) -> None:
    """The copy knows durations of the same pair; its sets are gone."""
    for path in copied.glob("*/*"):
        path.unlink()
    for path in copied.glob("*/"):
        if path.is_dir():  # before Python 3.11 the slash asks for nothing
            path.rmdir()
    told, _ = messages(prepare(copied, "--json-progress"))
    known = [message for message in told if isinstance(message, PreparationProgress)]
    assert all(message.left_s is not None for message in known)
    (copied / "durations.json").unlink()
    told, _ = messages(prepare(copied, "--json-progress", "--tp", "8"))
    first = [message for message in told if isinstance(message, PreparationProgress)]
    assert all(message.left_s is None for message in first if message.role == "target")
    assert first[-1].left_s is not None


def test_a_terminal_gets_one_line_that_is_rewritten(artefacts: Path) -> None:
    ours, theirs = pty.openpty()
    process = fresh("-m", "chatapp", "prepare", "--artefacts", artefacts, *ASKED, pipe=theirs)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    assert shown.count(b"\n") == 1
    assert shown.rpartition(b"\x1b[2K")[2].startswith(b"Prepared 10 graphs for the simulated device")


# Stopping, and going on


def alive(pid: int) -> bool:
    """A zombie that nobody has waited for yet is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_keeps_what_is_finished_and_the_same_command_goes_on(
    artefacts: Path, number: signal.Signals
) -> None:
    allowed = TARGET_GRAPHS + 1
    process, gate = gated("hold", allowed, artefacts)
    for line in process.lines():
        message = from_line(line)
        assert isinstance(message, PreparationProgress)
        if message.graphs_done == allowed and gate.held.exists():
            break
    workers = [int(pid) for pid in gate.held.read_text().split()]
    assert all(map(alive, workers))
    process.send(number)
    process.send(number)  # whoever is impatient
    told, status = messages(process)
    assert status == 130
    assert isinstance(told[-1], PreparationStopped)
    assert told[-1].kept == f"{allowed} of {GRAPHS} graphs are kept."
    assert not any(map(alive, workers))
    assert graphs_in(artefacts, ".partial") == 1
    done = prepared(artefacts)
    assert (done.graphs_compiled, done.graphs_total) == (GRAPHS - allowed, GRAPHS)
    assert not list(artefacts.glob("*.partial"))


def test_a_killed_process_leaves_its_graphs_and_no_lock(artefacts: Path) -> None:
    process, _ = gated("abandon", 3, artefacts)
    list(process.lines())
    assert process.status() == -signal.SIGKILL
    assert prepared(artefacts).graphs_compiled == GRAPHS - 3


def test_whoever_listened_and_died_leaves_no_compiler(artefacts: Path) -> None:
    """The window killed by force: the next second's progress finds nobody."""
    process, gate = gated("hold", 1, artefacts)
    next(line for line in process.lines() if gate.held.exists())
    workers = [int(pid) for pid in gate.held.read_text().split()]
    assert process.status() == 1  # having closed our end
    assert not any(map(alive, workers))
    assert prepared(artefacts).graphs_compiled == GRAPHS - 1


def test_a_failure_goes_to_standard_error(artefacts: Path) -> None:
    process = prepare(artefacts, "--target", str(artefacts))
    assert list(process.lines()) == []
    assert process.status() == 1
    assert process.errors.startswith("chatapp: ")


def test_two_processes_do_not_prepare_the_same(artefacts: Path) -> None:
    first, gate = gated("hold", 0, artefacts)
    next(line for line in first.lines() if gate.held.exists())
    told, status = messages(prepare(artefacts, "--json-progress"))
    assert status == 1
    assert isinstance(told[-1], PreparationFailed)
    assert "is being prepared by another process" in told[-1].what
    first.send(signal.SIGTERM)
    _, status = messages(first)
    assert status == 130


# What goes wrong


def failure(mode: str, allowed: int, artefacts: Path) -> PreparationFailed:
    told, status = messages(gated(mode, allowed, artefacts)[0])
    assert status == 1
    assert isinstance(told[-1], PreparationFailed)
    return told[-1]


def test_a_killed_compiler_is_told_with_fewer_workers_as_advice(artefacts: Path) -> None:
    failed = failure("killed", 2, artefacts)
    assert "A compiler process was killed" in failed.what
    assert failed.kept == f"2 of {GRAPHS} graphs are kept."
    assert "more memory" in failed.remedy
    assert prepared(artefacts).graphs_compiled == GRAPHS - 2


def test_a_compiler_s_failure_is_told_with_its_own_words_and_its_log(artefacts: Path) -> None:
    failed = failure("fail", 1, artefacts)
    assert "Failed compilation" in failed.what
    assert "the compiler's own words" in failed.what
    (log,) = artefacts.glob("*.log")
    assert str(log) in failed.remedy
    assert "--retry-failed" in failed.remedy


def test_a_full_disk_is_told_and_what_fits_is_kept(artefacts: Path) -> None:
    failed = failure("full", 4, artefacts)
    assert failed.what.startswith("The disk is full: ")
    assert "--artefacts" in failed.remedy
    assert prepared(artefacts).graphs_compiled == GRAPHS - 4


def test_a_damaged_set_is_said_and_only_what_is_damaged_is_compiled_again(copied: Path) -> None:
    graph = min(copied.glob("*/*.neff"))
    graph.write_bytes(b"damaged")
    told, status = messages(prepare(copied, "--json-progress"))
    assert status == 0
    assert any(isinstance(one, PreparationProgress) and "damaged" in one.note for one in told)
    assert isinstance(told[-1], PreparationDone)
    assert told[-1].graphs_compiled == 1
    assert prepared(copied).graphs_compiled == 0


def test_a_draft_of_another_vocabulary_is_refused_before_hours_of_compiling(
    artefacts: Path, tmp_path: Path
) -> None:
    draft = tmp_path / "draft"
    shutil.copytree(PAIR / "draft", draft)
    tokenizer = json.loads((draft / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    first, second = list(ids)[-2:]
    ids[first], ids[second] = ids[second], ids[first]
    (draft / "tokenizer.json").write_text(json.dumps(tokenizer))
    options = ("--target", str(PAIR / "target"), "--draft", str(draft))
    told, status = messages(prepare(artefacts, "--json-progress", *options))
    assert status == 1
    assert isinstance(told[0], PreparationFailed)
    assert "do not share one vocabulary: 2 tokens differ" in told[0].what
    assert told[0].kept == ""


def test_without_the_library_it_is_said_at_once(artefacts: Path) -> None:
    told, status = messages(prepare(artefacts, "--json-progress", "--rehearse", ""))
    assert status == 1
    assert isinstance(told[-1], PreparationFailed)
    assert "transformers-neuronx is not installed" in told[-1].what


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = Launched(tmp_path, ("prepare", "--artefacts", str(tmp_path / "file" / "neuron"), *ASKED))
    assert list(process.lines()) == []
    assert process.status() == 1
    assert "cannot be written" in process.errors
    process = Launched(tmp_path, ("prepare", "--artefacts", str(tmp_path / "file"), *ASKED))
    assert process.status() == 1
    assert "it is a file" in process.errors


# Looking and removing


def looked(folder: Path, *arguments: str) -> str:
    process = Launched(folder, ("prepare", *arguments))
    text = "".join(process.lines())
    process.status()
    return text + process.errors


def test_the_list_says_what_is_prepared_without_loading_torch(copied: Path) -> None:
    (copied / "0123456789abcdef0123.partial").mkdir()
    code = "import sys; from chatapp import cli; cli.main(sys.argv[1:]); assert 'torch' not in sys.modules"
    process = fresh("-c", code, "prepare", "--list", "--artefacts", copied)
    out, errors = process.communicate()
    assert errors == ""
    assert "target: target, 7 graphs" in out
    assert "windows 2, 4, 8, 16, 64" in out
    assert "simulated device" in out
    assert "01234567  not finished: 0 graphs so far" in out


def test_a_set_is_removed_by_its_key(copied: Path, tmp_path: Path) -> None:
    manifest = ArtefactStore(copied).manifests()[0]
    assert manifest.key[:20] in looked(tmp_path, "--remove", manifest.key[:8], "--artefacts", str(copied))
    assert manifest.key not in [one.key for one in ArtefactStore(copied).manifests()]
    assert "Nothing is prepared under the key" in looked(
        tmp_path, "--remove", manifest.key[:8], "--artefacts", str(copied)
    )
    assert "Nothing is prepared in" in looked(tmp_path, "--list", "--artefacts", str(copied / "x"))
