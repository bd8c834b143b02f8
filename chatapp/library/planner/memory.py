"""Bytes: of one model on each NeuronCore, of both on the host while they load, and on disk. Must not judge them."""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.domain.memory_plan import DiskUse, HostUse, ModelUse
from chatapp.domain.neuron import APPLICATION_GIB, GIB, WORKER_GIB, NeuronSettings, compile_workers
from chatapp.domain.neuron_hosts import NeuronHost
from chatapp.library.planner.shapes import ModelShape
from chatapp.library.planner.sharding import padded_heads, padded_intermediate, padded_vocabulary

INT8 = "int8"
BYTES = {"bf16": 2, "f16": 2, "f32": 4}
"""Of one number in each `dtype`."""
FLOAT32_BYTES = 4
CHECKPOINT_BYTES = 2
"""Of one weight in the checkpoints as they are published."""
ARTEFACT_GIB = 0.1
"""An assumption: one compiled graph as a file. Nothing is published; 0.48 GiB of code lay on a core with a 70B model."""
ARTEFACT_COPIES = 2
"""The finished set, and the compiler's own cache, from which a stopped preparation goes on."""


def model_use(
    shape: ModelShape, settings: NeuronSettings, windows: tuple[int, ...], weights: str
) -> ModelUse:
    """One model, batch 1, on each of `settings.tp_degree` cores. `weights`: `int8`, or anything else for `settings.dtype`.

    The KV cache is one for all graphs, as long as the longest bucket. int8 reaches the layers and not the head
    (transformers_neuronx 0.13 config.py `QuantizationConfig`); its scales, some megabytes, count as overhead.
    """
    tp, number = settings.tp_degree, BYTES[settings.dtype]
    queries, keys = padded_heads(shape.heads, shape.kv_heads, tp)
    attention = 2 * shape.hidden * (queries + keys) * shape.head_size
    mlp = 3 * shape.hidden * padded_intermediate(shape, tp)
    layer = (attention + mlp) * (1 if weights == INT8 else number)
    head = shape.hidden * padded_vocabulary(shape, tp) * number
    norms = (2 * shape.layers + 1) * shape.hidden * number  # whole on every core
    positions = settings.all_token_buckets[-1]
    return ModelUse(
        shape.name,
        INT8 if weights == INT8 else settings.dtype,
        (shape.heads, shape.kv_heads),
        (queries, keys),
        -(-(shape.layers * layer + head) // tp) + norms,
        2 * number * shape.layers * positions * (keys // tp) * shape.head_size,
        settings.graphs(windows),
    )


def host_use(shapes: Sequence[ModelShape], host: NeuronHost, graphs: int) -> HostUse:
    """One layer is in transit at a time, in float32 at worst; checkpoints of `.bin` files are read as a whole."""
    embeddings = sum(shape.vocabulary * shape.hidden * FLOAT32_BYTES for shape in shapes)
    staging = max(_staging(shape) for shape in shapes)
    application = APPLICATION_GIB * GIB
    available = host.host_ram_gib * GIB
    workers = min(graphs, compile_workers(available - embeddings - staging, host.vcpus))
    return HostUse(embeddings, staging, application, workers, WORKER_GIB * GIB, available)


def _staging(shape: ModelShape) -> int:
    layer = shape.layer_parameters * FLOAT32_BYTES
    return layer + (shape.checkpoint_bytes if shape.eager else 0)


def disk_use(shapes: Sequence[ModelShape], graphs: int) -> DiskUse:
    sizes = [shape.checkpoint_bytes or shape.parameters * CHECKPOINT_BYTES for shape in shapes]
    known = all(shape.checkpoint_bytes for shape in shapes)
    return DiskUse(sum(sizes), known, round(graphs * ARTEFACT_GIB * ARTEFACT_COPIES * GIB))
