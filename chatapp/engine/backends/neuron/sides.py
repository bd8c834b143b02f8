"""A pair's location → its sides to prepare, each with the recipe that loading will look for. Knows the libraries by name.

Loading asks the same backends for settings, and the same functions for the graphs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from chatapp.domain.errors import PrepareFailed
from chatapp.domain.neuron import NeuronSettings, compile_workers
from chatapp.domain.ports import PairLocation
from chatapp.engine.backends.checkpoint import Checkpoint, read_checkpoint
from chatapp.engine.backends.neuron.building import OPTIONS, build_model, graphs_of
from chatapp.engine.backends.neuron.compiling import Listener, compile_graphs
from chatapp.engine.backends.neuron.library import INDEX, Library, numbers
from chatapp.engine.backends.neuron.loading import TnxBackend
from chatapp.engine.backends.neuron.preparing import Side
from chatapp.engine.backends.neuron.recipe import Role, make_recipe
from chatapp.engine.backends.nxdi.compiling import NxdiCompiler
from chatapp.engine.backends.nxdi.loading import NxdiBackend
from chatapp.engine.backends.nxdi.loading import recipe_of as nxdi_recipe
from chatapp.engine.devices import builtin_backend
from chatapp.engine.prompt import Prompt, require_same_vocabulary
from chatapp.engine.registry.parts import BuiltinBackend
from chatapp.engine.session import same_tokenizer

COMPILER = "neuronx-cc"
SMALLEST_COMPILER = (2,)
"""The public index holds a placeholder 1.0 under the same name."""


def usual_workers() -> int:
    """As many as this machine's memory and processors allow, at least 1."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return compile_workers(memory, os.cpu_count() or 1)


def require_compiler(
    version_of: Callable[[str], str] = version, program: Callable[[str], str | None] = shutil.which
) -> None:
    """Raises `PrepareFailed` where graphs can be traced and not compiled."""
    try:
        found = version_of(COMPILER)
    except PackageNotFoundError:
        what = f"The compiler {COMPILER} is not installed"
    else:
        if numbers(found) >= SMALLEST_COMPILER and program(COMPILER) is not None:
            return
        what = (
            f"{COMPILER} {found} is the placeholder of the public index, not the compiler"
            if numbers(found) < SMALLEST_COMPILER
            else f"{COMPILER} {found} is installed and its program is not on the PATH"
        )
    raise PrepareFailed(
        f"{what}.",
        remedy=f"Install it from AWS's index (`pip install {COMPILER} --extra-index-url={INDEX}`) with the versions in "
        "packaging/neuron/constraints.txt, and start from that environment; `chatapp doctor` checks it.",
    )


def sides_of(location: PairLocation, workers: int) -> list[Side]:
    """Target first. Reads both checkpoints and hashes their weights; what would keep the pair from being loaded is said here,
    before hours of compiling.

    Raises `ModelError` for what is no model or no pair or cannot run on NeuronCores, `DeviceUnavailable` without the library,
    and `InvalidSetting`.
    """
    settings = location.neuron or NeuronSettings()
    backend = builtin_backend(settings, may_compile=False)
    if not settings.rehearse:
        require_compiler()
    directories: list[tuple[Role, Path]] = [("target", location.target)]
    if location.draft is not None:
        directories.append(("draft", location.draft))
    checkpoints = [(role, read_checkpoint(directory)) for role, directory in directories]
    for _, checkpoint in checkpoints:
        backend.check(checkpoint)
        checkpoint.check_files()
    if location.draft is not None and not same_tokenizer(location):
        require_same_vocabulary(
            Prompt.load(location.target, ()).vocabulary(), Prompt.load(location.draft, ()).vocabulary()
        )
    return [_side(backend, checkpoint, role, workers) for role, checkpoint in checkpoints]


def _side(backend: BuiltinBackend, checkpoint: Checkpoint, role: Role, workers: int) -> Side:
    if isinstance(backend, NxdiBackend):
        recipe = nxdi_recipe(checkpoint, backend.settings, role)
        return Side(
            recipe, NxdiCompiler(backend.settings, checkpoint, role, _kind(backend.settings, checkpoint))
        )
    assert isinstance(backend, TnxBackend)
    recipe = make_recipe(checkpoint, backend.settings, role, options=OPTIONS)
    return Side(recipe, TnxCompiler(backend.library, backend.settings, checkpoint, role, workers))


@dataclass(frozen=True, slots=True)
class TnxCompiler:
    """Implements `preparing.Compiler` for transformers-neuronx, or its emulator."""

    library: Library
    settings: NeuronSettings
    checkpoint: Checkpoint
    role: Role
    workers: int

    @property
    def graphs(self) -> int:
        return self.settings.graphs(graphs_of(self.settings, self.role).windows)

    @property
    def kind(self) -> str:
        return _kind(self.settings, self.checkpoint)

    def compile(self, folder: Path, listener: Listener) -> int:
        model = build_model(
            self.library, self.checkpoint.directory, self.settings, self.role, workers=self.workers
        )
        return compile_graphs(model, folder, self.workers, listener)


def _kind(settings: NeuronSettings, checkpoint: Checkpoint) -> str:
    """Sizes that decide how long a graph takes to compile."""
    device = "simulated" if settings.rehearse else COMPILER
    config = checkpoint.config
    shape = f"{config.get('num_hidden_layers')} layers of {config.get('hidden_size')}"
    return f"{device}, {settings.library}, {shape}, {settings.tp_degree} cores"
