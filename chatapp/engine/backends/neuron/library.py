"""transformers-neuronx as it is installed, or its emulator: what is needed of either, and why it cannot be had.

The only module that imports the library. Sources: transformers_neuronx 0.13, setup.py; AWS Neuron release notes
(neuron-contract.md §0).
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chatapp.domain.errors import DeviceUnavailable

INDEX = "https://pip.repos.neuron.amazonaws.com"
PACKAGE = "transformers-neuronx"
NAMED_PACKAGES = ("transformers-neuronx", "torch-neuronx", "neuronx-cc", "libneuronxla")
SMALLEST_REAL = (0, 10)
"""PyPI holds a placeholder 0.1 under the same name; AWS's index holds 0.10 and later for SDK 2.18 and later."""
PINS_447 = (0, 13, 380)
"""Up to this wheel the library asks for transformers below 4.48; later wheels' pins are not public."""
NEWEST_PYTHON = (3, 11)
INSTALL = (
    f"Install it from AWS's index (`pip install {PACKAGE} --extra-index-url={INDEX}`), "
    "with the versions in packaging/neuron/constraints.txt."
)


@dataclass(frozen=True, slots=True)
class Library:
    """The two classes that the adapter uses. `versions` are `(package, version)` of what traces, compiles and runs."""

    llama: Any
    neuron_config: Any
    versions: tuple[tuple[str, str], ...]


def open_library() -> Library:
    """The installed library. Raises `DeviceUnavailable`."""
    trouble = library_trouble(version)
    if trouble is not None:
        raise DeviceUnavailable(trouble[0], remedy=trouble[1])
    try:
        return imported_library(installed_versions())
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise DeviceUnavailable(
            f"transformers-neuronx is installed and cannot be imported ({error}).", remedy=INSTALL
        ) from error


def imported_library(versions: tuple[tuple[str, str], ...]) -> Library:
    """Whatever stands under the library's import names. Raises what importing it raises."""
    llama = importlib.import_module("transformers_neuronx.llama.model").LlamaForSampling
    return Library(llama, importlib.import_module("transformers_neuronx.config").NeuronConfig, versions)


def library_trouble(version_of: Callable[[str], str]) -> tuple[str, str] | None:
    """Why the library cannot be used as it is installed, and what to do; None when nothing is known against it.
    `version_of` is `importlib.metadata.version`."""
    try:
        found = version_of(PACKAGE)
    except PackageNotFoundError:
        here = ".".join(map(str, sys.version_info[:2]))
        newer = sys.version_info[:2] > NEWEST_PYTHON
        aside = f" Its last wheels are for Python 3.9 to 3.11; this is {here}." if newer else ""
        return f"transformers-neuronx is not installed.{aside}", INSTALL
    if numbers(found) < SMALLEST_REAL:
        return (
            f"transformers-neuronx {found} is the placeholder of the public index, not the library.",
            f"Remove it (`pip uninstall {PACKAGE}`). {INSTALL}",
        )
    transformers = version_of("transformers")
    too_new = numbers(transformers) >= (5,) or (
        numbers(transformers) >= (4, 48) and numbers(found) <= PINS_447
    )
    if too_new:
        return (
            f"transformers {transformers} is too new for transformers-neuronx {found}: positions would be rotated wrongly.",
            'Install `pip install "transformers<4.48"`, as packaging/neuron/constraints.txt has it.',
        )
    return None


def numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: (0, 13, 380) of `0.13.380+g7a1b`."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def installed_versions() -> tuple[tuple[str, str], ...]:
    """Of the Neuron wheels that are there."""
    found = []
    for name in NAMED_PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
