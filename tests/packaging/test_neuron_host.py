"""packaging/neuron/setup-host, run for real against a system that stands in a folder: a root of its own, commands that take
notes and remember what was installed. Downloads are files; sums, archives and configuration files are real."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).parent / "host" / "stub.sh"
COMMANDS = (
    *("id", "uname", "nproc", "ldconfig", "dpkg-query", "rpm", "apt-get", "dnf", "systemctl", "usermod", "passwd", "chpasswd"),
    *("modprobe", "curl", "gpg", "python3.10", "python3.11", "python3.12"),
)  # fmt: skip
SYSTEMS = {
    "ubuntu2204": ('ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n', "ubuntu"),
    "ubuntu2404": ('ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n', "ubuntu"),
    "amzn2023": ('ID="amzn"\nVERSION_ID="2023"\n', "ec2-user"),
}
KEY = "00FA2C1079260870A76D2C285749CAD8646D9185"
HASH = "$6$salt$hash"
GDM = "# GDM\n[daemon]\n#WaylandEnable=false\nAutomaticLoginEnable=false\n\n[security]\n"
IMAGE = "/opt/aws_neuronx_venv_pytorch_2_7_transformers"


class Machine:
    """A fresh machine of a supported system, with a chip, and a clone of the repository."""

    def __init__(self, folder: Path, system: str = "ubuntu2204") -> None:
        release, self.user = SYSTEMS[system]
        self.system = system
        self.root, self.fake, self.clone = folder / "root", folder / "fake", folder / "a clone"
        for name in ("packages", "is-enabled", "is-active", "web", "bin"):
            (self.fake / name).mkdir(parents=True)
        self.write("/etc/os-release", release)
        self.write("/dev/neuron0", "")
        self.gdm = "/etc/gdm3/custom.conf" if system.startswith("ubuntu") else "/etc/gdm/custom.conf"
        self.write(self.gdm, GDM)
        self.write(
            "/etc/dcv/dcv.conf", "[license]\n[connectivity]\n#enable-quic-frontend=true\nweb-port=8443\n"
        )
        facts = {"uid": "0", "users": f"{self.user}\n", "machine": "x86_64", "nproc": "4", "password": "L"}
        for name, text in (facts | {"target": "multi-user.target", "dcv-groups": "", "calls": ""}).items():
            (self.fake / name).write_text(text)
        table = (ROOT / "packaging" / "setup.sh").read_text().split('libraries="\n')[1].split('\n"')[0]
        (self.fake / "libraries").write_text(table + "\n")
        shutil.copy(STUB, self.fake / "stub.sh")
        (self.fake / "stub.sh").chmod(0o755)
        for command in COMMANDS:
            (self.fake / "bin" / command).symlink_to(self.fake / "stub.sh")
        self._clone()
        (self.fake / "web" / "GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB").write_text(KEY)
        (self.fake / "web" / "NICE-GPG-KEY").write_text("key")
        self.archive()

    def _clone(self) -> None:
        shutil.copytree(ROOT / "packaging" / "neuron", self.clone / "packaging" / "neuron")
        shutil.copy(ROOT / "packaging" / "setup.sh", self.clone / "packaging")
        (self.clone / "resources" / "icons").mkdir(parents=True)
        shutil.copy(ROOT / "resources" / "icons" / "chatapp.svg", self.clone / "resources" / "icons")

    def archive(self) -> None:
        """DCV's packages for this system, and their sum in the clone."""
        name = f"nice-dcv-2025.0-20103-{self.system}-x86_64"
        if self.system == "amzn2023":
            files = [f"{part}-1.amzn2023.x86_64.rpm" for part in _dcv_parts("-")]
        else:
            files = [f"{part}-1_amd64.{self.system}.deb" for part in _dcv_parts("_")]
        path = self.fake / "web" / f"{name}.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for file in files:
                archive.addfile(tarfile.TarInfo(f"{name}/{file}"), io.BytesIO())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (self.clone / "packaging" / "neuron" / "dcv.sha256").write_text(f"{digest}  {name}.tgz\n")

    def write(self, path: str, text: str) -> None:
        place = self.root / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path[1:]).read_text()

    def install(self, **packages: str) -> None:
        for name, version in packages.items():
            (self.fake / "packages" / name.replace("_", "-")).write_text(version)

    def environment_of_the_image(self) -> None:
        """What the last image with the library has."""
        python = self.root / IMAGE[1:] / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(self.fake / "stub.sh")
        wheels = self.fake / "wheels" / IMAGE[1:]
        wheels.mkdir(parents=True)
        for name, version in (("transformers-neuronx", "0.13.1216"), ("torch", "2.7.0")):
            (wheels / name).write_text(version + "\n")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """setup-host, with the notes of earlier runs forgotten."""
        (self.fake / "calls").write_text("")
        own = {
            "PATH": f"{self.fake / 'bin'}:{os.environ['PATH']}",
            "CHATAPP_HOST_ROOT": str(self.root),
            "FAKE": str(self.fake),
            "LC_ALL": "C",
        }
        script = self.clone / "packaging" / "neuron" / "setup-host"
        return subprocess.run(
            ["bash", str(script), *arguments],
            cwd="/",
            env=own | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return (self.fake / "calls").read_text().splitlines()

    def installed(self) -> set[str]:
        return {path.name for path in (self.fake / "packages").iterdir()}

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Every file of the system, with its bytes and the moment it was last written."""
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.root.rglob("*")
            if path.is_file()
        }


def _dcv_parts(sign: str) -> list[str]:
    versions = {
        "nice-dcv-server": "20103",
        "nice-dcv-web-viewer": "20103",
        "nice-xdcv": "688",
        "nice-dcv-gl": "1112",
    }
    return [f"{name}{sign}2025.0.{build}" for name, build in versions.items()]


def lines(done: subprocess.CompletedProcess[str], verdict: str) -> set[str]:
    """The items that --check calls `good` or `bad`."""
    return {line.split()[1] for line in done.stdout.splitlines() if line.startswith(f"{verdict} ")}


def library(system: str) -> list[str]:
    """Ubuntu 24.04 has no Python that the wheels of transformers-neuronx are made for."""
    return ["--library", "nxdi"] if system == "ubuntu2404" else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_fresh_machine_becomes_a_host_and_a_second_run_does_nothing(tmp_path: Path, system: str) -> None:
    machine = Machine(tmp_path, system)
    first = machine.run(*library(system), CHATAPP_PASSWORD_HASH=HASH)
    assert first.returncode == 0, first.stderr
    assert machine.calls
    assert {"aws-neuronx-dkms", "aws-neuronx-collectives", "gnome-shell", "nice-xdcv"} <= machine.installed()
    assert "nice-dcv-gl" not in machine.installed()

    before = machine.files()
    check = machine.run(*library(system), "--check")
    assert check.returncode == 0, check.stdout
    assert lines(check, "bad") == set()
    assert len(lines(check, "good")) == 19

    second = machine.run(*library(system))
    assert second.returncode == 0, second.stderr
    assert "is ready" in second.stderr
    assert machine.calls == []
    assert machine.files() == before


@pytest.mark.parametrize("system", SYSTEMS)
def test_check_tells_what_is_missing_needs_no_root_and_changes_nothing(tmp_path: Path, system: str) -> None:
    machine = Machine(tmp_path, system)
    (machine.fake / "uid").write_text("1000")
    before = machine.files()
    done = machine.run(*library(system), "--check")
    assert done.returncode == 1
    # Only root can see whether there is a password, so that this line says so and is not bad.
    assert lines(done, "good") == {"device", "nogl", "password"}
    assert {
        "index",
        "driver",
        "desktop",
        "qt",
        "wayland",
        "target",
        "dcv",
        "quic",
        "session",
        "venv",
    } < lines(done, "bad")
    assert done.stdout.count("mend: ") == len(lines(done, "bad"))
    assert machine.calls == []
    assert machine.files() == before


@pytest.mark.parametrize("uid", ["0", "1000"])
def test_dry_run_prints_every_command_and_changes_nothing(machine: Machine, uid: str) -> None:
    (machine.fake / "uid").write_text(uid)
    before = machine.files()
    done = machine.run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert machine.calls == []
    assert machine.files() == before
    for told in (
        "would run: apt-get -o DPkg::Lock::Timeout=600 update",
        "would run: systemctl enable --now dcvserver",
        "would write: /etc/systemd/system/chatapp-session.service",
        "would write: /usr/share/applications/chatapp.desktop",
        "torch==2.7.1+cpu",
    ):
        assert told in done.stdout
    assert ("would be left to you: sudo passwd ubuntu" in done.stdout) == (uid == "0")


def test_without_root_nothing_is_begun(machine: Machine) -> None:
    (machine.fake / "uid").write_text("1000")
    done = machine.run()
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert machine.calls == []


@pytest.mark.parametrize(
    ("release", "machine_type", "told"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "x86_64", "debian 12 is not supported"),
        ('ID=ubuntu\nVERSION_ID="20.04"\n', "x86_64", "ubuntu 20.04 is not supported"),
        ('ID="amzn"\nVERSION_ID="2"\n', "x86_64", "amzn 2 is not supported"),
        (SYSTEMS["ubuntu2204"][0], "aarch64", "this is aarch64"),
    ],
)
def test_other_systems_are_refused(machine: Machine, release: str, machine_type: str, told: str) -> None:
    machine.write("/etc/os-release", release)
    (machine.fake / "machine").write_text(machine_type)
    done = machine.run()
    assert done.returncode == 1
    assert told in done.stderr
    assert machine.calls == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--venv", ".venv"], "--venv needs a path from / on, not: .venv"),
        (["--venv", "/opt/$(id)"], "without quotes and dollars"),
        (["--venv", "/usr"], "/usr has a Python that is no environment of its own"),
        (["--venv", "/usr/"], "no environment of its own"),
        (["--venv", ""], "--venv needs a value"),
        (["--venv"], "--venv needs a value"),
        (["--user", ""], "--user needs a value"),
        (["--user", "--check"], "there is no user --check"),
        (["--user", "root"], "must not be root's"),
        (["--library", "neuron"], "--library is tnx or nxdi"),
        (["install"], "unknown option: install"),
    ],
)
def test_odd_arguments_are_refused_before_anything_is_done(
    machine: Machine, arguments: list[str], told: str
) -> None:
    machine.write("/usr/bin/python", "")
    (machine.root / "usr/bin/python").chmod(0o755)
    done = machine.run(*arguments, CHATAPP_PASSWORD_HASH=HASH)
    assert done.returncode == 1
    assert told in done.stderr
    assert machine.calls == []


def test_without_a_chip_it_stops_before_the_desktop(machine: Machine) -> None:
    (machine.root / "dev" / "neuron0").unlink()
    done = machine.run(CHATAPP_PASSWORD_HASH=HASH)
    assert done.returncode == 1
    assert "no /dev/neuron*" in done.stderr
    assert "inf2 or trn1" in done.stderr
    assert "gnome-shell" not in machine.installed()

    compiling = machine.run("--no-device", CHATAPP_PASSWORD_HASH=HASH)
    assert compiling.returncode == 0, compiling.stderr


def test_a_driver_that_was_not_loaded_is_loaded(machine: Machine) -> None:
    (machine.root / "dev" / "neuron0").unlink()
    (machine.fake / "chip").touch()
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    assert (machine.root / "dev" / "neuron0").exists()


def test_an_archive_of_dcv_that_was_changed_is_not_installed(machine: Machine) -> None:
    path = machine.fake / "web" / "nice-dcv-2025.0-20103-ubuntu2204-x86_64.tgz"
    path.write_bytes(path.read_bytes() + b"\0")
    done = machine.run(CHATAPP_PASSWORD_HASH=HASH)
    assert done.returncode == 1
    assert "its sum differs" in done.stderr
    assert not any(name.startswith("nice-") for name in machine.installed())


def test_amazon_linux_checks_the_signatures_of_dcvs_packages(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "amzn2023")
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    calls = machine.calls
    (at,) = [
        place for place, call in enumerate(calls) if "nice-dcv-server" in call and call.startswith("dnf")
    ]
    assert "--setopt=localpkg_gpgcheck=1" in calls[at]
    assert any(call.startswith("rpm --import") and "NICE-GPG-KEY" in call for call in calls[:at])


def test_a_wrong_key_of_awss_repository_is_not_trusted(machine: Machine) -> None:
    (machine.fake / "web" / "GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB").write_text("F" * 40)
    done = machine.run()
    assert done.returncode == 1
    assert "not the known one" in done.stderr
    assert not (machine.root / "etc" / "apt").exists()
    assert machine.installed() == set()


def test_the_environment_of_the_image_is_used_and_keeps_its_versions(machine: Machine) -> None:
    machine.environment_of_the_image()
    done = machine.run(CHATAPP_PASSWORD_HASH=HASH)
    assert done.returncode == 0, done.stderr
    pips = [call for call in machine.calls if call.startswith("python install")]
    assert len(pips) == 1
    assert pips[0].endswith(f"--editable {machine.clone}")
    assert "frozen" in pips[0]
    assert f'exec "{IMAGE}/bin/python"' in machine.read("/usr/local/bin/chatapp")
    # SDK 2.25's driver and runtime go with it.
    assert (machine.fake / "packages" / "aws-neuronx-runtime-lib").read_text() == "2.27.23.0\n"


def test_another_environment_than_the_images_may_be_asked_for(machine: Machine) -> None:
    machine.environment_of_the_image()
    assert machine.run("--venv", "/opt/mine", CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    assert 'exec "/opt/mine/bin/python"' in machine.read("/usr/local/bin/chatapp")
    assert (machine.fake / "wheels" / "opt" / "mine" / "transformers-neuronx").exists()
    second = machine.run("--venv", "/opt/mine", CHATAPP_PASSWORD_HASH=HASH)
    assert (second.returncode, machine.calls) == (0, [])


def test_newer_system_packages_stay_and_older_ones_are_replaced(machine: Machine) -> None:
    machine.install(aws_neuronx_dkms="2.28.0.0", aws_neuronx_runtime_lib="2.9.0.0")
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    (call,) = [call for call in machine.calls if "aws-neuronx-runtime-lib" in call]
    assert "aws-neuronx-runtime-lib=2.28.23.0*" in call
    assert "aws-neuronx-dkms" not in call


def test_dcv_gl_is_taken_away(machine: Machine) -> None:
    machine.install(nice_dcv_gl="2025.0.1112")
    assert "nogl" in lines(machine.run("--check"), "bad")
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    assert "nice-dcv-gl" not in machine.installed()


def test_a_missing_password_is_left_to_the_person(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].strip() == "sudo passwd ubuntu (DCV asks for it)"
    (machine.fake / "password").write_text("P")
    assert machine.run().returncode == 0
    assert machine.calls == []


def test_a_password_that_is_no_hash_is_refused(machine: Machine) -> None:
    done = machine.run(CHATAPP_PASSWORD_HASH="secret")
    assert done.returncode == 1
    assert "openssl passwd -6" in done.stderr
    assert not (machine.fake / "hash").exists()


def test_the_hash_is_set_and_in_no_command_line(machine: Machine) -> None:
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    assert (machine.fake / "hash").read_text() == f"ubuntu:{HASH}\n"
    assert not any(HASH in call for call in machine.calls)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GDM, GDM.replace("[daemon]\n", "[daemon]\nWaylandEnable=false\n")),
        ("[daemon]\nWaylandEnable = true\n", "[daemon]\nWaylandEnable=false\n"),
        (
            "[security]\nWaylandEnable=false\n",
            "[security]\nWaylandEnable=false\n[daemon]\nWaylandEnable=false\n",
        ),
        ("", "[daemon]\nWaylandEnable=false\n"),
    ],
)
def test_wayland_is_switched_off_and_the_rest_of_the_file_stays(
    machine: Machine, before: str, after: str
) -> None:
    machine.write(machine.gdm, before)
    assert "wayland" in lines(machine.run("--check"), "bad")
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    assert machine.read(machine.gdm) == after


def test_ubuntu_24_has_no_python_for_the_older_library(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "ubuntu2404")
    done = machine.run(CHATAPP_PASSWORD_HASH=HASH)
    assert done.returncode == 1
    assert "no Python that the wheels of transformers-neuronx" in done.stderr
    assert "--library nxdi" in done.stderr
    assert "gnome-shell" not in machine.installed()


def test_an_interrupted_run_says_where_and_the_next_one_ends_it(machine: Machine) -> None:
    archive = machine.fake / "web" / "nice-dcv-2025.0-20103-ubuntu2204-x86_64.tgz"
    away = archive.rename(archive.with_suffix(".away"))
    done = machine.run(CHATAPP_PASSWORD_HASH=HASH)
    assert done.returncode != 0
    assert 'stopped at "dcv"' in done.stderr
    away.rename(archive)
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    assert not any("aws-neuronx" in call for call in machine.calls)


@pytest.mark.parametrize(("cores", "threads"), [("4", "2"), ("8", "4"), ("192", "8"), ("1", "1")])
def test_compute_threads_are_capped_unless_a_person_says_otherwise(
    machine: Machine, cores: str, threads: str
) -> None:
    (machine.fake / "nproc").write_text(cores)
    assert machine.run(CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    launcher = machine.root / "usr" / "local" / "bin" / "chatapp"
    assert launcher.stat().st_mode & 0o777 == 0o755
    told = launcher.read_text().replace(
        'exec "/opt/chatapp-neuron/bin/python" -m chatapp', 'echo "$OMP_NUM_THREADS"'
    )
    for given, wanted in (({}, threads), ({"OMP_NUM_THREADS": "3"}, "3")):
        done = subprocess.run(["sh", "-c", told, "sh", "plan"], env=given, capture_output=True, text=True)
        assert done.stdout.split() == [wanted, "plan"]


def test_the_session_belongs_to_the_user_who_was_named(machine: Machine) -> None:
    (machine.fake / "users").write_text("ubuntu\nada\n")
    assert machine.run("--user", "ada", CHATAPP_PASSWORD_HASH=HASH).returncode == 0
    unit = machine.read("/etc/systemd/system/chatapp-session.service")
    assert "--type virtual --owner ada --user ada chatapp" in unit
    refused = machine.run("--user", "nobody-here")
    assert refused.returncode == 1
    assert "there is no user nobody-here" in refused.stderr
    assert "must not be root's" in machine.run("--user", "root").stderr


@pytest.mark.parametrize("arguments", [["--wrong"], ["--library", "other"], ["--user"]])
def test_wrong_arguments_are_refused(machine: Machine, arguments: list[str]) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 1
    assert machine.calls == []


def test_the_sums_of_dcvs_archives_are_there_for_both_ubuntus() -> None:
    rows = [line.split() for line in (ROOT / "packaging" / "neuron" / "dcv.sha256").read_text().splitlines()]
    assert {name for _, name in rows} == {
        f"nice-dcv-2025.0-20103-{system}-x86_64.tgz" for system in ("ubuntu2204", "ubuntu2404")
    }
    assert all(len(digest) == 64 for digest, _ in rows)
