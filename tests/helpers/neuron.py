"""Pairs on emulated NeuronCores, and what was launched there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairLocation
from chatapp.engine.backends import emulator
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.neuron.loading import TnxBackend
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.neuron.tnx import TnxModel
from chatapp.engine.session import Engine

SETTINGS = NeuronSettings(
    dtype="f32",
    positions=128,
    token_buckets=(64, 128),
    context_buckets=(32, 64),
    windows=(2, 4, 8, 16),
    draft_windows=(64,),
    rehearse="trn1.2xlarge",
)
"""Small enough that buckets, windows and the end of the context all come about within a short text."""


def load(directory: Path, role: Role = "target", **changes: Any) -> TnxModel:
    """One side, on a fresh emulator or the one that is there."""
    backend = TnxBackend(replace(SETTINGS, **changes))
    checkpoint = read_checkpoint(directory)
    backend.check(checkpoint)
    model = backend.load(checkpoint, "neuron", role=role)
    assert isinstance(model, TnxModel)
    return model


def opened(pair: PairLocation, **changes: Any) -> Engine:
    """The pair, ready to run."""
    engine = Engine(threads=1)
    engine.load(replace(pair, neuron=replace(SETTINGS, **changes)), lambda _: None)
    return engine


def launched(model: object) -> Counter[tuple[str, int]]:
    """What the emulator counted of an adapter's model, by kind and rows, in the adapter's words."""
    assert isinstance(model, TnxModel)
    names = {"spec": "window"}
    counted: Counter[tuple[str, int]] = Counter()
    for launch, times in emulator.launches.of(model._model).items():
        counted[names.get(launch.kind, launch.kind), launch.rows] += times
    return counted


@contextmanager
def after_launch(number: int, action: Any) -> Iterator[list[str]]:
    """Call `action` when launch `number` (from 1) has run; gives the list of all launches' kinds."""
    kinds: list[str] = []

    @contextmanager
    def pacer(launch: emulator.Launch, model: object) -> Iterator[None]:
        kinds.append(launch.kind)
        yield
        if len(kinds) == number:
            action()

    emulator.launches.pacer = pacer
    try:
        yield kinds
    finally:
        emulator.launches.pacer = None
