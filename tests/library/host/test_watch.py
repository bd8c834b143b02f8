"""The watch over a device made of files: what it reads, whom it asks, and that nothing of it is left when it is closed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.domain.device import DeviceReading
from chatapp.library.host.neuron_tools import ToolNonsense, parse_monitor, parse_neuron_ls
from chatapp.library.host.sysfs import read_chips, read_cores
from chatapp.library.host.watch import Look, NeuronWatch
from tests.helpers.neuron_machine import GIB, NeuronMachine

PERIOD_S = 0.02
PATIENCE_S = 20.0


@pytest.fixture
def machine(tmp_path: Path) -> NeuronMachine:
    made = NeuronMachine(tmp_path)
    made.instance("inf2.24xlarge")
    return made


@pytest.fixture
def watched(machine: NeuronMachine) -> Iterator[Callable[[Callable[[DeviceReading], bool]], DeviceReading]]:
    """Starts the watch at the first call, and comes back with the first reading that is as wanted."""
    made: list[NeuronWatch] = []

    def until(wanted: Callable[[DeviceReading], bool]) -> DeviceReading:
        if not made:
            made.append(NeuronWatch(machine.host(), period_s=PERIOD_S))
            made[0].start()
        last = time.monotonic() + PATIENCE_S
        while time.monotonic() < last:
            reading = made[0].latest()
            if reading is not None and wanted(reading):
                return reading
            threading.Event().wait(PERIOD_S)
        raise AssertionError(made[0].latest())

    yield until
    for watch in made:
        watch.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "chatapp-device"]


Watched = Callable[[Callable[[DeviceReading], bool]], DeviceReading]


def test_no_device_no_thread(tmp_path: Path) -> None:
    watch = NeuronWatch(NeuronMachine(tmp_path).host())
    watch.start()
    assert not watch.present
    assert watch.latest() is None
    assert "chatapp-device" not in {thread.name for thread in threading.enumerate()}
    watch.close()


def test_the_drivers_tree_alone(machine: NeuronMachine, watched: Watched) -> None:
    machine.use(3, inferences=0, loads=7, tensors=9 * GIB, constants=GIB)
    reading = watched(lambda _: True)
    assert (reading.instance, reading.chip_name, reading.chips) == ("inf2.24xlarge", "Inferentia2", 6)
    assert [core.index for core in reading.cores] == list(range(12))
    assert [core.chip for core in reading.cores][:4] == [0, 0, 1, 1]
    third = reading.cores[3]
    assert (third.used_bytes, third.total_bytes) == (10 * GIB, 16 * GIB)
    assert third.parts == (("tensors", 9 * GIB), ("constants", GIB))
    assert (reading.used_bytes, reading.total_bytes, reading.model_loads) == (10 * GIB, 192 * GIB, 7)
    assert reading.busy is None
    assert reading.holders is None
    assert reading.sources == ("driver",)
    assert {problem.partition(":")[0] for problem in reading.problems} == {"neuron-monitor", "neuron-ls"}


def test_an_idle_device_launches_nothing(watched: Watched) -> None:
    watched(lambda reading: reading.launches_per_s == 0)


def test_the_rate_is_the_busiest_cores_and_needs_two_looks(machine: NeuronMachine) -> None:
    host = machine.host()
    chips = read_chips(host)
    look = Look(host)
    assert look._launches_per_s(1.0, read_cores(chips)) is None
    machine.use(5, inferences=600)
    machine.use(6, inferences=400)
    assert look._launches_per_s(3.0, read_cores(chips)) == 300.0
    machine.use(5, inferences=0)
    machine.use(6, inferences=0)
    assert look._launches_per_s(4.0, read_cores(chips)) == 0.0  # cleared by somebody: no rate below zero
    look.close()


def test_neuron_ls_tells_who_holds_where_there_is_no_monitor(
    machine: NeuronMachine, watched: Watched
) -> None:
    machine.neuron_ls([(4711, "python serve.py", [0, 2]), (os.getpid(), "chatapp", [3])])
    reading = watched(lambda _: True)
    assert reading.holders is not None
    told = {one.pid: (one.command, one.cores, one.own) for one in reading.holders}
    assert told[4711] == ("python serve.py", (0, 1, 4, 5), False)
    assert told[os.getpid()] == ("chatapp", (6, 7), True)
    assert reading.sources == ("driver", "neuron-ls")


def test_the_monitor_adds_load_and_holders(machine: NeuronMachine, watched: Watched) -> None:
    machine.file("/proc/4711/cmdline", "python\0serve.py\0")
    machine.use(0, tensors=GIB)
    machine.neuron_monitor(machine.report({0: 40.0, 1: 60.0, 5: 250.0}, {0: 5 * GIB}, 4711))
    reading = watched(lambda reading: "neuron-monitor" in reading.sources)
    assert [reading.cores[index].busy for index in (0, 1, 2, 5)] == [0.4, 0.6, None, 1.0]
    assert reading.cores[0].used_bytes == GIB  # the driver counts every process, the monitor its own
    assert reading.holders is not None
    (holder,) = reading.holders
    assert (holder.pid, holder.command, holder.cores) == (4711, "python serve.py", (0, 1, 5))
    assert reading.problems == ("neuron-ls: not installed",)


def test_where_the_tree_is_hidden_the_tools_stand_in(tmp_path: Path) -> None:
    machine = NeuronMachine(tmp_path)
    machine.file("/dev/neuron0", "")
    machine.chips = 2
    machine.neuron_monitor(machine.report({3: 10.0}, {3: 4 * GIB}, 12))
    watch = NeuronWatch(machine.host(), period_s=PERIOD_S)
    watch.start()
    try:
        last = time.monotonic() + PATIENCE_S
        while (reading := watch.latest()) is None or not reading.cores:
            assert time.monotonic() < last
            threading.Event().wait(PERIOD_S)
    finally:
        watch.close()
    assert (reading.chips, len(reading.cores)) == (2, 4)
    assert (reading.cores[3].chip, reading.cores[3].used_bytes, reading.cores[3].total_bytes) == (
        1,
        4 * GIB,
        16 * GIB,
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'no json at all'; exec /bin/sleep 600", "no JSON"),
        ("exit 0", "ended by itself"),
        ("""echo '{"a": 1}'; exec /bin/sleep 600""", "without neuron_runtime_data"),
    ],
)
def test_a_monitor_that_breaks_is_named_and_ended(
    machine: NeuronMachine, watched: Watched, script: str, said: str
) -> None:
    machine.tool("neuron-monitor", f"echo $$ >> {machine.root}/pids\n{script}")
    reading = watched(lambda reading: any(said in problem for problem in reading.problems))
    assert reading.cores[0].used_bytes == 0
    assert _all_ended(machine)


def test_a_monitor_that_is_started_again_works(
    machine: NeuronMachine, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatapp.library.host.monitor.AGAIN_AFTER_S", 0.05)
    report = machine.report({1: 50.0}, {}, 5)
    first = machine.root / "first"
    machine.tool(
        "neuron-monitor",
        f"if [ ! -e {first} ]; then : > {first}; exit 1; fi\nprintf '%s\\n' '{report}'\nexec /bin/sleep 600",
    )
    assert watched(lambda reading: reading.busy is not None).busy == 0.5


def test_a_silent_monitor_is_not_believed(
    machine: NeuronMachine, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatapp.library.host.monitor.STALE_AFTER_S", 0.2)
    hush = machine.root / "hush"
    speak = f"printf '%s\\n' '{machine.report({1: 50.0}, {}, 5)}'; /bin/sleep 0.02"
    machine.tool("neuron-monitor", f"while [ ! -e {hush} ]; do {speak}; done\nexec /bin/sleep 600")
    watched(lambda reading: reading.busy is not None)
    hush.touch()
    reading = watched(lambda reading: reading.busy is None)
    assert any("silent" in problem for problem in reading.problems)


def test_closing_ends_the_monitor_and_a_tool_that_hangs(machine: NeuronMachine) -> None:
    machine.tool("neuron-ls", f"echo $$ >> {machine.root}/pids\nexec /bin/sleep 600")
    machine.tool(
        "neuron-monitor",
        f"echo $$ >> {machine.root}/pids\necho $2 > {machine.root}/config\nexec /bin/sleep 600",
    )
    machine.patience_s = 300.0
    watch = NeuronWatch(machine.host(), period_s=PERIOD_S)
    watch.start()
    last = time.monotonic() + PATIENCE_S
    while len(_pids(machine)) < 2 or not (machine.root / "config").exists():
        assert time.monotonic() < last
        threading.Event().wait(PERIOD_S)
    config = Path((machine.root / "config").read_text(encoding="utf-8").strip())
    assert '"period": "1s"' in config.read_text(encoding="utf-8")
    watch.close()
    assert _all_ended(machine)
    assert not config.exists()
    watch.close()


def test_nothing_is_ever_written(machine: NeuronMachine, watched: Watched) -> None:
    machine.use(0, inferences=5, loads=2, tensors=GIB)
    before = _fingerprint(machine.root / "sys")
    watched(lambda reading: reading.launches_per_s is not None)
    assert _fingerprint(machine.root / "sys") == before


def _fingerprint(folder: Path) -> str:
    """Contents and times of change of every file."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(f"{path} {path.stat().st_mtime_ns}".encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


