"""The thread governor and the bandwidth that the limit gauge is measured against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatapp.domain.events import Notice
from chatapp.engine.bandwidth import (
    LARGEST_BYTES,
    SMALLEST_BYTES,
    buffer_bytes,
    largest_cache_bytes,
    measure_bandwidth,
)
from chatapp.engine.contracts import StepOutcome
from chatapp.engine.threads import (
    WATCHED_STEPS,
    ThreadGovernor,
    default_threads,
    physical_cores,
    quota,
    ragged,
)
from tests.helpers.engine import finished, toy_rig

STEADY = [(5, 10_000_000 + 100_000 * (index % 7)) for index in range(WATCHED_STEPS)]
RAGGED_STEPS = [(5, 100_000_000 if index % 5 == 0 else 10_000_000) for index in range(WATCHED_STEPS)]


def test_steady_steps_keep_every_thread() -> None:
    changes: list[int] = []
    governor = ThreadGovernor(4, changes.append)
    assert not any(governor.observe(*step) for step in STEADY * 3)
    assert changes == []


def test_ragged_steps_give_up_one_thread_at_a_time() -> None:
    changes: list[int] = []
    governor = ThreadGovernor(3, changes.append)
    said = [sentence for step in RAGGED_STEPS if (sentence := governor.observe(*step))]
    assert changes == [2]
    assert len(said) == 1
    assert "2 compute threads" in said[0]
    said = [sentence for step in RAGGED_STEPS * 4 if (sentence := governor.observe(*step))]
    assert changes == [2, 1], "the last thread stays"
    assert "1 compute thread." in said[0]


def test_windows_of_different_sizes_are_not_ragged() -> None:
    """k changing from 2 to 16 triples the time of a pass, and no thread is at fault."""
    passes = [(2, 10_000_000) if index % 2 else (16, 30_000_000) for index in range(WATCHED_STEPS)]
    assert ragged(passes) == 1.0
    assert ragged([(k, 1) for k in range(1, 17)]) == 1.0, "sizes seen once say nothing"


def test_the_run_says_so() -> None:
    rig = toy_rig()
    run = rig.run()
    seen: list[int] = []

    def governor(outcome: StepOutcome) -> str | None:
        seen.append(outcome.window)
        return "fewer" if len(seen) == 2 else None

    run._parts = replace(run._parts, after_step=governor)
    events = finished(rig, run)
    notices = [event for event in events if isinstance(event, Notice)]
    assert [(notice.code, notice.message) for notice in notices] == [("threads", "fewer")]
    assert len(seen) > 2


def test_bandwidth_is_plausible_and_measured_once() -> None:
    torch.set_num_threads(1)
    first = measure_bandwidth(1)
    assert 5e8 < first < 5e12, "bytes per second of some memory"
    assert measure_bandwidth(1) == first


def test_the_buffer_leaves_the_caches_behind() -> None:
    assert SMALLEST_BYTES <= buffer_bytes() <= LARGEST_BYTES


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [(["48K", "2048K", "32M"], 32 << 20), (["1G"], 1 << 30), (["odd"], 0), ([], 0)],
)
def test_the_largest_cache(tmp_path: Path, sizes: list[str], expected: int) -> None:
    for index, size in enumerate(sizes):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    assert largest_cache_bytes(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200000 100000", 2), ("max 100000", None), ("50000 100000", 1), ("odd", None), ("1 0", None)],
)
def test_the_quota_of_a_container(tmp_path: Path, text: str, expected: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text + "\n")
    assert quota(file) == expected
    assert quota(tmp_path / "nothing") is None


def test_the_default_leaves_a_core_to_the_window() -> None:
    assert 1 <= default_threads() <= max(1, physical_cores() - 1)
