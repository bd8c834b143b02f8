"""How a pair runs on AWS Inferentia2 or Trainium: what was compiled for it, and by which library.

Plain values that the command line, the planner, `prepare`, the window and the backends share. This module must not know
what any of them does with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("auto", "tnx", "nxdi")
"""transformers-neuronx, and its successor neuronx-distributed-inference; `auto` takes the first that is installed."""
SUCCESSOR = LIBRARIES[2]
TARGET_WINDOWS = (2, 4, 8, 16, 64)
"""Rows of one target pass that are compiled. The last is for appending text; to verify, the smallest that fits is taken."""
DRAFT_WINDOWS = (64,)
"""A draft proposes one token per launch and needs windows to append text alone."""
CONTEXT = 2048
SHORTEST_TOKEN_BUCKET = 512
SHORTEST_CONTEXT_BUCKET = 128
BUCKET_STEP = 4
"""Usual buckets grow fourfold: each costs a graph to compile and to keep, and a launch takes as long as its bucket."""
APPLICATION_GIB = 4
"""Host memory for the desktop, its remote display, Python with torch, and the window. An assumption."""
WORKER_GIB = 4
"""Host memory that one compiling process is given. A rule of thumb: large graphs may take more."""
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class NeuronSettings:
    """Everything that decides which graphs are compiled for a pair. Both sides share `tp_degree` and `positions`: they run
    on the same NeuronCores, one after the other.

    `tp_degree` is the number of NeuronCores, 0 all that the instance has. `positions` is the KV's length in tokens.
    `token_buckets` and `context_buckets` are ascending lengths, empty for the usual ones of `positions`. `windows` and
    `draft_windows` are ascending row counts of a pass. `artefacts` is the folder of prepared graphs, None for the usual one.
    `rehearse` names an instance type to be simulated (`trn1.32xlarge`), empty for the real device; `rehearse_pair` the pair of
    `rehearsal.PAIRS` whose published latencies its launches last, empty for as fast as this machine can.
    """

    library: str = LIBRARIES[0]
    tp_degree: int = 0
    positions: int = CONTEXT
    token_buckets: tuple[int, ...] = ()
    context_buckets: tuple[int, ...] = ()
    windows: tuple[int, ...] = TARGET_WINDOWS
    draft_windows: tuple[int, ...] = DRAFT_WINDOWS
    dtype: str = "bf16"
    artefacts: Path | None = None
    rehearse: str = ""
    rehearse_pair: str = ""

    @property
    def all_token_buckets(self) -> tuple[int, ...]:
        """The KV lengths that token and window graphs are compiled for: those named, or the usual ones of `positions`."""
        return self.token_buckets or usual_buckets(self.positions, SHORTEST_TOKEN_BUCKET)

    @property
    def all_context_buckets(self) -> tuple[int, ...]:
        """The prompt lengths that context graphs are compiled for: those named, or the usual ones of `positions`."""
        return self.context_buckets or usual_buckets(self.positions, SHORTEST_CONTEXT_BUCKET)

    def graphs(self, windows: tuple[int, ...]) -> int:
        """Graphs that one side with these windows needs, batch 1: per token bucket one for single tokens and one for each
        window, and one per context bucket (transformers_neuronx 0.13, base.py `enable_speculative_decoder`). The successor has
        either a window or single tokens, and one graph of it per token bucket (neuronx-distributed-inference 0.9,
        models/model_base.py)."""
        if self.library == SUCCESSOR:
            return len(self.all_token_buckets) + len(self.all_context_buckets)
        windows = fitting_windows(windows, self.positions)
        return len(self.all_token_buckets) * (1 + len(windows)) + len(self.all_context_buckets)


def usual_buckets(positions: int, shortest: int) -> tuple[int, ...]:
    """Ascending lengths that end in `positions`, each a quarter of the next, none below `shortest` but `positions` itself:
    512 and 2048 of 2048."""
    lengths = [positions]
    while lengths[0] // BUCKET_STEP >= shortest:
        lengths.insert(0, lengths[0] // BUCKET_STEP)
    return tuple(lengths)


def fitting_windows(windows: tuple[int, ...], positions: int) -> tuple[int, ...]:
    """Those that can be compiled, ascending: the library searches them in the order of enabling (transformers_neuronx 0.13,
    llama/model.py:326). A single row has a graph of its own, and none is longer than the KV."""
    return tuple(sorted({window for window in windows if 1 < window <= positions}))


def compile_workers(memory_bytes: int, processors: int) -> int:
    """Graphs to compile at once on a host with this memory and these processors, at least 1. The library itself starts a
    process for each graph, whatever the host has (transformers_neuronx 0.13, base.py `compile`)."""
    free = memory_bytes // GIB - APPLICATION_GIB
    return max(1, min(free // WORKER_GIB, processors))
