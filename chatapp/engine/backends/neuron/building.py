"""A model of transformers-neuronx with every graph enabled, and nothing compiled or uploaded yet.

Loading and preparing build it here and nowhere else: a graph is found by the hash of its HLO, so one argument that differs
between the two makes everything that was prepared useless. Must not know artefacts, a process or the engine's contracts.

Source: transformers_neuronx 0.13, llama/model.py:32-113, base.py:122-132 (neuron-contract.md §§1.2, 1.4, 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatapp.domain.errors import DeviceUnavailable, InvalidSetting
from chatapp.domain.neuron import NeuronSettings, fitting_windows
from chatapp.domain.neuron_hosts import HOSTS, neuron_host
from chatapp.engine.backends.neuron.cores import find_cores
from chatapp.engine.backends.neuron.launches import Graphs
from chatapp.engine.backends.neuron.library import Library
from chatapp.engine.backends.neuron.recipe import Role

OPTIONS: Mapping[str, object] = {"padding_side": "left", "on_device_generation": None}
"""Of `NeuronConfig`: cache ids with one dimension, and logits instead of ids that the device sampled (config.py)."""
DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
"""`amp` of the library → the number's usual name. Anything else is a bare `KeyError` there (dtypes.py)."""


def resolved(settings: NeuronSettings, cores: int = 0) -> NeuronSettings:
    """With the library, the number of NeuronCores and every bucket named, and windows that fit: those of the simulated
    instance, else `cores`, else those of this machine.

    Raises `InvalidSetting` for numbers that fit no graph or where nobody can say how many cores, and `DeviceUnavailable`
    where there are fewer than asked for, or as many as cannot work together: that must not come out after hours of compiling.
    """
    here = find_cores()
    there = neuron_host(settings.rehearse).cores if settings.rehearse else cores or here.count
    tp_degree = settings.tp_degree or there
    if not tp_degree:
        raise InvalidSetting(
            "tp", "This machine has no NeuronCores to count: say with --tp how many the pair is to run on."
        )
    if there and tp_degree > there:
        raise DeviceUnavailable(
            f"{tp_degree} NeuronCores are asked for, and there are {there}.",
            remedy=f"Choose --tp {there} or less, or a larger instance.",
        )
    why = "" if cores else _degree_obstacle(settings.rehearse, here.instance, tp_degree)
    if why:
        raise DeviceUnavailable(why, remedy="Choose one of these with --tp.")
    if settings.dtype not in DTYPES:
        raise InvalidSetting(
            "dtype", f"NeuronCores know no numbers {settings.dtype!r}; choose {' or '.join(DTYPES)}."
        )
    positions = settings.positions
    buckets = settings.all_token_buckets, settings.all_context_buckets
    if any(not 1 <= bucket <= positions for each in buckets for bucket in each):
        raise InvalidSetting("context", f"A bucket is longer than the context of {positions:,} tokens.")
    return replace(
        settings,
        library="tnx",
        tp_degree=tp_degree,
        token_buckets=tuple(sorted({*buckets[0], positions})),
        context_buckets=tuple(sorted(set(buckets[1]))),
        windows=fitting_windows(settings.windows, positions),
        draft_windows=fitting_windows(settings.draft_windows, positions),
    )


def _degree_obstacle(rehearse: str, instance: str, tp_degree: int) -> str:
    """Of real instances only of Trainium's, of which the runtime itself names the numbers (neuron-contract.md §1.6); AWS's lists
    for Inferentia2 differ, and the runtime there may take more."""
    host = next((one for one in HOSTS if one.name == (rehearse or instance)), None)
    is_sure = host is not None and (bool(rehearse) or host.family == "trn1")
    return host.tp_obstacle(tp_degree) if host is not None and is_sure else ""


def graphs_of(settings: NeuronSettings, role: Role) -> Graphs:
    """What is compiled for one side; `settings` are resolved."""
    windows = settings.windows if role == "target" else settings.draft_windows
    return Graphs(settings.positions, windows, settings.token_buckets, settings.context_buckets)


def build_model(
    library: Library, directory: Path, settings: NeuronSettings, role: Role, *, workers: int | None = None
) -> Any:
    """The library's model. `settings` are resolved; `workers` is the number of graphs compiled at once, None for the library's
    own choice, which is all of them. Raises what the library raises."""
    # A configuration of its own: models write into it.
    config = library.neuron_config(**OPTIONS, compilation_worker_count=workers)
    graphs = graphs_of(settings, role)
    model = library.llama.from_pretrained(
        str(directory),
        batch_size=1,
        amp=settings.dtype,
        tp_degree=settings.tp_degree,
        n_positions=list(graphs.token_buckets),
        context_length_estimate=list(graphs.context_buckets),
        neuron_config=config,
    )
    if graphs.windows:
        model.enable_speculative_decoder(list(graphs.windows))
    return model
