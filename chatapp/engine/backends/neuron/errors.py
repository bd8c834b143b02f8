"""What transformers-neuronx and the Neuron runtime raise and log, as our errors with what to do.

The library says little through its exceptions (`StopIteration` for a full context, a bare `KeyError` for a batch that was
not compiled), and the runtime says why only in its log, which it writes to file descriptor 2 from C. So loading listens to
that descriptor too. Texts are those of the Neuron runtime's troubleshooting page and of public issues (neuron-contract.md
§1.6). Must not import the library, nor know who called it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chatapp.domain.errors import (
    DeviceMemoryFull,
    DeviceUnavailable,
    GenerationFailed,
    LoadFailed,
    ModelError,
    NotPrepared,
    UnsupportedModel,
)
from chatapp.engine.contracts import MODEL_FAILURES

LIBRARY_FAILURES = (StopIteration, ImportError, *MODEL_FAILURES)
"""What the library's calls can raise. `StopIteration` is the one that must never pass through a generator."""
GIBIBYTE = 1 << 30
KEPT_LOG = 1 << 18
"""Bytes of the runtime's log that are looked at, its end."""
NEEDS_RESTART = "Start chatapp again: a Neuron process cannot give its cores back before it ends."
UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": GIBIBYTE}


class LaunchFailed(RuntimeError):
    """A draft's launch failed: speculation ends, the reply goes on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was to be loaded: for words."""

    model: str
    role: str
    cores: int
    library: str = "transformers-neuronx"


def load_error(error: BaseException, log: str, asked: Asked) -> ModelError:
    """Why loading failed. `log` is what the runtime wrote meanwhile: it says more than the exception that follows from it."""
    text = f"{log}\n{error}"
    names = {"model": asked.model, "role": asked.role, "cores": asked.cores, "library": asked.library}
    for case in LOADING:
        found = re.search(case.pattern, text if case.in_log else str(error))
        if found is not None:
            names |= {name: value or "(not said)" for name, value in found.groupdict().items()}
            return case.kind(case.what.format(**names), remedy=case.remedy.format(**names))
    if re.search(MEMORY_FULL, text):
        return _memory_full(text, asked)
    if isinstance(error, FileNotFoundError) and "NEFF" in str(error):
        return NotPrepared(
            f"The prepared graphs are not those of {asked.model} ({asked.role}) as it is to run.",
            remedy="Prepare the pair again (`chatapp prepare`).",
        )
    return LoadFailed(
        f"{asked.library} cannot load {asked.model} ({asked.role}): {words(error)}.",
        remedy="See the log for what the Neuron runtime said; `chatapp doctor` checks the machine.",
    )


def run_error(error: BaseException, role: str, doing: str) -> GenerationFailed | LaunchFailed:
    """Why a launch failed, in the words that a reply ends with (or, for the draft, speculation). `doing` names the launch."""
    what, remedy = _run_words(error, doing)
    if role == "draft":
        return LaunchFailed(f"{what} {remedy}")
    return GenerationFailed(what, kept="The reply up to here is kept.", remedy=remedy)


def words(error: BaseException) -> str:
    """An exception in one line; the library raises some without any text."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(slots=True)
class Heard:
    """What was written to file descriptor 2; the last `KEPT_LOG` bytes of it."""

    data: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


WAKE = b"\0"
"""Written by us alone, to end the listening: no log holds it."""


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear file descriptor 2 and pass on all of it at once, for as long as the body runs. A process that inherits the
    descriptor and outlives the body would write into a pipe that nobody reads: none may be left behind."""
    heard = Heard()
    try:
        original = os.dup(2)
    except OSError:  # started without one (a desktop entry may do so): nothing to hear, nobody to tell
        yield heard
        return
    reading, writing = os.pipe()
    thread = threading.Thread(
        target=_pass_on, args=(reading, original, heard), name="neuron-log", daemon=True
    )
    os.dup2(writing, 2)
    thread.start()
    try:
        yield heard
    finally:
        os.dup2(original, 2)
        os.write(writing, WAKE)
        thread.join()
        for descriptor in (writing, reading, original):
            os.close(descriptor)


def _pass_on(reading: int, original: int, heard: Heard) -> None:
    ended = False
    while not ended:
        block = os.read(reading, 1 << 16)
        ended = WAKE in block
        block = block.replace(WAKE, b"")
        os.write(original, block)
        heard.data += block
        del heard.data[:-KEPT_LOG]


