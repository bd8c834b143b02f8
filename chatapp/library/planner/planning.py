"""One plan: the bytes of a pair on an instance, what stands against it, and what to expect. Must not look for a better one.

The formula and its limits, from the sources named beside each figure:

    weights  = bytes · [layers · (2·hidden·(Q + K)·head + 3·hidden·MLP) + hidden·vocabulary] / tp
    KV cache = 2 · bytes · layers · positions · (K / tp) · head             once for each model, whatever k and buckets
    fits     ⇔ both models' weights and KV caches + overhead ≤ 15.9 GiB on each core
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chatapp.domain.memory_plan import (
    LONGEST_TRIED_CONTEXT,
    OVERHEAD_GIB,
    OVERHEAD_SEEN_GIB,
    ModelUse,
    PairPlan,
    in_gib,
)
from chatapp.domain.neuron import APPLICATION_GIB, SUCCESSOR, WORKER_GIB, NeuronSettings, fitting_windows
from chatapp.domain.neuron_hosts import CORES_PER_CHIP, USABLE_PER_CORE_GIB, NeuronHost
from chatapp.library.planner.memory import (
    ARTEFACT_GIB,
    INT8,
    disk_use,
    host_use,
    model_use,
)
from chatapp.library.planner.shapes import ModelShape

AS_STORED = "auto"
POOR_IN_F16 = "Llama-2-13B"


@dataclass(frozen=True, slots=True)
class PairRequest:
    """What is to be planned. `settings.tp_degree` 0 means every core of the instance; `target_weights` and `draft_weights` are
    `auto` (numbers of `settings.dtype`) or `int8`."""

    target: ModelShape
    draft: ModelShape | None
    host: NeuronHost
    settings: NeuronSettings
    target_weights: str = AS_STORED
    draft_weights: str = AS_STORED

    @property
    def tp_degree(self) -> int:
        return self.settings.tp_degree or self.host.cores

    @property
    def shapes(self) -> tuple[ModelShape, ...]:
        return (self.target,) if self.draft is None else (self.target, self.draft)


def plan_pair(request: PairRequest) -> PairPlan:
    """The plan, without suggestions."""
    settings = replace(request.settings, tp_degree=request.tp_degree)
    target = model_use(request.target, settings, settings.windows, request.target_weights)
    draft = None
    if request.draft is not None:
        draft = model_use(request.draft, settings, settings.draft_windows, request.draft_weights)
    graphs = target.graphs + (draft.graphs if draft is not None else 0)
    plan = PairPlan(
        request.host,
        settings,
        target,
        draft,
        host_use(request.shapes, request.host, graphs),
        disk_use(request.shapes, graphs),
        tuple(_obstacles(request)),
        (),
        _assumptions(request),
    )
    return replace(plan, warnings=tuple(_warnings(request, plan)))


def _obstacles(request: PairRequest) -> Iterator[str]:
    host, tp = request.host, request.tp_degree
    if why := host.tp_obstacle(tp):
        yield why
    if request.settings.library != SUCCESSOR:
        for shape in request.shapes:
            if shape.obstacle:
                yield f"transformers-neuronx cannot run {shape.name}: {shape.obstacle}."
    target, draft = request.target, request.draft
    if draft is None:
        return
    if target.vocabulary != draft.vocabulary:
        yield (
            f"The vocabularies differ: {target.name} has {target.vocabulary:,} tokens, "
            f"{draft.name} {draft.vocabulary:,}."
        )
    elif None not in (ids := _comparable(target, draft)) and ids[0] != ids[1]:
        yield f"The vocabularies differ: {target.name} and {draft.name} give different ids to the same pieces."


def _comparable(target: ModelShape, draft: ModelShape) -> tuple[str | None, str | None]:
    """A name and a hash say nothing about each other."""
    if target.is_known != draft.is_known:
        return None, None
    return target.vocabulary_id, draft.vocabulary_id


def _warnings(request: PairRequest, plan: PairPlan) -> Iterator[str]:
    host, tp = request.host, request.tp_degree
    if tp in host.tp_degrees and host.tp_doubt(tp):
        yield f"tp {tp} on {host.name}: {host.tp_doubt(tp)}."
    yield from (words for model in plan.models for words in _padding(model, tp))
    if plan.draft is not None and tp > CORES_PER_CHIP:
        yield (
            f"The draft is spread over the same {tp} cores: it cannot use fewer than the target. At a high tp degree "
            "a small draft is slower than its size promises."
        )
    if INT8 in (request.target_weights, request.draft_weights):
        yield "int8 is what the library can do: this application runs bf16, f16 and f32 on NeuronCores, and refuses int8."
    yield from _length_warnings(request)
    if request.settings.dtype == "f16" and POOR_IN_F16 in (shape.name for shape in request.shapes):
        yield f"{POOR_IN_F16} is known to compute wrongly in f16 (release notes of transformers-neuronx): use bf16 or f32."
    if plan.is_untried:
        yield (
            f"Context graphs longer than {LONGEST_TRIED_CONTEXT:,} tokens may take far more than the planned overhead: "
            "Llama-3.1-8B with one of 16,384 ran out of device memory on 8 cores (github.com/aws-neuron/aws-neuron-samples, "
            "issue 96)."
        )
    if plan.is_tight:
        spare = plan.limit_bytes - plan.tensor_bytes
        yield (
            f"{in_gib(spare)} GiB on each core are left for overhead; up to {OVERHEAD_SEEN_GIB[1]} GiB were seen, "
            "with large context graphs. Smaller context buckets help."
        )
    if plan.ram.compiling_bytes > plan.ram.available_bytes:
        yield (
            f"Compiling may need {in_gib(plan.ram.compiling_bytes)} GiB of host memory even with one worker, and {host.name} has "
            f"{in_gib(plan.ram.available_bytes)}: prepare the pair on a larger machine."
        )


def _padding(model: ModelUse, tp: int) -> Iterator[str]:
    """Only where keys and values are multiplied beyond one head for each core: one for each is the price of any degree."""
    trained, kept = model.heads[1], model.padded[1]
    if model.heads[0] != trained and kept > max(trained, tp):
        yield (
            f"tp {tp} does not go with the {trained} key/value heads of {model.name}: they are replicated to {kept}, "
            f"and its KV cache is {kept / trained:.2g} times as large."
        )


def _length_warnings(request: PairRequest) -> Iterator[str]:
    positions = request.settings.positions
    for shape in request.shapes:
        if positions > shape.context:
            yield f"{shape.name} was trained for {shape.context:,} positions, and {positions:,} are asked for."


def _assumptions(request: PairRequest) -> tuple[str, ...]:
    low, high = OVERHEAD_SEEN_GIB
    lines = [
        f"Of the 16 GiB of a core {USABLE_PER_CORE_GIB} are counted on; batch 1; the sizes of tensors are exact, the rest is not.",
        (
            f"Overhead (program code, DMA rings, scratchpad, collectives): {OVERHEAD_GIB:g} GiB on each core. "
            f"It cannot be computed: {low} to {high} GiB were seen."
        ),
        (
            f"Host: {APPLICATION_GIB} GiB for desktop, remote display and application; one layer in transit; "
            f"{WORKER_GIB} GiB for each compiling process."
        ),
        (
            f"Disk: {ARTEFACT_GIB:g} GiB for each compiled graph, twice (finished set, compiler's cache); "
            "nothing is published."
        ),
    ]
    if INT8 in (request.target_weights, request.draft_weights):
        lines.append("int8: the layers; the head and the KV cache stay in two bytes.")
    if any(not shape.checkpoint_bytes for shape in request.shapes):
        lines.append("Checkpoints that are not on this machine: two bytes for each weight.")
    return (*lines, _windows(request))


def _windows(request: PairRequest) -> str:
    """Which are compiled, as a sentence."""
    if request.settings.library == SUCCESSOR:
        return "One window is compiled for the target, and none for the draft: text is appended to that token by token."
    positions = request.settings.positions
    windows, appended = (
        _listed(fitting_windows(each, positions))
        for each in (request.settings.windows, request.settings.draft_windows)
    )
    rows = f"Windows compiled for the target: {windows} rows."
    return rows if request.draft is None else f"{rows} For the draft, to append text: {appended}."


def _listed(values: tuple[int, ...]) -> str:
    words = [str(value) for value in values]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "none"
