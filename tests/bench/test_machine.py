"""What the rest of the machine did, against a kernel's count written by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatapp.bench.machine import Machine, Watch, all_cpu_s

TICKS = os.sysconf("SC_CLK_TCK")


def write_stat(proc: Path, busy_s: float) -> None:
    """Half of the busy time as user, half as system; idle and iowait must not count."""
    half = int(busy_s * TICKS / 2)
    (proc / "stat").write_text(f"cpu  {half} 0 {half} 999999 888888 0 0 0 0 0\ncpu0 1 1 1 1\n")


def test_busy_time_is_all_but_idle(tmp_path: Path) -> None:
    write_stat(tmp_path, 40.0)
    assert all_cpu_s(tmp_path) == pytest.approx(40.0)


def test_what_others_took_is_said_and_warned_of(tmp_path: Path) -> None:
    write_stat(tmp_path, 40.0)
    watch = Watch(tmp_path)
    write_stat(tmp_path, 4_000_000.0)
    machine = watch.read()
    assert machine.other_cores is not None
    assert machine.other_cores > 1.0
    assert machine.disturbed
    assert "WARNING" in str(machine)


def test_a_quiet_machine_gets_no_warning(tmp_path: Path) -> None:
    write_stat(tmp_path, 40.0)
    machine = Watch(tmp_path).read()
    assert machine.other_cores == 0.0
    assert not machine.disturbed
    assert "WARNING" not in str(machine)


def test_where_the_kernel_does_not_tell_nothing_is_claimed(tmp_path: Path) -> None:
    machine = Watch(tmp_path / "nowhere").read()
    assert machine.other_cores is None
    assert not machine.disturbed
    assert "others" not in str(machine)
    assert Machine(1.0, None, None, 0.5, None).as_json()["load_before"] is None
