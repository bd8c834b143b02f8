"""packaging/run and packaging/test: what they start, when they install, and that they recover."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    *("packaging/run", "packaging/test", "packaging/train-pair", "packaging/setup.sh", ".ci/run"),
    *(f"packaging/neuron/{name}" for name in ("setup-host", "host-items.sh", "host-application.sh")),
    "tests/packaging/host/stub.sh",
)

SHELLCHECK = str(Path(sys.executable).parent / "shellcheck")
"""The one of this environment: others find other things."""

FAKE_PYTHON = """#!/usr/bin/env bash
# Stands for .venv/bin/python: notes what it is asked, and does nothing.
printf '%s\\n' "$*" >>"{log}"
case "$*" in
  "-m chatapp"*) printf 'started with:'; printf ' <%s>' "${{@:3}}"; printf '\\n' ;;
  *"pip install"*) exit "${{FAKE_PIP_STATUS:-0}}" ;;
  "-c import importlib.metadata"*) exit 1 ;;
esac
"""
FAKE_BASE = """#!/usr/bin/env bash
# Stands for python3: makes a .venv of the fake above.
printf 'base: %s\\n' "$*" >>"{log}"
if [[ "$1 $2" == "-m venv" ]]; then
  mkdir -p "$3/bin"
  cp "{python}" "$3/bin/python"
