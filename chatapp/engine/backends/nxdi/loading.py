"""Checkpoint → a model on NeuronCores by neuronx-distributed-inference, or on its emulator: what is checked, found, loaded.

The library keeps no cache of compiled graphs but the directory that it was told to compile into, and compares nothing when
it loads from there. So what is not found prepared, or is not what was asked for, is an error here; compiling belongs to a
process of its own and happens here only where that was allowed. One process holds one pair.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from chatapp import __version__
from chatapp.domain.errors import DeviceUnavailable, ModelError, UnsupportedModel
from chatapp.domain.events import ModelInfo
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.decoder.shape import DecoderShape, read_shape
from chatapp.engine.backends.decoder.weights import parameters
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.neuron.building import DTYPES
from chatapp.engine.backends.neuron.errors import LIBRARY_FAILURES, Asked, listening, load_error
from chatapp.engine.backends.neuron.holding import device_facts, install_emulator, require_free, take
from chatapp.engine.backends.neuron.recipe import Recipe, Role, make_recipe
from chatapp.engine.backends.neuron.rehearsing import pace, pacing_pair
from chatapp.engine.backends.nxdi.arguments import NUMBERS, graphs_of, require_fit, resolved
from chatapp.engine.backends.nxdi.library import (
    DISTRIBUTION,
    library_versions,
    make_application,
    require_compiled,
)
from chatapp.engine.backends.nxdi.nxdi import NxdiModel
from chatapp.engine.contracts import CausalModel, DeviceFacts


class NxdiBackend:
    """Implements `parts.BuiltinBackend`, for one pair: both sides share the settings and the cores.

    What it cannot do: another number of rows than the one window, a single token on the target for less than that window,
    int8 or other weights than the checkpoint's own, ids sampled on the device.
    """

    name = "nxdi"
    description = "AWS Inferentia2 and Trainium by neuronx-distributed-inference."

    def __init__(self, settings: NeuronSettings, *, may_compile: bool = False) -> None:
        """`may_compile`: what is not prepared is compiled here and now, and not kept; on the emulator, where that takes no
        time, it always is. Raises `DeviceUnavailable` where library or device are not to be had, and
        `InvalidSetting`."""
        pacing_pair(settings)  # before anything is installed
        if settings.rehearse:
            from chatapp.engine.backends.emulator import nxdi as emulator

            install_emulator(emulator, settings.rehearse, DISTRIBUTION)
            self._versions: tuple[tuple[str, str], ...] = (
                (DISTRIBUTION, f"emulated by chatapp {__version__}"),
            )
        else:
            self._versions = library_versions()
        self.settings = resolved(settings)
        self._prepared: dict[str, Path | None] = {}
        """By side, what `require` found."""
        self._may_compile = may_compile or (bool(settings.rehearse) and settings.artefacts is None)
        require_free(settings)

    @property
    def facts(self) -> DeviceFacts:
        return device_facts(self.settings, self._versions)

    def claims(self, checkpoint: Checkpoint, device: str) -> bool:  # noqa: ARG002 - the contract's signature
        return True

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises `NotAModel`, `UnsupportedModel`."""
        require_fit(checkpoint)
        read_shape(checkpoint.directory, checkpoint.config)

    def require(self, checkpoint: Checkpoint, role: Role) -> None:
        """Raises `NotPrepared`."""
        recipe = recipe_of(checkpoint, self.settings, role)
        store = ArtefactStore(self.settings.artefacts)
        found = store.find(recipe) if self._may_compile else store.require(recipe)
        if found is not None:
            require_compiled(found, checkpoint, self.settings, role)
        self._prepared[role] = found

    def load(
        self, checkpoint: Checkpoint, device: str, *, role: Literal["target", "draft"], weights: str = "auto"
    ) -> CausalModel:
        """Raises `ModelError`."""
        del device
        if weights != "auto":
            raise UnsupportedModel(
                f"{checkpoint.name} cannot run on NeuronCores with {weights} weights: this library takes them only from "
                "a checkpoint that it quantised itself.",
                remedy="Choose its own weights.",
            )
        shape = read_shape(checkpoint.directory, checkpoint.config)
        application = self._on_device(checkpoint, role)
        settings = self.settings
        size = NUMBERS[settings.dtype].itemsize
        return NxdiModel(
            application,
            graphs_of(settings, role),
            self._info(checkpoint, shape, role),
            role=role,
            vocabulary=shape.vocabulary,
            context_limit=int(checkpoint.config.get("max_position_embeddings", settings.positions)),
            weight_bytes=size * _read_parameters(shape),
            position_bytes=2 * size * shape.layers * shape.kv_heads * shape.head_dim,
        )

    def _info(self, checkpoint: Checkpoint, shape: DecoderShape, role: Role) -> ModelInfo:
        settings = self.settings
        numbers = DTYPES[settings.dtype]
        passes = (
            f"every pass in the one compiled window of {settings.windows[0]}, a single token too"
            if role == "target"
            else "text appended token by token"
        )
        return ModelInfo(
            checkpoint.name,
            checkpoint.architecture,
            parameters(shape),
            numbers,
            checkpoint.weights_sha256(),
            runs_on=f"{DISTRIBUTION}, {settings.tp_degree} NeuronCores, {passes}, {numbers}",
        )

    def _on_device(self, checkpoint: Checkpoint, role: Role) -> Any:
        """The library's application, loaded and warmed up."""
        if role not in self._prepared:
            self.require(checkpoint, role)
        prepared = self._prepared[role]
        checkpoint.check_files()
        asked = Asked(checkpoint.name, role, self.settings.tp_degree, DISTRIBUTION)
        application: Any = None
        failure: BaseException | None = None
        with listening() as heard:
            try:
                application = self._loaded(checkpoint, role, prepared)
            except ModelError:
                raise  # said before the device was touched
            except LIBRARY_FAILURES as error:
                failure = error
        # Outside: the last of the log is heard when the listening has ended.
        said = load_error(failure, heard.text, asked) if failure is not None else None
        # Where nothing was uploaded this process may try again, once the reason is gone.
        if not isinstance(said, DeviceUnavailable):
            take(self.settings)
        if said is not None:
            raise said from failure
        return application

    def _loaded(self, checkpoint: Checkpoint, role: Role, prepared: Path | None) -> Any:
        application = make_application(checkpoint, self.settings, role)
        if prepared is not None:
            application.load(str(prepared))
        else:
            with TemporaryDirectory(prefix="chatapp-nxdi-") as folder:
                application.compile(folder)
                application.load(folder)
        pace(application, role, self.settings)
        return application


def recipe_of(checkpoint: Checkpoint, settings: NeuronSettings, role: Role) -> Recipe:
    """Of resolved settings. What else is asked of the library follows from them."""
    return make_recipe(checkpoint, settings, role)


def _read_parameters(shape: DecoderShape) -> int:
    """What one launch reads: of an embedding that is not the head too only the rows that are looked up."""
    return parameters(shape) - (0 if shape.tied else shape.vocabulary * shape.hidden)
