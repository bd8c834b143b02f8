"""What the library raises and the runtime logs becomes an error that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chatapp.domain.errors import (
    DeviceMemoryFull,
    DeviceUnavailable,
    GenerationFailed,
    LoadFailed,
    ModelError,
    NotPrepared,
    UnsupportedModel,
)
from chatapp.engine.backends.neuron.errors import (
    GIBIBYTE,
    Asked,
    LaunchFailed,
    listening,
    load_error,
    memory_breakdown,
    run_error,
)
from chatapp.engine.loop import MODEL_FAILURES

ASKED = Asked("Llama-2-70b", "target", 12)
NOT_STARTED = RuntimeError(
    "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged"
)
TOPOLOGY = (
    "NRT:nrt_load_collectives Unsupported topology. Supported number of Neuron Cores is 1, 2, 8, 16 or a multiple of 32. "
    "For other configurations, consider using inf2"
)
BREAKDOWN = """\
2024-Jun-01 ERROR  TDRV:log_dev_mem   Failed to allocate memory on ND 0:NC 0, current utilization:
    * total: 15.500GB
    * tensors: 13.170GB
    * dma rings: 1.470GB
    * model code: 491.5MB
    * shared scratchpad: 512.000MB
"""

CASES: dict[str, tuple[BaseException, str, type[ModelError], str, str]] = {
    "§1.6 cores held": (
        NOT_STARTED,
        "NRT:nrt_allocate_neuron_cores NeuronCore(s) not available - Requested:32 Available:0",
        DeviceUnavailable, "of 32 that were asked for, 0 are free", "NEURON_RT_VISIBLE_CORES",
    ),
    "§1.6 no driver": (
        NOT_STARTED, "NRT:nrt_init Unable to determine Neuron Driver version.", DeviceUnavailable, "driver", "dkms"
    ),
    "§1.6 no device": (
        NOT_STARTED, "TDRV:tdrv_get_dev_info No neuron device available", DeviceUnavailable, "no Neuron device", "inf2"
    ),
    "§1.6 runtime": (NOT_STARTED, "", DeviceUnavailable, "runtime could not start", "doctor"),
    "§1.6 wrong tp": (
        RuntimeError("nrt_load_collectives status=2"), TOPOLOGY,
        DeviceUnavailable, "12 NeuronCores cannot work together .* allows: 1, 2, 8, 16 or a multiple of 32", "--tp",
    ),
    "§1.6 wrong tp, in few words": (
        RuntimeError("nrt_load_collectives status=2"), "NRT:nrt_load_collectives Unsupported topology.",
        DeviceUnavailable, r"allows: \(not said\)", "--tp",
    ),
    "§1.6 memory, behind a warning of transformers": (
        RuntimeError('nrt_tensor_allocate status=4 message="Allocation Failure"'),
        "Unrecognized keys in `rope_scaling` for 'rope_type'='llama3': {'attn'}\n" + BREAKDOWN,
        DeviceMemoryFull, "memory is full", "chatapp plan",
    ),
    "§1.6 too few cores": (
        RuntimeError('nrt_tensor_allocate status=2 message="Invalid"'), "", DeviceUnavailable, "fewer", "--tp"
    ),
    "§1.6 memory, weights": (
        RuntimeError('nrt_tensor_allocate status=4 message="Allocation Failure"'), "",
        DeviceMemoryFull, "memory is full", "chatapp plan",
    ),
    "§1.6 memory, graphs": (
        RuntimeError('nrt_load_collectives status=4 message="Allocation Failure"'), BREAKDOWN,
        DeviceMemoryFull, r"in GiB: total 15\.50, tensors 13\.17, dma rings 1\.47", "--context",
    ),
    "§1.6 not divisible": (
        ValueError("Weight with shape torch.Size([3, 7]) cannot be sharded along dimension 0. This results in 3 x"), "",
        UnsupportedModel, "cannot be divided among 12", "--tp",
    ),
    "§1.2 rope": (ValueError("Unknown rope_scaling type yarn"), "", UnsupportedModel, "stretches", "llama3"),
    "§1.5 other graphs": (
        FileNotFoundError("Could not find a matching NEFF for your HLO in this directory. Ensure that the model"), "",
        NotPrepared, "not those of Llama-2-70b", "chatapp prepare",
    ),
    "§1.6 compiler killed": (
        RuntimeError("A process in the process pool was terminated abruptly"), "", LoadFailed, "compiler", "memory"
    ),
    "anything else": (KeyError("bfloat16"), "", LoadFailed, "KeyError: 'bfloat16'", "doctor"),
    "without words": (AssertionError(), "", LoadFailed, r"\(target\): AssertionError\.", "doctor"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_loading_says_what_happened_and_what_to_do(case: str) -> None:
    error, log, kind, what, remedy = CASES[case]
    explained = load_error(error, log, ASKED)
    assert type(explained) is kind
    with pytest.raises(kind, match=what):
        raise explained
    assert remedy in explained.remedy


def test_the_breakdown_is_that_of_the_last_core_that_was_full() -> None:
    twice = BREAKDOWN.replace("13.170", "1.0") + BREAKDOWN
    assert dict(memory_breakdown(twice)) == {
        "total": round(15.5 * GIBIBYTE),
        "tensors": round(13.17 * GIBIBYTE),
        "dma rings": round(1.47 * GIBIBYTE),
        "model code": round(491.5 * (1 << 20)),
        "shared scratchpad": 512 << 20,
    }
    assert memory_breakdown("tensors: 3GB") == ()
    full = load_error(RuntimeError("status=4"), BREAKDOWN, ASKED)
    assert isinstance(full, DeviceMemoryFull)
    assert full.breakdown == memory_breakdown(BREAKDOWN)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (StopIteration(), "past the context"),
        (KeyError((4, 2)), r"no graph for a window of 4 \(KeyError: \(4, 2\)\)"),
        (AssertionError("buffer and tensor have different shapes!"), "different shapes!"),
        (TypeError("cannot unpack non-iterable NoneType object"), "no graph"),
        (RuntimeError("nrt_execute NRT_STATUS 1006"), "out of bounds"),
        (RuntimeError("execution completed with numerical errors: numerical error"), "numerical"),
        (RuntimeError("nrt_execute timed out"), "in time"),
        (RuntimeError("status=101"), r"failed at a window of 4 \(RuntimeError: status=101\)"),
    ],
)
def test_a_failed_launch_ends_the_reply_or_speculation_and_never_stops_an_iteration(
    error: BaseException, what: str
) -> None:
    with pytest.raises(GenerationFailed, match=what) as ended:
        raise run_error(error, "target", "a window of 4")
    assert ended.value.kept
    assert ended.value.remedy
    draft = run_error(error, "draft", "a window of 4")
    assert isinstance(draft, LaunchFailed)
    assert isinstance(draft, MODEL_FAILURES), "the loop catches it"
    assert not isinstance(draft, StopIteration)


def test_what_c_code_and_children_write_is_heard_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with listening() as heard:
        os.write(2, b"NRT: from C\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'from a child')"], check=True)
    assert heard.text == "NRT: from C\nfrom a child"
    os.write(2, b" later")
    assert capfd.readouterr().err == "NRT: from C\nfrom a child later"
    assert heard.text.endswith("child")


def test_listening_ends_with_an_error_too(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StopIteration), listening() as heard:  # noqa: PT012 - what was written before counts
        os.write(2, b"before")
        raise StopIteration
    assert heard.text == "before"
    os.write(2, b", after")
    assert capfd.readouterr().err == "before, after"