fi
"""


class Clone:
    """A clone in a folder with a space in its name, with a Python that only takes notes."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.log = folder / "asked.txt"
        self.venv = self.root / ".venv"
        (self.root / "packaging").mkdir(parents=True)
        for name in ("packaging/run", "packaging/setup.sh", "packaging/constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        python = _script(folder / "venv-python", FAKE_PYTHON.format(log=self.log))
        self._base = _script(folder / "base-python", FAKE_BASE.format(log=self.log, python=python))
        _ldconfig(folder / "bin", _libraries())
        fonts = folder / ".fonts"
        fonts.mkdir()
        (fonts / "some.ttf").touch()
        self._environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "CHATAPP_PYTHON": str(self._base),
            "CHATAPP_TORCH": "torch==2.13.0",
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`packaging/run ARGUMENTS` from another folder; the notes of earlier runs are forgotten."""
        self.log.write_text("")
        return subprocess.run(
            ["bash", str(self.root / "packaging" / "run"), *arguments],
            cwd="/",
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _only_base_tools(folder: Path) -> None:
    """A system without apt-get, sudo and Python."""
    for tool in ("bash", "dirname", "uname", "find", "readlink", "sha256sum", "flock"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)


def _libraries() -> list[str]:
    table = (ROOT / "packaging" / "setup.sh").read_text().split('libraries="\n')[1]
    return table.split('\n"')[0].splitlines()


def _ldconfig(folder: Path, libraries: list[str]) -> None:
    """A loader that knows the first word of each line."""
    known = "".join(f"\\t{line.split()[0]} (libc6,x86-64)\\n" for line in libraries)
    _script(folder / "ldconfig", f"#!/bin/sh\nprintf '{known}'\n")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_first_start_installs_torch_first_and_passes_the_arguments(clone: Clone) -> None:
    done = clone.run("bench", "a b")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "started with: <bench> <a b>\n"
    installs = [line for line in clone.asked if "pip install" in line]
    assert [line.rpartition(" ")[2] for line in installs[:2]] == ["pip>=23", "torch==2.13.0"]
    assert installs[2].endswith(f"--editable {clone.root}")
    assert all(str(clone.root / "packaging" / "constraints.txt") in line for line in installs)
    compiled = clone.asked.index("-m chatapp.engine.backends.decoder.kernels")
    assert clone.asked.index(installs[2]) < compiled < clone.asked.index("-m chatapp bench a b")


def test_second_start_only_starts(clone: Clone) -> None:
    clone.run()
    assert clone.run("--help").stdout == "started with: <--help>\n"
    assert clone.asked == ["-m chatapp --help"]


@pytest.mark.parametrize("name", ["pyproject.toml", "packaging/constraints.txt"])
def test_changed_requirements_install_again_in_the_same_environment(clone: Clone, name: str) -> None:
    clone.run()
    (clone.root / name).write_text("changed")
    clone.run()
    assert [line for line in clone.asked if "pip install" in line]
    assert not [line for line in clone.asked if line.startswith("base: -m venv")]


def test_moved_clone_installs_again(clone: Clone) -> None:
    clone.run()
    clone.root = clone.root.rename(clone.root.with_name("moved"))
    clone.run()
    assert [line for line in clone.asked if line.endswith(f"--editable {clone.root}")]


def test_failed_installation_is_begun_again_from_nothing(clone: Clone) -> None:
    failed = clone.run("models", FAKE_PIP_STATUS="1")
    assert failed.returncode != 0
    assert "started" not in failed.stdout
    (clone.venv / "half-written").touch()
    done = clone.run("models")
    assert done.stdout == "started with: <models>\n"
    assert "beginning again" in done.stderr
    assert not (clone.venv / "half-written").exists()


def test_an_environment_without_python_is_made_anew(clone: Clone) -> None:
    clone.run()
    (clone.venv / "bin" / "python").unlink()
    assert clone.run("models").stdout == "started with: <models>\n"
    assert any(line.startswith("base: -m venv") for line in clone.asked)


def test_missing_libraries_and_no_others_are_installed(clone: Clone, tmp_path: Path) -> None:
    known = [line for line in _libraries() if not line.startswith(("libxcb-cursor", "libEGL"))]
    _ldconfig(tmp_path / "bin", known)
    note = f'printf "%s\\n" "$*" >>"{tmp_path / "apt.txt"}"\n'
    _script(tmp_path / "bin" / "apt-get", f"#!/bin/sh\n{note}")
    _script(tmp_path / "bin" / "sudo", '#!/bin/sh\nexec "$@"\n')
    done = clone.run("models")
    assert done.stdout == "started with: <models>\n"
    asked = (tmp_path / "apt.txt").read_text()
    assert asked == "install -y --no-install-recommends libegl1 libxcb-cursor0\n"


def test_missing_libraries_without_apt_are_named(clone: Clone, tmp_path: Path) -> None:
    _only_base_tools(tmp_path / "bin")
    _ldconfig(tmp_path / "bin", ["libGL.so.1"])
    done = clone.run(PATH=str(tmp_path / "bin"))
    assert done.returncode == 1
    assert "libxcb-cursor0" in done.stderr
    assert "libgl1 " not in done.stderr
    assert "no apt-get" in done.stderr


def test_a_python_that_is_too_old_is_a_clear_error(clone: Clone, tmp_path: Path) -> None:
    _only_base_tools(tmp_path / "bin")
    old = _script(tmp_path / "old-python", "#!/bin/sh\nexit 1\n")
    done = clone.run(PATH=str(tmp_path / "bin"), CHATAPP_PYTHON=str(old))
    assert done.returncode == 1
    assert "python3-venv" in done.stderr


def test_scripts_are_clean() -> None:
    done = subprocess.run(
        [SHELLCHECK, "--external-sources", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_every_shell_script_is_looked_at_here_and_in_packaging_test() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    starts = {
        name: (ROOT / name).read_bytes()[:30] for name in listed.splitlines() if (ROOT / name).is_file()
    }
    shell = {name for name, start in starts.items() if b"bash" in start or start.startswith(b"# shellcheck")}
    assert shell == set(SCRIPTS)
    checked = (ROOT / "packaging" / "test").read_text().split("scripts=(")[1].split(")")[0].split()
    assert set(checked) == shell


@pytest.mark.parametrize(
    "name",
    ["packaging/run", "packaging/test", "packaging/train-pair", "packaging/neuron/setup-host", ".ci/run"],
)
def test_scripts_can_be_started(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def test_ci_runs_what_a_person_runs() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec bash packaging/test"
