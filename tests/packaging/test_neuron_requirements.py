"""The extras for Inferentia2 and Trainium: floors, pins, and that the pins fit the application.

AWS's packages are on AWS's own index alone; the public index holds empty placeholders of the same names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chatapp.library.host import working_set

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDERS = {
    "transformers-neuronx": "0.1",
    "torch-neuronx": "1.0",
    "neuronx-cc": "1.0.post1",
    "libneuronxla": "1.0",
    "neuronx-distributed": "0.1",
    "neuronx-distributed-inference": "0.1.0",
}
"""The highest version of each on the public index, November 2026."""
SETS = {
    "neuron": ("constraints.txt", ("3.10", "3.11")),
    "neuron-nxdi": ("constraints-nxdi.txt", ("3.11", "3.12", "3.13")),
}


def requirements(extra: str | None) -> list[Requirement]:
    """What the application asks for, or one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def pins(path: Path, python: str) -> dict[str, str]:
    """Name to version, of the lines that hold for a version of Python."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is not None and not pin.marker.evaluate({"python_version": python}):
            continue
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        name = canonicalize_name(pin.name)
        assert name not in found, f"{name} is pinned twice"
        found[name] = specifier.version
    return found


@pytest.mark.parametrize("extra", SETS)
def test_the_placeholders_of_the_public_index_do_not_meet_the_floors(extra: str) -> None:
    asked = {canonicalize_name(one.name): one.specifier for one in requirements(extra)}
    own = {name: specifier for name, specifier in asked.items() if name in PLACEHOLDERS}
    assert {"torch-neuronx", "neuronx-cc", "libneuronxla"} < own.keys()
    met = [name for name, specifier in own.items() if specifier.contains(PLACEHOLDERS[name])]
    assert met == []


@pytest.mark.parametrize(
    ("extra", "python"), [(extra, one) for extra, (_, all_) in SETS.items() for one in all_]
)
def test_the_pinned_set_fits_the_extra_and_the_application(extra: str, python: str) -> None:
    pinned = pins(ROOT / "packaging" / "neuron" / SETS[extra][0], python)
    for asked in [*requirements(None), *requirements(extra)]:
        name = canonicalize_name(asked.name)
        assert name in pinned, f"{name} is not pinned"
        assert asked.specifier.contains(pinned[name]), f"{asked} against {pinned[name]}"


@pytest.mark.parametrize("extra", SETS)
def test_the_two_sets_share_the_applications_own_versions(extra: str) -> None:
    """What AWS's packages do not decide is what ordinary set-ups have too."""
    ordinary = pins(ROOT / "packaging" / "constraints.txt", "3.11")
    theirs = pins(ROOT / "packaging" / "neuron" / SETS[extra][0], "3.11")
    for name in ("pyside6-essentials", "shiboken6", "qasync", "pyqtgraph", "safetensors", "jinja2"):
        assert theirs[name] == ordinary[name]


def test_ordinary_set_ups_have_one_version_of_torch() -> None:
    """`packaging/run` asks for the CPU build of exactly the version that the constraints name."""
    ordinary = pins(ROOT / "packaging" / "constraints.txt", "3.11")
    setup = (ROOT / "packaging" / "setup.sh").read_text()
    assert f"\ntorch_version={ordinary['torch']}\n" in setup
    (torch,) = [one for one in requirements(None) if one.name == "torch"]
    assert torch.specifier.contains(ordinary["torch"])


def test_the_doctor_looks_for_the_same_set() -> None:
    theirs = pins(ROOT / "packaging" / "neuron" / "constraints.txt", "3.11")
    assert working_set.LIBRARY_SDK[theirs["transformers-neuronx"]] == working_set.LAST_SDK
    for name, numbers in working_set.WHEELS.items():
        assert theirs[name].startswith(working_set.dotted(numbers) + ".")
    assert theirs["torch-neuronx"].endswith("." + working_set.dotted(working_set.TORCH_NEURONX_BUILD))
    successor = pins(ROOT / "packaging" / "neuron" / "constraints-nxdi.txt", "3.12")
    assert successor[working_set.SUCCESSOR] == working_set.dotted(working_set.SUCCESSOR_LAST)
