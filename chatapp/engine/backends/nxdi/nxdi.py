"""One side of a pair on NeuronCores: turns ids at positions into calls of the library's application. Loads nothing.

What is visible to a call is what its mask shows: every position below the first of the call, and nothing else of the KV.
So a rewind is a shorter mask, and whatever padding or a rejected draft left behind is hidden until it is overwritten.
Source: neuronx-distributed-inference 0.9, models/model_base.py (`_create_spec_attn_mask`, `_get_model_outputs`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.neuron.errors import LIBRARY_FAILURES, run_error
from chatapp.engine.backends.neuron.launches import Launch
from chatapp.engine.backends.nxdi.graphs import Graphs

FILLER = 0
"""The id of rows that nobody looks at."""


class NxdiModel:
    """Implements `contracts.CausalModel` and `contracts.ChunkingModel` over a loaded `NeuronBaseForCausalLM`, batch 1.

    A pass of few ids is a whole window all the same: a target that speculates has no graph for one token.
    """

    def __init__(
        self,
        application: Any,
        graphs: Graphs,
        info: ModelInfo,
        *,
        role: str,
        vocabulary: int,
        context_limit: int,
        weight_bytes: int,
        position_bytes: int,
    ) -> None:
        """`context_limit` may be less than the KV's length. `weight_bytes` are read by every launch, `position_bytes` per
        position of KV, by all cores together."""
        self.info = info
        self.vocabulary = vocabulary
        self.context_limit = min(context_limit, graphs.positions)
        self.prefill_rows = graphs.longest_prompt
        self.application = application
        self.graphs = graphs
        self.launched: Counter[tuple[str, int]] = Counter()
        """Launches so far, by kind and size."""
        self._role = role
        self._weight_bytes = weight_bytes
        self._position_bytes = position_bytes
        self._ids: list[int] = []
        """Whose KV is computed: a window at the end of the context begins among them."""

    @property
    def compiled_windows(self) -> tuple[int, ...]:
        """None for a draft, which has no window."""
        return (self.graphs.rows,) if self.graphs.rows > 1 else ()

    def next_chunk(self, count: int, start: int) -> int:
        return self.graphs.next_chunk(count, start)

    def worth_keeping(self, common: int, total: int) -> int:
        return self.graphs.worth_keeping(common, total)

    def traffic(self, count: int, start: int) -> int:
        """Every launch reads all weights."""
        launches = self.graphs.plan(start, count, 1)
        return len(launches) * self._weight_bytes + self._position_bytes * (start + count)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """`[rows, V]` float32. Raises `GenerationFailed` as the target, `LaunchFailed` as the draft; then nothing at `start`
        and behind is valid."""
        launches = self.graphs.plan(start, len(ids), rows)
        if start > len(self._ids):
            raise ValueError(f"nothing was computed for position {start} behind {len(self._ids)} others")
        self._ids[start:] = ids
        logits = torch.empty(rows, self.vocabulary)
        done = 0
        with torch.inference_mode():
            for launch in launches:
                given = self._run(launch)
                # A copy, so that the rows that nobody asked for are not kept with them.
                logits[done : done + launch.keep] = given[given.shape[0] - launch.keep :]
                done += launch.keep
        return logits

    def _run(self, launch: Launch) -> torch.Tensor:
        """Logits `[n, V]` whose last row is that of the launch's last real id."""
        self.launched[launch.kind, launch.size] += 1
        try:
            return self._prompt(launch) if launch.kind == "context" else self._window(launch)
        except LIBRARY_FAILURES as error:
            raise run_error(error, self._role, _words(launch)) from error

    def _prompt(self, launch: Launch) -> torch.Tensor:
        ids, positions = self._ids[: launch.count], list(range(launch.count))
        mask = [1] * launch.count
        if launch.count == 1:
            # The graph gives the row of the first highest position, and the library pads positions with 1. With all of them
            # given, and all 0, it is row 0.
            missing = self.graphs.longest_prompt - 1
            ids, mask, positions = [*ids, *[FILLER] * missing], [1, *[0] * missing], [0] * (1 + missing)
        return self._call(ids, mask, positions)[-1:]

    def _window(self, launch: Launch) -> torch.Tensor:
        ids = self._ids[launch.begin : launch.begin + launch.count]
        ids += [FILLER] * (launch.size - launch.count)
        positions = list(range(launch.begin, launch.begin + launch.size))
        return self._call(ids, [1] * launch.begin, positions)[: launch.count]

    def _call(self, ids: list[int], mask: list[int], positions: list[int]) -> torch.Tensor:
        """`[rows, V]` of the rows that the graph gives: of a prompt one."""
        output = self.application(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.tensor([mask]),
            position_ids=torch.tensor([positions]),
        )
        # The vocabulary may be padded to a multiple of the cores.
        logits: torch.Tensor = output.logits[0, :, : self.vocabulary]
        return logits


def _words(launch: Launch) -> str:
    """A launch, for messages."""
    names = {
        "context": f"a prompt of {launch.size}",
        "window": f"a window of {launch.size}",
        "token": "a token",
    }
    return f"{names[launch.kind]} at position {launch.begin:,}"
