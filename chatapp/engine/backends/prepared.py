"""Models whose logits were prepared beforehand: what everything beside the models' own work costs can be measured with them.

One is a model for the engine, one stands in for what a NeuronCore adapter drives, so that the adapter's own work is seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from chatapp.domain.events import ModelInfo
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.neuron.building import graphs_of, resolved
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.neuron.tnx import TnxModel
from chatapp.engine.contracts import Clock


class PreparedModel:
    """Implements `contracts.CausalModel`: position p has row p mod n of a table, whatever the ids are."""

    prefill_rows = 512

    def __init__(self, name: str, table: npt.NDArray[np.float32], context_limit: int) -> None:
        """`table` is `[n, V]`."""
        self._table = table
        self.vocabulary = table.shape[1]
        self.context_limit = context_limit
        self.info = ModelInfo(name, "prepared", 0, "float32", "")
        self.spent_ns = 0
        """Time inside `forward` so far."""

    def traffic(self, count: int, start: int) -> int:  # noqa: ARG002 - the contract's signature
        """Nothing that a model would read is read."""
        return 0

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """A fresh copy, so that the rows are in the processor's cache as after a real output layer."""
        begin_ns = time.perf_counter_ns()
        end = start + len(ids)
        places = np.arange(end - rows, end) % len(self._table)
        logits = torch.from_numpy(self._table[places])
        self.spent_ns += time.perf_counter_ns() - begin_ns
        return logits


class PreparedLibrary:
    """Stands in for `LlamaForSampling` on its device: launches that compute nothing. Position p has row p mod n of a table.

    Shape and memory of what it returns are the library's: a window's logits are laid out `(V, W, 1)`, as the device gives
    them, in float32, and `(W, V, 1)` is a view of that. Source: transformers_neuronx 0.13, llama/model.py:346-348.
    """

    def __init__(self, table: npt.NDArray[np.float32], clock: Clock) -> None:
        """`table` is `[n, V]`."""
        self._clock = clock
        self._columns = torch.from_numpy(np.ascontiguousarray(table.T))
        self.spent_ns = 0
        """Time inside launches so far: the device's, and what the library itself does around it."""

    def forward(self, input_ids: torch.Tensor, cache_ids: torch.Tensor) -> torch.Tensor:
        """`(1, V)`, of the last id."""
        del input_ids
        begin_ns = self._clock.now_ns()
        logits = self._logits(cache_ids[-1:])[:, -1, :].transpose(0, 1)
        self.spent_ns += self._clock.now_ns() - begin_ns
        return logits

    def speculative_forward(
        self, input_ids: torch.Tensor, cache_ids: torch.Tensor, speculation_length: int
    ) -> torch.Tensor:
        """`(W, V, 1)`."""
        del input_ids
        begin_ns = self._clock.now_ns()
        logits = self._logits(cache_ids)[:, -speculation_length:, :].transpose(0, 1)
        self.spent_ns += self._clock.now_ns() - begin_ns
        return logits

    def _logits(self, positions: torch.Tensor) -> torch.Tensor:
        """`(V, n, 1)`, fresh, so that they are in the processor's cache as after the library's conversion to float32."""
        return self._columns.index_select(1, positions % self._columns.shape[1]).unsqueeze(2)


class PreparedTnx(TnxModel):
    """The adapter for transformers-neuronx over launches that compute nothing, with the graphs that an instance gets as a
    rule."""

    def __init__(self, role: Role, table: npt.NDArray[np.float32], instance: str, clock: Clock) -> None:
        """`table` is `[n, V]`."""
        settings = resolved(NeuronSettings(rehearse=instance))
        self.library = PreparedLibrary(table, clock)
        super().__init__(
            self.library,
            graphs_of(settings, role),
            ModelInfo(role, "prepared", 0, "float32", ""),
            role=role,
            vocabulary=table.shape[1],
            context_limit=settings.positions,
            weight_bytes=0,
            position_bytes=0,
            fresh=settings.dtype != "f32",
        )
        self._clock = clock
        self.spent_ns = 0
        """Time inside `forward` so far, launches included."""

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        begin_ns = self._clock.now_ns()
        logits = super().forward(ids, start, rows)
        self.spent_ns += self._clock.now_ns() - begin_ns
        return logits


@contextmanager
def one_core() -> Iterator[str]:
    """One compute thread, and this thread on one core where the system lets it be chosen; says what was done."""
    threads = torch.get_num_threads()
    pinning = hasattr(os, "sched_setaffinity")
    cores: set[int] = os.sched_getaffinity(0) if pinning else set()
    torch.set_num_threads(1)
    try:
        if pinning:
            os.sched_setaffinity(0, {max(cores)})
        yield (
            f"one compute thread, pinned to core {max(cores)}"
            if pinning
            else "one compute thread, not pinned"
        )
    finally:
        torch.set_num_threads(threads)
        if pinning:
            os.sched_setaffinity(0, cores)
