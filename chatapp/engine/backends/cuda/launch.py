"""How a piece of work reaches the device: captured once as a CUDA graph and replayed, or called plainly.

This is the one seam between a GPU and the CPU: everything above it is the same code on both, which is how it is tested
without a GPU. Work handed to `launch` reads and writes buffers that stay where they are, and never looks at a value.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import Protocol

import torch

log = logging.getLogger(__name__)
Work = Callable[[], None]
MAX_GRAPHS = 96
"""Captured pieces kept per model and the windows that it leads; the one unused for longest goes first. A graph of a large draft has thousands of nodes."""


class Launcher(Protocol):
    """Launches work and moves the few numbers that cross between host and device."""

    device: torch.device

    @property
    def captures(self) -> bool:
        """Whether work is replayed as a graph."""
        ...

    def launch(self, key: Hashable, work: Work) -> None:
        """Run `work`, which is the same for the same key. It may run more than once when it is first seen: it must give the
        same whenever it runs on the same buffers."""
        ...

    def host_words(self, count: int) -> torch.Tensor:
        """`[count] int64` on the host, from which a copy to the device does not wait."""
        ...

    def mark(self, *, first: bool = False) -> None:
        """Note the time at which the device gets here; `first` forgets what a failed window noted."""
        ...

    def fetch(self, packet: torch.Tensor) -> list[float]:
        """The one copy to the host, behind which all marks are known."""
        ...

    def intervals_ns(self) -> list[int]:
        """Time between the marks since the first, after `fetch`."""
        ...


class PlainLauncher:
    """Implements `Launcher` by plain calls: the CPU, and a GPU on which graphs cannot be captured."""

    captures = False

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[int] = []

    def launch(self, key: Hashable, work: Work) -> None:
        del key  # nothing is kept
        work()

    def host_words(self, count: int) -> torch.Tensor:
        return torch.zeros(count, dtype=torch.int64)

    def mark(self, *, first: bool = False) -> None:
        if first:
            self._marks.clear()
        self._marks.append(time.perf_counter_ns())

    def fetch(self, packet: torch.Tensor) -> list[float]:
        values: list[float] = packet.tolist()
        return values

    def intervals_ns(self) -> list[int]:
        return [later - earlier for earlier, later in pairwise(self._marks)]


class GraphLauncher:
    """Implements `Launcher` with CUDA graphs; by plain calls from the first capture on that the device refuses. All share one memory pool: they run one after the other, and what must outlive
    a replay is copied into buffers of its own by the work itself."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.captures = True
        self._graphs: OrderedDict[Hashable, torch.cuda.CUDAGraph] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle()
        self._marks: list[torch.cuda.Event] = []
        self._packet = torch.zeros(0, dtype=torch.float64)

    def launch(self, key: Hashable, work: Work) -> None:
        if key not in self._graphs and self.captures:
            self._warm_up(work)
            try:
                self._graphs[key] = self._captured(work)
            except RuntimeError as error:
                # Nothing is lost but speed: what was to be captured can be called.
                log.warning("CUDA graphs are not used: %s", error)
                self.captures = False
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        if key not in self._graphs:
            work()
            return
        self._graphs.move_to_end(key)
        self._graphs[key].replay()

    def _warm_up(self, work: Work) -> None:
        # Libraries allocate their workspaces when first called, which a capture does not allow: two calls beside it first.
        current, side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]  # torch's own
        side.wait_stream(current)
        with torch.cuda.stream(side):
            work()
            work()
        current.wait_stream(side)

    def _captured(self, work: Work) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            work()
        return graph

    def host_words(self, count: int) -> torch.Tensor:
        return torch.zeros(count, dtype=torch.int64, pin_memory=True)

    def mark(self, *, first: bool = False) -> None:
        if first:
            self._marks.clear()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
        event.record()
        self._marks.append(event)

    def fetch(self, packet: torch.Tensor) -> list[float]:
        if len(self._packet) < len(packet):
            self._packet = torch.zeros(len(packet), dtype=torch.float64, pin_memory=True)
        landing = self._packet[: len(packet)]
        landing.copy_(packet, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        values: list[float] = landing.tolist()
        return values

    def intervals_ns(self) -> list[int]:
        pairs = pairwise(self._marks)
        return [round(earlier.elapsed_time(later) * 1e6) for earlier, later in pairs]


def launcher_for(device: torch.device) -> Launcher:
    return GraphLauncher(device) if device.type == "cuda" else PlainLauncher(device)
