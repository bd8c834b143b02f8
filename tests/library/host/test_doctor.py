"""The doctor on machines made of files and scripts: every finding is driven by the thing that it is about."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chatapp.library.host.examination import Subject, examine
from chatapp.library.host.findings import Examination, Finding, Section, Verdict
from chatapp.library.host.machine import release
from chatapp.library.host.machine_checks import PACKAGES
from chatapp.library.host.report import as_json, as_text
from chatapp.library.host.screen_checks import QT_LIBRARIES
from chatapp.library.host.working_set import (
    LIBRARY_SDK,
    SUCCESSOR_LAST,
    SUCCESSOR_WHEELS,
    SYSTEM,
    TORCH_NEURONX_BUILD,
    TRANSFORMERS_LIMIT,
    WHEELS,
)
from chatapp.resources import resource_path
from tests.helpers.neuron_machine import GIB, LAST_SET, NeuronMachine
from tests.helpers.ordinary_user import ordinary_user

ROOT = Path(__file__).resolve().parents[3]
PAIR = resource_path("pair")


@pytest.fixture
def machine(tmp_path: Path) -> NeuronMachine:
    return NeuronMachine(tmp_path)


def _examine(machine: NeuronMachine, python: tuple[int, int] = (3, 11)) -> Examination:
    return examine(machine.host(python), Subject(machine.root / "artefacts", PAIR))


def _find(machine: NeuronMachine, name: str, section: Section | None = None, **environ: str) -> Finding:
    machine.environ |= environ
    found = [one for one in _examine(machine).findings if one.name == name and section in (None, one.section)]
    assert len(found) == 1, found
    return found[0]


def _neuron_sections(examination: Examination) -> list[Finding]:
    return [one for one in examination.findings if one.section in (Section.DEVICE, Section.SOFTWARE)]


@pytest.mark.parametrize(
    ("name", "chips", "cores"), [("inf2.48xlarge", 12, 24), ("trn1.32xlarge", 16, 32), ("inf2.xlarge", 1, 2)]
)
def test_a_healthy_host_is_good_throughout(machine: NeuronMachine, name: str, chips: int, cores: int) -> None:
    machine.healthy(name)
    examination = _examine(machine)
    assert [one for one in _neuron_sections(examination) if one.verdict is not Verdict.GOOD] == []
    by_name = {one.name: one.found for one in _neuron_sections(examination)}
    assert name in by_name["instance"]
    assert f"{chips} " in by_name["cores"]
    assert f"{cores} NeuronCores (0–{cores - 1})" in by_name["cores"]
    assert by_name["holders"] == "nobody holds a core"
    assert "2.24.7" in by_name["driver"]
    assert examination.neuron


def test_without_neuron_one_line_says_so_and_the_rest_is_checked(machine: NeuronMachine) -> None:
    examination = _examine(machine)
    assert [one.name for one in _neuron_sections(examination)] == ["device"]
    assert not examination.neuron
    assert {one.section for one in examination.findings} == set(Section) - {Section.SOFTWARE}
    text = as_text(examination, colour=False, width=90)
    assert sum("NeuronCore" in line or "Neuron" in line for line in text.splitlines()) == 1


def test_a_neuron_instance_without_a_driver_is_bad(machine: NeuronMachine) -> None:
    machine.file("/sys/devices/virtual/dmi/id/product_name", "inf2.8xlarge\n")
    found = _find(machine, "driver")
    assert found.verdict is Verdict.BAD
    assert "inf2.8xlarge" in found.found
    assert "modprobe" in found.mend


def test_a_chip_on_the_bus_without_a_driver_is_bad(machine: NeuronMachine) -> None:
    machine.file("/sys/bus/pci/devices/0000:00:1f.0/vendor", "0x1d0f\n")
    machine.file("/sys/bus/pci/devices/0000:00:1f.0/device", "0x7264\n")
    assert "Inferentia2 on the PCI bus" in _find(machine, "driver").found


def test_the_instance_follows_from_family_and_chips_where_the_firmware_is_silent(
    machine: NeuronMachine,
) -> None:
    machine.healthy("inf2.24xlarge")
    (machine.root / "sys/devices/virtual/dmi/id/product_name").unlink()
    assert _find(machine, "instance").found.startswith("inf2.24xlarge")


def test_one_chip_alone_does_not_tell_the_instance(machine: NeuronMachine) -> None:
    machine.healthy("inf2.xlarge")
    machine.file("/sys/devices/virtual/dmi/id/product_name", "KVM Virtual Machine\n")
    found = _find(machine, "instance")
    assert found.verdict is Verdict.WARN
    assert "--metadata" in found.mend


def test_a_missing_chip_is_bad(machine: NeuronMachine) -> None:
    machine.healthy("trn1.32xlarge")
    machine.file("/sys/devices/virtual/dmi/id/product_name", "inf2.48xlarge\n")
    found = _find(machine, "instance")
    assert found.verdict is Verdict.BAD
    assert "12 chips, 16 are seen" in found.found


def test_trn2_is_told_apart(machine: NeuronMachine) -> None:
    machine.healthy("trn1.32xlarge")
    machine.file("/sys/devices/virtual/dmi/id/product_name", "trn2.48xlarge\n")
    assert _find(machine, "instance").verdict is Verdict.BAD
    machine.file("/sys/devices/virtual/dmi/id/product_name", "trn1n.32xlarge\n")
    assert _find(machine, "instance").verdict is Verdict.WARN


def test_a_held_device_names_who_and_which_cores(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.neuron_ls([(4711, "python serve.py --tp 4", [0, 1]), (99, "/usr/bin/train", [5])])
    found = _find(machine, "holders")
    assert found.verdict is Verdict.BAD
    assert "pid 4711 python serve.py --tp 4 (cores 0–3)" in found.found
    assert "pid 99 /usr/bin/train (cores 10–11)" in found.found
    assert "kill 99 4711" in found.mend


def test_cores_held_by_the_window_are_a_warning(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.neuron_ls([(77, "python -m chatapp", list(range(12)))])
    found = _find(machine, "holders")
    assert found.verdict is Verdict.WARN
    assert "cores 0–23" in found.found


def test_memory_is_summed_over_cores(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.use(3, tensors=9 * GIB, constants=2 * GIB, dma_rings=GIB)
    machine.use(4, tensors=1 * GIB)
    found = _find(machine, "memory", Section.DEVICE)
    assert found.found == "13.0 of 384 GiB in use; per core 0.0 to 12.0 of 16, most on core 3"
    assert dict(found.details)["core 3"] == "12.00 GiB"
    assert len(found.details) == 24


def test_memory_that_stands_elsewhere_is_found_by_name(machine: NeuronMachine) -> None:
    machine.healthy("inf2.xlarge")
    machine.use(1, tensors=5 * GIB)
    core = machine.root / machine.core_folder(1).lstrip("/")
    (core / "runtime").mkdir()
    (core / "stats" / "memory_usage").rename(core / "runtime" / "memory")
    assert "5.0 of 16, most on core 1" in _find(machine, "memory", Section.DEVICE).found


def test_a_tree_without_memory_is_a_line(machine: NeuronMachine) -> None:
    machine.healthy("inf2.xlarge")
    machine.file("/sys/module/neuron/version", "2.31.1.0")
    for core in range(2):
        stats = machine.root / machine.core_folder(core).lstrip("/") / "stats"
        stats.rename(stats.with_name("moved"))
        (stats.with_name("moved") / "memory_usage" / "device_mem").rename(stats.with_name("gone"))
    found = _find(machine, "memory", Section.DEVICE)
    assert found.verdict is Verdict.WARN
    assert "keeps it elsewhere" in found.mend


def test_an_old_driver_is_a_warning(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.file("/sys/module/neuron/version", "2.16.7.0\n")
    found = _find(machine, "driver")
    assert found.verdict is Verdict.WARN
    assert "older" in found.found


@pytest.mark.parametrize(
    ("library", "version", "driver", "verdict"),
    [
        ("transformers-neuronx", "0.13.1315", "2.23.9.0", Verdict.WARN),
        ("transformers-neuronx", "0.13.1216", "2.23.9.0", Verdict.GOOD),
        ("neuronx-distributed-inference", "0.10.18399", "2.24.7.0", Verdict.WARN),
        ("neuronx-distributed-inference", "0.10.18399", "2.29.0.0", Verdict.GOOD),
    ],
)
def test_which_driver_will_do_depends_on_the_wheels(
    machine: NeuronMachine, library: str, version: str, driver: str, verdict: Verdict
) -> None:
    machine.instance("inf2.xlarge", driver=driver)
    machine.package(library, version)
    assert _find(machine, "driver").verdict is verdict


@pytest.mark.parametrize("text", ["", "garbage\n", "-4\n", "12 chips"])
def test_nonsense_in_the_tree_is_no_crash(machine: NeuronMachine, text: str) -> None:
    machine.healthy()
    for path in (machine.root / "sys/devices/virtual/neuron_device").rglob("*"):
        if path.is_file():
            path.write_text(text, encoding="utf-8")
    assert _find(machine, "memory", Section.DEVICE).verdict is Verdict.WARN
    assert _find(machine, "cores").verdict is Verdict.GOOD  # their folders are still there


def test_an_ordinary_user_without_rights(machine: NeuronMachine) -> None:
    machine.healthy("inf2.8xlarge")
    machine.root.joinpath("dev/neuron0").chmod(0o600)
    tensors = machine.root / machine.core_folder(0).lstrip("/") / "stats/memory_usage/device_mem/tensors"
    tensors.joinpath("total").chmod(0)
    machine.use(1, tensors=3 * GIB)
    machine.root.joinpath("sys/module/neuron/version").chmod(0)
    with ordinary_user(machine.root):
        findings = {one.name: one for one in _neuron_sections(_examine(machine))}
    assert findings["permission"].verdict is Verdict.BAD
    assert "neuron0" in findings["permission"].found
    assert "chmod" in findings["permission"].mend
    assert "3.0 of 32 GiB in use" in findings["memory"].found
    assert findings["driver"].verdict is Verdict.WARN


LS_TROUBLE = {
    "hang": ("exec /bin/sleep 600", "no answer within"),
    "nonsense": ("echo 'NEURON 42'", "no JSON"),
    "wrong": ("""echo '{"mlas": [1, 2]}'""", "without a list"),
    "fails": ("echo 'level=error msg=nodevice' >&2; exit 1", "exit status 1: level=error"),
    "floods": ("exec /usr/bin/yes", "prints without end"),
    "binary": ("exec /bin/cat /bin/sh", "no JSON"),
    "dies": ("kill -9 $$", "exit status -9"),
}


@pytest.mark.parametrize("kind", LS_TROUBLE)
def test_a_broken_neuron_ls_is_a_line(machine: NeuronMachine, kind: str) -> None:
    script, said = LS_TROUBLE[kind]
    machine.healthy()
    machine.tool("neuron-ls", script)
    if kind == "hang":
        machine.patience_s = 0.3
    found = _find(machine, "holders")
    assert found.verdict is Verdict.WARN
    assert said in found.found


def test_a_broken_neuron_monitor_is_a_line(machine: NeuronMachine) -> None:
    machine.healthy()
    for script, said in (
        ("echo '[]'; exec /bin/sleep 600", "without neuron_runtime_data"),
        ("exit 3", "exit status 3"),
    ):
        machine.tool("neuron-monitor", script)
        found = _find(machine, "neuron-monitor")
        assert found.verdict is Verdict.WARN
        assert said in found.found


def test_neuron_ls_of_the_next_sdk_is_asked_in_its_own_words(machine: NeuronMachine) -> None:
    machine.healthy("inf2.24xlarge")
    answer = json.dumps({"instance_type": "inf2.24xlarge", "devices": machine.listed([(8, "other", [2])])})
    machine.tool(
        "neuron-ls",
        f"""if [ "$1" = -j ]; then echo 'unknown flag -j'; exit 1; fi\n"""
        f"""[ "$1 $2" = '--output-format json' ] && echo '{answer}'""",
    )
    assert "pid 8 other (cores 4–5)" in _find(machine, "holders").found


def test_the_tools_are_found_where_the_package_puts_them(machine: NeuronMachine) -> None:
    machine.healthy()
    home = machine.root / "opt/aws/neuron/bin"
    home.mkdir(parents=True)
    (machine.bin / "neuron-ls").rename(home / "neuron-ls")
    assert _find(machine, "holders").verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("name", "version"), [("transformers-neuronx", "0.1"), ("torch-neuronx", "1.0.post1")]
)
def test_the_placeholder_of_the_public_index_is_bad(machine: NeuronMachine, name: str, version: str) -> None:
    machine.instance("inf2.48xlarge")
    machine.packages({**LAST_SET, name: version})
    found = next(one for one in _examine(machine).findings if one.name == name)
    assert found.verdict is Verdict.BAD
    assert "placeholder" in found.found
    assert "pip.repos.neuron.amazonaws.com" in found.mend


@pytest.mark.parametrize(
    ("package", "version", "name", "verdict", "said"),
    [
        ("transformers", "5.23.0", "transformers-pin", Verdict.BAD, "rope_theta 10000"),
        ("transformers", "4.51.3", "transformers-pin", Verdict.WARN, "less than 4.48"),
        ("torch", "2.13.0+cpu", "torch-neuronx", Verdict.BAD, "same first two numbers"),
        ("neuronx-cc", "2.17.194.0", "neuronx-cc", Verdict.WARN, "2.21.33363"),
        ("libneuronxla", "", "libneuronxla", Verdict.BAD, "not installed"),
        ("transformers-neuronx", "0.13.1216", "neuronx-cc", Verdict.WARN, "of an older one"),
        ("transformers-neuronx", "0.12.0", "transformers-neuronx", Verdict.WARN, "no wheel of SDK"),
        ("transformers-neuronx", "", "transformers-neuronx", Verdict.BAD, "neither"),
    ],
)
def test_wheels_that_do_not_belong_together(
    machine: NeuronMachine, package: str, version: str, name: str, verdict: Verdict, said: str
) -> None:
    machine.instance("trn1.32xlarge")
    machine.packages({k: v for k, v in {**LAST_SET, package: version}.items() if v})
    found = _find(machine, name)
    assert found.verdict is verdict
    assert said in found.found
    assert found.mend


def test_the_images_environment_is_named_where_it_lies(machine: NeuronMachine) -> None:
    machine.instance("inf2.xlarge")
    (machine.root / "opt/aws_neuronx_venv_pytorch_2_7_transformers").mkdir(parents=True)
    assert (
        "/opt/aws_neuronx_venv_pytorch_2_7_transformers/bin/pip"
        in _find(machine, "transformers-neuronx").mend
    )


def test_wheels_on_a_machine_that_only_compiles_are_checked(machine: NeuronMachine) -> None:
    machine.packages({**LAST_SET, "neuronx-cc": "0.1"})
    examination = _examine(machine)
    assert not examination.neuron
    assert [
        one.name for one in examination.findings if one.verdict is Verdict.BAD and "placeholder" in one.found
    ] == ["neuronx-cc"]


def test_a_python_without_wheels_is_bad(machine: NeuronMachine) -> None:
    machine.healthy()
    names = {one.name: one for one in _examine(machine, python=(3, 12)).findings}
    assert names["wheels-python"].verdict is Verdict.BAD
    assert names["python"].verdict is Verdict.GOOD


def test_the_successor_alone(machine: NeuronMachine) -> None:
    machine.instance("inf2.48xlarge")
    machine.packages(
        {
            "neuronx_distributed_inference": "0.10.18399+x",
            "torch-neuronx": "2.9.0.2.15.32035",
            "torch": "2.9.1",
            "neuronx-cc": "2.26.6360.0",
            "transformers": "5.1.0",
        }
    )
    software = [one for one in _examine(machine, python=(3, 12)).findings if one.section is Section.SOFTWARE]
    verdicts = {one.name: one.verdict for one in software}
    for name in ("neuronx-distributed-inference", "torch-neuronx", "neuronx-cc", "wheels-python"):
        assert verdicts[name] is Verdict.GOOD
    assert verdicts["libneuronxla"] is Verdict.BAD
    assert verdicts["transformers-pin"] is Verdict.WARN


def test_system_packages_by_dpkg_and_by_rpm(machine: NeuronMachine) -> None:
    machine.instance("inf2.48xlarge")
    machine.system_packages({"aws-neuronx-runtime-lib": "2.20.11.0-1"})
    assert _find(machine, "runtime-lib").verdict is Verdict.WARN
    assert _find(machine, "collectives").verdict is Verdict.BAD
    assert _find(machine, "tools").verdict is Verdict.WARN
    (machine.bin / "dpkg-query").unlink()
    machine.says("rpm", "aws-neuronx-runtime-lib\t2.28.23.0\tinstalled\npackage x is not installed", status=2)
    assert _find(machine, "runtime-lib").verdict is Verdict.GOOD
    (machine.bin / "rpm").unlink()
    assert "neither dpkg-query nor rpm" in _find(machine, "packages").found


def test_dcv_gl_without_a_gpu_is_bad(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.system_packages({"nice-dcv-server": "2024.0-1", "nice-xdcv": "1", "nice-dcv-gl": "2024.0-1"})
    assert _find(machine, "dcv-gl").verdict is Verdict.BAD
    machine.file("/dev/nvidia0", "")
    assert not [one for one in _examine(machine).findings if one.name == "dcv-gl"]


def test_a_dcv_session_of_this_display(machine: NeuronMachine) -> None:
    machine.healthy()
    row = {"id": "chat", "owner": "ubuntu", "num-of-connections": 1}
    details = {
        **row,
        "type": "virtual",
        "x11-display": ":1",
        "x11-authority": "/run/user/1000/dcv/chat.xauth",
    }
    machine.tool(
        "dcv",
        f"""[ "$1" = list-sessions ] && echo '{json.dumps([row])}'\n"""
        f"""[ "$1 $2" = 'describe-session chat' ] && echo '{json.dumps(details)}'\nexit 0""",
    )
    found = _find(machine, "dcv")
    assert found.verdict is Verdict.GOOD
    assert found.found == "session chat (virtual, ubuntu) on :1, this display, 1 connection"
    without = _find(machine, "display", DISPLAY="")
    assert "DISPLAY=:1 XAUTHORITY=/run/user/1000/dcv/chat.xauth chatapp" in without.mend


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [
        ("[]", 0, "no session"),
        ("Session: 'x'", 0, "no JSON"),
        ("Could not connect to the DCV server", 1, "exit status 1: Could not connect"),
        ('{"id": 4}', 0, "no session"),
        ("[[1], null, 3]", 0, "no session"),
    ],
)
def test_a_dcv_that_does_not_answer_well(machine: NeuronMachine, output: str, status: int, said: str) -> None:
    machine.healthy()
    machine.says("dcv", output, status=status)
    found = _find(machine, "dcv")
    assert found.verdict is Verdict.WARN
    assert said in found.found
    assert found.mend


def test_wayland_of_the_login_screen(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.file("/etc/gdm3/custom.conf", "[daemon]\n#WaylandEnable=false\n")
    assert _find(machine, "wayland").verdict is Verdict.WARN


def test_the_display(machine: NeuronMachine) -> None:
    assert _find(machine, "display", WAYLAND_DISPLAY="wayland-0").found == "Wayland, wayland-0 (and X11, :1)"
    assert _find(machine, "display", QT_QPA_PLATFORM="offscreen").verdict is Verdict.WARN
    forwarded = _find(machine, "ssh", SSH_CONNECTION="1 2 3 4", DISPLAY="localhost:10.0")
    assert forwarded.verdict is Verdict.WARN
    assert _find(machine, "ssh", DISPLAY=":1").verdict is Verdict.GOOD
    machine.file("/proc/812/comm", "Xtigervnc\n")
    assert "Xtigervnc" in _find(machine, "vnc").found


def test_a_missing_xcb_cursor_is_bad_and_named(machine: NeuronMachine) -> None:
    kept = "\n".join(f"\t{name} (libc6) => /x" for name in QT_LIBRARIES if name != "libxcb-cursor.so.0")
    machine.says("ldconfig", kept)
    found = _find(machine, "qt-libraries")
    assert found.verdict is Verdict.BAD
    assert found.mend == "`sudo apt-get install libxcb-cursor0`."
    assert "xcb" in found.found
    machine.says("dnf", "")
    assert _find(machine, "qt-libraries").mend == "`sudo dnf install 'libxcb-cursor.so.0()(64bit)'`."


def test_fonts(machine: NeuronMachine) -> None:
    (machine.root / "usr/share/fonts/truetype/one.ttf").unlink()
    assert _find(machine, "fonts").verdict is Verdict.BAD
    machine.file("/home/.fonts/mine.otf", "")
    assert _find(machine, "fonts").verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("threads", "verdict"), [("", "warn"), ("8", "good"), ("500", "warn"), ("many", "warn"), ("4,2", "good")]
)
def test_threads_against_vcpus(machine: NeuronMachine, threads: str, verdict: str) -> None:
    machine.instance("inf2.48xlarge")
    found = _find(machine, "threads", OMP_NUM_THREADS=threads)
    assert found.verdict.value == verdict
    if verdict == "warn":
        assert "OMP_NUM_THREADS=8" in found.mend


def test_little_memory_is_a_warning(machine: NeuronMachine) -> None:
    machine.file("/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 15000000 kB\n")
    assert _find(machine, "memory", Section.MACHINE).verdict is Verdict.GOOD
    machine.instance("inf2.xlarge")
    assert "compiler" in _find(machine, "memory", Section.MACHINE).found
    machine.file("/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 1500000 kB\n")
    assert _find(machine, "memory", Section.MACHINE).verdict is Verdict.WARN


def test_a_full_disk_is_bad(machine: NeuronMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatapp.library.host.machine_checks.LEAST_DISK_GIB", 1 << 30)
    assert _find(machine, "disk").verdict is Verdict.BAD


def test_a_damaged_pair_is_bad(machine: NeuronMachine, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  draft/config.json\n", encoding="utf-8")
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "config.json").write_text("{}", encoding="utf-8")
    examination = examine(machine.host(), Subject(tmp_path, tmp_path))
    assert [one.found for one in examination.findings if one.name == "built-in-pair"] == [
        "draft/config.json is not the file that was published with this version."
    ]


def test_packages_of_this_program(machine: NeuronMachine) -> None:
    machine.packages({"PySide6_Essentials": "6.12.0", "torch": "2.13.0+cpu"})
    (machine.site / "half_removed-1.0.dist-info").mkdir()
    found = {one.name: one for one in _examine(machine).findings}
    assert found["pyside6-essentials"].verdict is Verdict.WARN
    assert "6.8.3 to below 6.12" in found["pyside6-essentials"].found
    assert found["torch"].verdict is Verdict.GOOD
    assert found["numpy"].verdict is Verdict.BAD


@pytest.mark.parametrize(
    ("file", "wheels"), [("constraints.txt", WHEELS), ("constraints-nxdi.txt", SUCCESSOR_WHEELS)]
)
def test_the_working_sets_are_those_that_are_pinned(file: str, wheels: dict[str, tuple[int, ...]]) -> None:
    lines = (ROOT / "packaging" / "neuron" / file).read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line.count("==") == 1)
    for name, wanted in wheels.items():
        assert release(pinned[name])[: len(wanted)] == wanted
    if file == "constraints.txt":
        assert list(LIBRARY_SDK)[-1] == pinned["transformers-neuronx"]
        assert release(pinned["torch-neuronx"])[3:6] == TORCH_NEURONX_BUILD
        assert release(pinned["transformers"]) < TRANSFORMERS_LIMIT
    else:
        assert release(pinned["neuronx-distributed-inference"]) == SUCCESSOR_LAST


def test_system_packages_are_those_that_the_host_setup_installs() -> None:
    text = (ROOT / "packaging" / "neuron" / "host-application.sh").read_text(encoding="utf-8")
    sets = [
        {name: release(version) for name, version in (pin.split("=") for pin in found.split())}
        for found in re.findall(r'driver_set="([^"]+)"', text)
    ]
    assert len(sets) == len(SYSTEM)
    for ours in SYSTEM.values():
        assert any(all(one[name][: len(wanted)] == wanted for name, wanted in ours.items()) for one in sets)


def test_bounds_are_those_of_the_project() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, (least, limit) in PACKAGES.items():
        first = re.search(rf'^    "{name}(?:>=|==)([\d.]+)(?:,<([\d.]+))?",', text, re.MULTILINE)
        assert first is not None, name
        assert least == tuple(map(int, first[1].split(".")))
        assert first[2] is None or limit == tuple(map(int, first[2].split(".")))


def test_qt_libraries_are_those_of_the_setup() -> None:
    text = (ROOT / "packaging/setup.sh").read_text(encoding="utf-8")
    listed = text.partition('libraries="\n')[2].partition('"')[0].split()
    assert dict(zip(listed[::2], listed[1::2], strict=True)) == QT_LIBRARIES


def test_text_is_aligned_and_coloured_only_when_asked(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.neuron_ls([(5, "python \x1b[31mserve.py " + "x" * 200, [0])])
    examination = _examine(machine)
    plain = as_text(examination, colour=False, width=100)
    assert "\x1b" not in plain
    lines = [line for line in plain.splitlines() if re.match(r"  (good|warn|bad ) ", line)]
    assert len(lines) == len(examination.findings)
    starts = {match.end() for line in lines if (match := re.match(r"  \w+ +\S+ +", line))}
    assert len(starts) == 1
    assert [line for line in plain.splitlines() if len(line) > 100 and str(machine.root) not in line] == []
    assert "→ " in plain
    assert re.fullmatch(r"\d+ bad, \d+ warnings?: mend what is bad first\.", plain.splitlines()[-1])
    assert as_text(examination, colour=True).count("\x1b[1;31mbad ") >= 1


def test_json_says_the_same(machine: NeuronMachine) -> None:
    machine.healthy()
    machine.neuron_ls([(5, "other", [0])])
    examination = _examine(machine)
    document = json.loads(as_json(examination, "1.2"))
    assert document["schema"] == 1
    assert document["neuron"] is True
    assert document["good"] is False
    assert document["counts"]["bad"] == examination.count(Verdict.BAD) >= 1
    assert [one["name"] for one in document["findings"]] == [one.name for one in examination.findings]
    memory = next(one for one in document["findings"] if one["name"] == "memory")
    assert memory["details"]["core 23"] == "0.00 GiB"
    assert all(one["mend"] for one in document["findings"] if one["verdict"] != "good")