# -- loading --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """`what` and `remedy` are filled with `model`, `role`, `cores`, `library` and the pattern's named groups. `in_log`: the
    pattern may stand in what was logged, too; else a warning of another library could pass for the reason."""

    pattern: str
    kind: type[DeviceUnavailable | UnsupportedModel | LoadFailed]
    what: str
    remedy: str
    in_log: bool = True


LOADING = (
    Case(
        r"NeuronCore\(s\) not available - Requested:\s*(?P<requested>\d+)\s+Available:\s*(?P<free>\d+)",
        DeviceUnavailable,
        "Another process holds NeuronCores: of {requested} that were asked for, {free} are free.",
        "End that process; `neuron-ls` and `chatapp doctor` show which it is. A core belongs to one process until it ends. "
        "To share the instance, name each process its cores in NEURON_RT_VISIBLE_CORES.",
    ),
    Case(
        r"Unable to determine Neuron Driver version",
        DeviceUnavailable,
        "The Neuron driver is not there.",
        "Install aws-neuronx-dkms and load its module (`sudo modprobe neuron`); `chatapp doctor` checks it.",
    ),
    Case(
        r"[Nn]o neuron device available",
        DeviceUnavailable,
        "This machine has no Neuron device.",
        "Run on an inf2 or trn1 instance; elsewhere `--rehearse trn1.32xlarge` simulates one.",
    ),
    Case(
        r"Unsupported topology(?:.*?Cores is (?P<allowed>[^.\n]*))?",
        DeviceUnavailable,
        "{cores} NeuronCores cannot work together on this instance; the runtime allows: {allowed}.",
        "Choose another number with --tp; inf2 instances allow others than trn1.",
    ),
    Case(
        r"nrt_tensor_allocate status=2\b",
        DeviceUnavailable,
        "{model} ({role}) is to run on {cores} NeuronCores, and this process has fewer.",
        "Choose fewer with --tp (without it, all there are), a larger instance, or mend NEURON_RT_NUM_CORES.",
    ),
    Case(
        r"Neuron Runtime could not be initialized",
        DeviceUnavailable,
        "The Neuron runtime could not start.",
        "The system's log says why (`sudo dmesg | grep -i neuron`); `chatapp doctor` checks driver and device.",
    ),
    Case(
        r"(?P<shape>Weight with shape .* cannot be sharded along dimension.*)",
        UnsupportedModel,
        "The weights of {model} cannot be divided among {cores} NeuronCores ({shape}).",
        "Choose a number that divides its heads with --tp; `chatapp plan` names them.",
        in_log=False,
    ),
    Case(
        r"(?i)(?P<rope>.*ropes? ?_?scaling.*)",
        UnsupportedModel,
        "{library} does not know how {model} stretches its positions ({rope}).",
        "Models without rope_scaling, or with the type default or llama3, can run.",
        in_log=False,
    ),
    Case(
        r"BrokenProcessPool|terminated abruptly|neuronx-cc.*([Kk]illed|SIGKILL)",
        LoadFailed,
        "The compiler's process ended while it compiled {model} ({role}), most often for want of memory.",
        "Compile fewer graphs at once (`chatapp prepare --workers 1`), or on a machine with more memory.",
    ),
)
"""The first that fits counts."""
MEMORY_FULL = r"status=4\b|Allocation Failure"


def _memory_full(text: str, asked: Asked) -> DeviceMemoryFull:
    breakdown = memory_breakdown(text)
    held = ", ".join(f"{name} {size / GIBIBYTE:.2f}" for name, size in breakdown)
    on_core = f" One core holds, in GiB: {held}." if breakdown else ""
    return DeviceMemoryFull(
        f"The NeuronCores' memory is full while loading {asked.model} ({asked.role}) on {asked.cores} of them.{on_core}",
        remedy="Spread it over more cores (--tp), shorten --context, or choose smaller models or a larger instance; "
        f"`chatapp plan` says beforehand what fits. {NEEDS_RESTART}",
        breakdown=breakdown,
    )


def memory_breakdown(text: str) -> tuple[tuple[str, int], ...]:
    """What the runtime says one core holds when an allocation fails: lines such as `* tensors: 13.17GB` below the last
    "Failed to allocate memory on ND 0:NC 1, current utilization". Empty where it said nothing."""
    _, head, rest = text.rpartition("current utilization")
    if not head:
        return ()
    found = re.findall(r"\*?\s*([A-Za-z][A-Za-z _/()-]*?)\s*:\s*([\d.]+)\s*(B|KB|MB|GB)\b", rest)
    return tuple((name.strip(), round(float(number) * UNITS[unit])) for name, number, unit in found)


# -- running --------------------------------------------------------------------------------------------------


def _run_words(error: BaseException, doing: str) -> tuple[str, str]:
    text = str(error)
    if isinstance(error, StopIteration):
        return (
            f"{doing} reaches past the context that was compiled.",
            "Start a new chat, or prepare the pair with a longer --context.",
        )
    if isinstance(error, LookupError | AssertionError | TypeError):
        return (
            f"The library has no graph for {doing} ({words(error)}).",
            "Prepare the pair again; its graphs may be those of other settings.",
        )
    if re.search(r"(?i)status\W{0,2}1006|out.of.bound", text):
        return f"The device reports an index out of bounds in {doing}.", NEEDS_RESTART
    if re.search(r"(?i)numerical error|\bnan\b", text):
        return f"The device reports a numerical error in {doing}.", "Its weights may be damaged."
    if re.search(r"(?i)timeout|timed out|hang", text):
        return f"The device did not answer in time to {doing}.", NEEDS_RESTART
    return f"The NeuronCores failed at {doing} ({words(error)}).", NEEDS_RESTART