def _pids(machine: NeuronMachine) -> list[int]:
    path = machine.root / "pids"
    return [int(line) for line in path.read_text(encoding="utf-8").split()] if path.exists() else []


def _all_ended(machine: NeuronMachine) -> bool:
    pids = _pids(machine)
    assert pids
    return all(subprocess.run(["/bin/kill", "-0", str(pid)], capture_output=True).returncode for pid in pids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "null",
        '"x"',
        "[1, 2]",
        '{"neuron_runtime_data": 3',
        '{"neuron_devices": "none"}',
        "[" * 100_000,
    ],
)
def test_nonsense_of_the_tools_is_refused(text: str) -> None:
    for parse in (parse_monitor, parse_neuron_ls):
        with pytest.raises(ToolNonsense):
            parse(text)


def test_a_report_of_odd_types_is_read_as_far_as_it_goes() -> None:
    report = parse_monitor(
        '{"neuron_runtime_data": [3, {"pid": "x", "error": "late", "report": {"neuroncore_counters": {"neuroncores_in_use":'
        ' {"0": {"neuroncore_utilization": "high"}, "1": {"neuroncore_utilization": 20}, "z": {}, "2": 7}}}}],'
        ' "neuron_hardware_info": [], "instance_info": null}'
    )
    assert dict(report.busy) == {1: 0.2}
    assert report.holders == ()
    assert report.errors == ("late",)


def test_one_broken_row_hides_no_other() -> None:
    chips = parse_neuron_ls(
        '[{"neuron_device": 1, "nc_count": 2, "memory_size": 8}, {"neuron_device": "future"}, {"neuron_device": 0, "nc_count": 2}]'
    )
    assert [(chip.index, chip.core_ids) for chip in chips] == [(0, (0, 1)), (1, (2, 3))]
