"""Checkpoint → a model on NeuronCores by transformers-neuronx, or on its emulator: what is checked, found prepared, uploaded.

The library compiles what it does not find, in as many processes as there are graphs, forked from this one: in the window's
process that must not be, so what is not prepared is `NotPrepared` unless compiling was allowed. A core belongs to a process
until it ends, and the library can unload nothing: one process holds one pair.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from chatapp import __version__
from chatapp.domain.errors import DeviceUnavailable, ModelError, UnsupportedModel
from chatapp.domain.events import ModelInfo
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.decoder.shape import DecoderShape, read_shape
from chatapp.engine.backends.decoder.weights import parameters
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.neuron.building import DTYPES, OPTIONS, build_model, graphs_of, resolved
from chatapp.engine.backends.neuron.errors import LIBRARY_FAILURES, Asked, listening, load_error
from chatapp.engine.backends.neuron.fitness import require_fit
from chatapp.engine.backends.neuron.holding import device_facts, install_emulator, require_free, take
from chatapp.engine.backends.neuron.library import PACKAGE, Library, imported_library, open_library
from chatapp.engine.backends.neuron.recipe import make_recipe
from chatapp.engine.backends.neuron.rehearsing import pace, pacing_pair
from chatapp.engine.backends.neuron.tnx import TnxModel
from chatapp.engine.backends.neuron.uploading import count_upload
from chatapp.engine.contracts import CausalModel, DeviceFacts

BYTES = {"bf16": 2, "f16": 2, "f32": 4}
COMPILED_AT_ONCE = 4
"""Graphs, when compiling here is allowed; each needs some gigabytes (AWS Neuron developer guide)."""


class TnxBackend:
    """Implements `parts.BuiltinBackend`, for one pair: both sides share the settings and the cores."""

    name = "tnx"
    description = "AWS Inferentia2 and Trainium by transformers-neuronx."

    def __init__(
        self,
        settings: NeuronSettings,
        *,
        may_compile: bool = False,
        tell: Callable[[str, float, str], None] = lambda *_: None,
    ) -> None:
        """`may_compile`: what is not prepared is compiled here and now; on the emulator, where that takes no time, it always
        is, unless a folder of artefacts is named: that rehearses preparing too. `tell` hears how far a side's upload is: its
        role, a share and words. Raises `DeviceUnavailable` where library or device are not to be had, and `InvalidSetting`."""
        pacing_pair(settings)  # before anything is installed
        self.library = _emulator(settings.rehearse) if settings.rehearse else open_library()
        self.settings = resolved(settings)
        self._prepared: dict[str, Path | None] = {}
        """By side, what `require` found."""
        self._may_compile = may_compile or (bool(settings.rehearse) and settings.artefacts is None)
        self._tell = tell
        require_free(settings)

    @property
    def facts(self) -> DeviceFacts:
        return device_facts(self.settings, self.library.versions)

    def claims(self, checkpoint: Checkpoint, device: str) -> bool:  # noqa: ARG002 - the contract's signature
        return True

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises `NotAModel`, `UnsupportedModel`."""
        require_fit(checkpoint)
        read_shape(checkpoint.directory, checkpoint.config)

    def require(self, checkpoint: Checkpoint, role: Literal["target", "draft"]) -> None:
        """Raises `NotPrepared`."""
        recipe = make_recipe(checkpoint, self.settings, role, options=OPTIONS)
        store = ArtefactStore(self.settings.artefacts)
        self._prepared[role] = store.find(recipe) if self._may_compile else store.require(recipe)

    def load(
        self, checkpoint: Checkpoint, device: str, *, role: Literal["target", "draft"], weights: str = "auto"
    ) -> CausalModel:
        """Raises `ModelError`."""
        del device
        if weights != "auto":
            raise UnsupportedModel(
                f"{checkpoint.name} cannot run on NeuronCores with {weights} weights.",
                remedy="Choose its own weights.",
            )
        settings = self.settings
        shape = read_shape(checkpoint.directory, checkpoint.config)
        model = self._on_device(checkpoint, role)
        numbers = DTYPES[settings.dtype]
        graphs = graphs_of(settings, role)
        words = (
            f"{settings.tp_degree} NeuronCores, windows {', '.join(map(str, (1, *graphs.windows)))} compiled"
        )
        info = ModelInfo(
            checkpoint.name,
            checkpoint.architecture,
            parameters(shape),
            numbers,
            checkpoint.weights_sha256(),
            runs_on=f"transformers-neuronx, {words}, {numbers}",
        )
        return TnxModel(
            model,
            graphs,
            info,
            role=role,
            vocabulary=shape.vocabulary,
            context_limit=int(checkpoint.config.get("max_position_embeddings", settings.positions)),
            weight_bytes=BYTES[settings.dtype] * _read_parameters(shape),
            position_bytes=2 * BYTES[settings.dtype] * shape.layers * shape.kv_heads * shape.head_dim,
            fresh=settings.dtype != "f32",
        )

    def _on_device(self, checkpoint: Checkpoint, role: Literal["target", "draft"]) -> Any:
        """The library's model, uploaded and warmed up."""
        if role not in self._prepared:
            self.require(checkpoint, role)
        prepared = self._prepared[role]
        checkpoint.check_files()
        asked = Asked(checkpoint.name, role, self.settings.tp_degree)

        def load() -> Any:
            model = build_model(
                self.library, checkpoint.directory, self.settings, role, workers=COMPILED_AT_ONCE
            )
            if prepared is not None:
                model.load(str(prepared))
            layers = int(checkpoint.config["num_hidden_layers"])
            count_upload(model, layers, lambda share, words: self._tell(role, share, words))
            model.to_neuron()
            return model

        try:
            model = _explained(load, asked)
        except DeviceUnavailable:
            raise  # nothing was uploaded: once the reason is gone, this process may try again
        except ModelError:
            take(self.settings)
            raise
        take(self.settings)
        pace(model, role, self.settings)
        return model


def _explained(load: Callable[[], Any], asked: Asked) -> Any:
    """`load`'s result. Raises `ModelError` for what the library raises, by what the runtime logged meanwhile too."""
    with listening() as heard:
        try:
            return load()
        except LIBRARY_FAILURES as error:
            failure: BaseException = error
    # Outside: the last of the log is heard when the listening has ended.
    raise load_error(failure, heard.text, asked) from failure


def _emulator(instance: str) -> Library:
    """The emulator under the library's names, as this instance. Raises `InvalidSetting` for an unknown one, `DeviceUnavailable`
    beside the real library."""
    from chatapp.engine.backends import emulator

    install_emulator(emulator, instance, PACKAGE)
    return imported_library(((PACKAGE, f"emulated by chatapp {__version__}"),))


def _read_parameters(shape: DecoderShape) -> int:
    """What one launch reads: all but an embedding that is not the head too; it stays on the host."""
    return parameters(shape) - (0 if shape.tied else shape.vocabulary * shape.hidden)
