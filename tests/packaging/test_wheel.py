"""A wheel carries resources/ and finds them once installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_COPIED_BYTES = 1_000_000
"""Weights are copied as stand-ins: packing them takes longer than everything else together."""


def _copy(source: str, target: str) -> None:
    if Path(source).stat().st_size > LARGEST_COPIED_BYTES:
        Path(target).write_bytes(b"large")
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the project's wheel was unpacked."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for name in ("chatapp", "resources"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, clone / name, ignore=ignored, copy_function=_copy)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(clone)], cwd=clone, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(clone / done.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(site)
    return site


def test_every_resource_is_in_the_wheel(installed: Path) -> None:
    resources = ROOT / "resources"
    expected = {path.relative_to(resources) for path in resources.rglob("*") if path.is_file()}
    packed = installed / "chatapp" / "_resources"
    assert {path.relative_to(packed) for path in packed.rglob("*") if path.is_file()} == expected
    assert expected


def test_installed_package_reads_its_own_resources(installed: Path) -> None:
    script = (
        "from chatapp import resources; print(resources.resource_path('icons')); print(resources.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=installed,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    icons, module = done.stdout.splitlines()
    assert Path(module).is_relative_to(installed)
    assert Path(icons) == installed / "chatapp" / "_resources" / "icons"
    assert Path(icons).is_dir()


def test_only_the_application_is_installed(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"chatapp"}
    (metadata,) = installed.glob("*.dist-info/entry_points.txt")
    assert "chatapp = chatapp.__main__:main" in metadata.read_text()
