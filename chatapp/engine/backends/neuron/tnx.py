"""A Llama on NeuronCores by transformers-neuronx: `contracts.CausalModel` over the library's `LlamaForSampling`.

Every call is laid out as launches of compiled graphs beforehand (`launches`), padded here and never by luck: the library
cuts what is longer than a window without a word, and refuses what is shorter. KV is addressed by position, so rewinding is
starting at a smaller one. Sampling is ours, on host logits. Must not know which side of a pair it is, but for words, nor
how graphs were compiled.

Source: transformers_neuronx 0.13, llama/model.py:308-349, base.py:286-318 (neuron-contract.md §§2, 3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.neuron.errors import LIBRARY_FAILURES, run_error
from chatapp.engine.backends.neuron.launches import Graphs, Launch, next_chunk, plan, worth_keeping
from chatapp.engine.long_rows import turned

PADDING = 0
"""The id that fills a window behind the real ones. Any would do: its rows are dropped and its KV is never read."""

UNHELD = 2
"""References to an array that only its attribute and the call that counts hold; tensors and rows over it hold it too."""


class TnxModel:
    """Implements `contracts.CausalModel` and `contracts.ChunkingModel`."""

    def __init__(
        self,
        model: Any,
        graphs: Graphs,
        info: ModelInfo,
        *,
        role: str,
        vocabulary: int,
        context_limit: int,
        weight_bytes: int,
        position_bytes: int,
        fresh: bool = False,
    ) -> None:
        """`model` is loaded: `to_neuron` has been called. `context_limit` may be less than the KV's length, never more.
        `weight_bytes` are read by every launch, `position_bytes` per position of KV. `fresh`: the device's numbers are
        not float32, so that the library's conversion puts every launch's logits into memory of their own."""
        self.info = info
        self.vocabulary = vocabulary
        self.context_limit = min(context_limit, graphs.positions)
        self.graphs = graphs
        self.launched: Counter[tuple[str, int]] = Counter()
        """Launches so far, by kind and size."""
        self._model = model
        self._role = role
        self._ids: list[int] = []
        self._window = np.empty((0, vocabulary), np.float32)
        self._weight_bytes = weight_bytes
        self._position_bytes = position_bytes
        self._fresh = fresh

    @property
    def compiled_windows(self) -> tuple[int, ...]:
        return (1, *self.graphs.windows)

    @property
    def prefill_rows(self) -> int:
        return self.compiled_windows[-1]

    def next_chunk(self, count: int, start: int) -> int:
        return next_chunk(start, count, self.graphs)

    def worth_keeping(self, common: int, total: int) -> int:
        return common if worth_keeping(common, min(total, self.graphs.positions), self.graphs) else 0

    def traffic(self, count: int, start: int) -> int:
        """Of one launch: how many it takes depends on what was compiled, and the least is one."""
        return self._weight_bytes + self._position_bytes * (start + count)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """`[rows, V]` float32. Raises `GenerationFailed` as the target, `LaunchFailed` as the draft; then nothing at `start`
        and behind is valid."""
        if start > len(self._ids):
            raise ValueError(f"nothing was computed for position {start} behind {len(self._ids)} others")
        # Shifted windows compute again what stands before `start`: the ids of every position are kept.
        self._ids[start:] = ids
        launches = plan(start, len(ids), rows, self.graphs)
        if rows == 1 and self._fresh and launches[-1].kind != "window":
            return self._last_row(launches)
        logits = self._room(rows)
        done = 0
        with torch.inference_mode():
            for launch in launches:
                given = self._run(launch)
                # A copy: what the library returns is a view of the whole window, vocabulary first, and not to be written to.
                # Not by torch, which takes forty times as long for one row that is laid out like that, and twice for eight.
                rows_given = given[given.shape[0] - launch.keep :].float().numpy()
                place = logits[done : done + launch.keep]
                if not turned(rows_given, place):
                    np.copyto(place, rows_given)
                done += launch.keep
        return torch.from_numpy(logits)

    def _last_row(self, launches: Sequence[Launch]) -> torch.Tensor:
        """`[1, V]` as the library gives it: a copy of a draft's row would take as long as drawing from it."""
        *before, last = launches
        with torch.inference_mode():
            for launch in before:
                self._run(launch)
            return self._run(last)[-1:].float().contiguous()

    def _room(self, rows: int) -> npt.NDArray[np.float32]:
        """`[rows, V]` for logits that will be the caller's. A window gets the memory of the last one once nobody holds any of
        that any more: fresh megabytes cost as much time again as filling them."""
        if rows == 1:
            return np.empty((1, self.vocabulary), np.float32)
        if len(self._window) < rows or getrefcount(self._window) > UNHELD:
            self._window = np.empty((rows, self.vocabulary), np.float32)
        return self._window[:rows]

    def _run(self, launch: Launch) -> torch.Tensor:
        self.launched[launch.kind, launch.size] += 1
        try:
            return self._launch(launch)
        except LIBRARY_FAILURES as error:
            raise run_error(error, self._role, _words(launch)) from error

    def _launch(self, launch: Launch) -> torch.Tensor:
        """Logits `[n, V]` whose last row is that of the launch's last real id."""
        end = launch.begin + launch.count
        ids = self._ids[launch.begin : end]
        if launch.kind == "window":
            ids += [PADDING] * (launch.size - launch.count)
            positions = torch.arange(launch.begin, launch.begin + launch.size)
            given = self._model.speculative_forward(
                torch.tensor([ids]), cache_ids=positions, speculation_length=launch.size
            )
            window: torch.Tensor = given[: launch.count, : self.vocabulary, 0]
            return window
        # A context is padded by the library: it looks for the last id's logits among those it was given. A single token
        # without its position would silently be computed at position 0.
        given = self._model.forward(torch.tensor([ids]), cache_ids=torch.arange(launch.begin, end))
        row: torch.Tensor = given[:, : self.vocabulary]
        return row


def _words(launch: Launch) -> str:
    """A launch, for messages."""
    at = f"at position {launch.begin:,}"
    names = {
        "context": f"a prompt of {launch.size} tokens",
        "window": f"a window of {launch.size} {at}",
        "token": f"a token {at}",
    }
    return names[launch.kind]
