"""Refuses checkpoints that transformers-neuronx cannot run, before anything is loaded. Must not import the library."""

from __future__ import annotations

from chatapp.domain.errors import UnsupportedModel
from chatapp.domain.neuron_fitness import misfit
from chatapp.engine.backends.checkpoint import Checkpoint


def require_fit(checkpoint: Checkpoint) -> None:
    """Raises `UnsupportedModel`."""
    why = misfit(checkpoint.config)
    if why is not None:
        what, remedy = why
        raise UnsupportedModel(
            f"{checkpoint.name} cannot run on NeuronCores by transformers-neuronx: {what}.", remedy=remedy
        )
