"""Checkpoint → model through whichever backend wants it: strangers' first, the device's built-in one last.

A stranger that fails is named and passed over, so that a broken plugin never keeps a pair from loading. Must not know what
any backend does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.loading import check_config, load_model
from chatapp.engine.contracts import CausalModel, DeviceFacts
from chatapp.engine.registry.builtin import BACKEND
from chatapp.engine.registry.discovery import Registry
from chatapp.engine.registry.guards import GuardedModel, words
from chatapp.engine.registry.parts import BuiltinBackend, PluginBackend

log = logging.getLogger(__name__)


class TorchBackend:
    """Implements `parts.BuiltinBackend` for the processor and for GPUs."""

    name = BACKEND
    description = "PyTorch: the fast path where the shape allows it, the transformers model otherwise."
    facts: DeviceFacts | None = None

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises `NotAModel`."""
        check_config(checkpoint)

    def require(self, checkpoint: Checkpoint, role: Literal["target", "draft"]) -> None:
        """Nothing is."""

    def claims(self, checkpoint: Checkpoint, device: str) -> bool:  # noqa: ARG002 - the contract's signature
        return True

    def load(
        self, checkpoint: Checkpoint, device: str, *, role: Literal["target", "draft"], weights: str
    ) -> CausalModel:
        """Raises `ModelError`."""
        return load_model(checkpoint, device, role=role, weights=weights)


TORCH = TorchBackend()


@dataclass
class BackendChooser:
    """Loads both sides of a pair on one device; what goes wrong with strangers is added to `registry`."""

    registry: Registry
    device: str
    builtin: BuiltinBackend = field(default_factory=lambda: TORCH)

    def check(self, checkpoint: Checkpoint) -> None:
        """What the configuration alone can tell, unless a stranger wants the checkpoint. Raises `ModelError`."""
        if not any(self._claims(one, checkpoint) for one in self.registry.backends):
            self.builtin.check(checkpoint)

    def require(self, checkpoint: Checkpoint, role: Literal["target", "draft"]) -> None:
        """As `BuiltinBackend.require`, unless a stranger wants the checkpoint."""
        if not any(self._claims(one, checkpoint) for one in self.registry.backends):
            self.builtin.require(checkpoint, role)

    def load(
        self, checkpoint: Checkpoint, *, role: Literal["target", "draft"], weights: str = "auto"
    ) -> CausalModel:
        """Raises `ModelError`, of the built-in backend."""
        for one in self.registry.backends:
            if self._claims(one, checkpoint):
                try:
                    model = one.backend.load(checkpoint, self.device, role=role, weights=weights)
                    return GuardedModel(one.name, one.plugin, model)
                except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
                    self._failed(one, f"loading {checkpoint.name} failed", error)
        return self.builtin.load(checkpoint, self.device, role=role, weights=weights)

    def _claims(self, one: PluginBackend, checkpoint: Checkpoint) -> bool:
        try:
            return bool(one.backend.claims(checkpoint, self.device))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(one, f"asking it about {checkpoint.name} failed", error)
            return False

    def _failed(self, one: PluginBackend, what: str, error: Exception) -> None:
        log.debug("backend %s of %s", one.name, one.plugin, exc_info=error)
        trouble = (one.plugin, f"chatapp.backends {one.name!r}: {what}: {words(error)}.")
        if trouble not in self.registry.errors:  # it is asked more than once
            self.registry = self.registry.with_error(*trouble)
