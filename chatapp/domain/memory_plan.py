"""What a pair would take on an Inferentia2 or Trainium instance, as plain values: the planner makes them, the command line
and the window show them. Every figure is an estimate made before anything is loaded. This module must not know how.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.domain.neuron import GIB, NeuronSettings
from chatapp.domain.neuron_hosts import USABLE_PER_CORE_GIB, NeuronHost

GB = 10**9
OVERHEAD_GIB = 3.0
OVERHEAD_SEEN_GIB = (2.8, 7.8)
"""Program code, DMA rings, scratchpad and collectives on each core, as the runtime listed them when cores were full
(github.com/aws-neuron/transformers-neuronx, issues 92 and 49). Large context graphs make the upper end."""
LONGEST_TRIED_CONTEXT = 8192
"""Tokens of the longest context graph that latencies were published for. Llama-3.1-8B with one of 16,384 ran out of device
memory on 8 cores, where its tensors take 2 GiB each (github.com/aws-neuron/aws-neuron-samples, issue 96)."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """One model on each core, in bytes. Heads are `(query, key/value)` of the whole model: `heads` as trained, `padded` after
    the padding and replication that the tp degree causes. `weights` says the numbers its layers are kept in."""

    name: str
    weights: str
    heads: tuple[int, int]
    padded: tuple[int, int]
    weights_bytes: int
    kv_bytes: int
    graphs: int

    @property
    def bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes


@dataclass(frozen=True, slots=True)
class HostUse:
    """The processor's memory, bytes. `embeddings_bytes` are the float32 copies that stay, `staging_bytes` what is in transit
    while weights go to the device, `application_bytes` the desktop, its remote display and the application. Compiling takes
    `workers` processes of `worker_bytes` each, in another process and before."""

    embeddings_bytes: int
    staging_bytes: int
    application_bytes: int
    workers: int
    worker_bytes: int
    available_bytes: int

    @property
    def loading_bytes(self) -> int:
        return self.embeddings_bytes + self.staging_bytes + self.application_bytes

    @property
    def compiling_bytes(self) -> int:
        return self.loading_bytes + self.workers * self.worker_bytes


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes on disk. `checkpoints_known`: the files were there to be counted; otherwise two bytes for each weight."""

    checkpoint_bytes: int
    checkpoints_known: bool
    artefact_bytes: int

    @property
    def bytes(self) -> int:
        return self.checkpoint_bytes + self.artefact_bytes


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A change with which the pair fits: the planner planned it too. `what` is one phrase; the rest is the changed plan's
    (`draft` is a name, empty without one; `is_tight` as there); `applies`: it can be taken as it is,
    without another checkpoint or numbers that this application does not run."""

    what: str
    instance: str
    settings: NeuronSettings
    draft: str
    target_weights: str
    draft_weights: str
    used_bytes: int
    is_tight: bool
    applies: bool = True


@dataclass(frozen=True, slots=True)
class PairPlan:
    """The whole estimate for one pair on one instance. `settings` has the tp degree resolved.

    `obstacles` are sentences on why it cannot run however much memory there is; `warnings` on what will be slow, dear or
    uncertain; `assumptions` on what the figures rest on.
    """

    host: NeuronHost
    settings: NeuronSettings
    target: ModelUse
    draft: ModelUse | None
    ram: HostUse
    disk: DiskUse
    obstacles: tuple[str, ...]
    warnings: tuple[str, ...]
    assumptions: tuple[str, ...]
    suggestions: tuple[Suggestion, ...] = ()
    overhead_bytes: int = round(OVERHEAD_GIB * GIB)
    limit_bytes: int = round(USABLE_PER_CORE_GIB * GIB)

    @property
    def models(self) -> tuple[ModelUse, ...]:
        return (self.target,) if self.draft is None else (self.target, self.draft)

    @property
    def tensor_bytes(self) -> int:
        """Weights and KV caches of both models on each core."""
        return sum(model.bytes for model in self.models)

    @property
    def used_bytes(self) -> int:
        """Everything on each core."""
        return self.tensor_bytes + self.overhead_bytes

    @property
    def all_cores_bytes(self) -> int:
        """Weights and KV caches on all cores together, without the overhead."""
        return self.tensor_bytes * self.settings.tp_degree

    @property
    def graphs(self) -> int:
        """Graphs to compile and to load, both sides."""
        return sum(model.graphs for model in self.models)

    @property
    def fits_device(self) -> bool:
        return self.used_bytes <= self.limit_bytes

    @property
    def fits_host(self) -> bool:
        return self.ram.loading_bytes <= self.ram.available_bytes

    @property
    def fits(self) -> bool:
        return not self.obstacles and self.fits_device and self.fits_host

    @property
    def is_tight(self) -> bool:
        """It fits with the planned overhead and would not with the largest that was seen."""
        return self.fits and self.tensor_bytes > self.limit_bytes - OVERHEAD_SEEN_GIB[1] * GIB

    @property
    def is_untried(self) -> bool:
        """Its longest context graph is longer than any that is known to have run: the overhead may be far larger."""
        return self.settings.all_context_buckets[-1] > LONGEST_TRIED_CONTEXT

    @property
    def verdict(self) -> str:
        """One line."""
        cores = self.settings.tp_degree
        used = (
            f"{in_gib(self.used_bytes)} of {in_gib(self.limit_bytes)} GiB on "
            f"{'one core' if cores == 1 else f'each of {cores} cores'}"
        )
        if self.obstacles:
            return f"Cannot run: {self.obstacles[0]}"
        if not self.fits_device:
            return f"Does not fit: {used}, {in_gib(self.used_bytes - self.limit_bytes)} GiB too much."
        if not self.fits_host:
            return (
                f"Does not fit: loading takes {in_gib(self.ram.loading_bytes)} GiB of host memory, and "
                f"{self.host.name} has {in_gib(self.ram.available_bytes)}."
            )
        return f"Fits by count, untried at this length: {used}." if self.is_untried else f"Fits: {used}."


def in_gib(count: int) -> str:
    """Bytes as a number of GiB: one decimal from 10, two below, so that small caches do not read as nothing."""
    value = count / GIB
    if value >= 10:
        return f"{value:,.1f}"
    return f"{value:.2f}" if value >= 0.005 or count == 0 else "<0.01"
