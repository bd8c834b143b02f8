"""A model together with the ids whose KV it holds. The one place that knows what is cached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import torch

from chatapp.engine.contracts import CausalModel, ChunkingModel


class CachedSequence:
    """`ids[:length]` are computed and valid; everything behind is free to be overwritten."""

    def __init__(self, model: CausalModel, vocabulary: int | None = None) -> None:
        """`vocabulary` cuts the logits to the ids that target and draft share (checkpoints pad theirs differently)."""
        self.model = model
        self.ids: list[int] = []
        self.bytes_read = 0
        """What all passes so far had to read from memory at least."""
        self._vocabulary = vocabulary or model.vocabulary
        self._chunking = model if isinstance(model, ChunkingModel) else None

    @property
    def length(self) -> int:
        return len(self.ids)

    @property
    def vocabulary(self) -> int:
        """V of the logits that `advance` gives."""
        return self._vocabulary

    def advance(self, ids: Sequence[int], rows: int) -> torch.Tensor:
        """Append `ids`; logits of the last `rows`, `[rows, V]`. On an exception the length is unchanged."""
        logits = self.model.forward(ids, self.length, rows)
        self.bytes_read += self.model.traffic(len(ids), self.length)
        self.ids.extend(ids)
        return logits[:, : self._vocabulary]

    def note(self, ids: Sequence[int], bytes_read: int) -> None:
        """Append `ids` whose KV a fused window has computed behind ours."""
        self.bytes_read += bytes_read
        self.ids.extend(ids)

    def rewind(self, length: int) -> None:
        """Keep the first `length` ids (no effect when there are fewer)."""
        del self.ids[length:]

    def keep_common_prefix(self, ids: list[int], at_most: int) -> int:
        """Rewind to the longest common prefix with `ids`, at most `at_most` long; returns its length. A model that would
        sooner read them all afresh keeps none."""
        ours = self.ids[:at_most]
        common = len(ours)
        if ours != ids[:common]:
            common = next(i for i, (a, b) in enumerate(zip_longest(ours, ids[:common])) if a != b)
        if 0 < common < at_most and self._chunking is not None:
            common = self._chunking.worth_keeping(common, len(ids))
        self.rewind(common)
        return common

    def next_chunk(self, count: int) -> int:
        """How many of `count` more ids the next `advance` should get, so that a cancel is heard between two."""
        if self._chunking is not None:
            return self._chunking.next_chunk(count, self.length)
        return min(count, self.model.prefill_rows)

    def feed(self, ids: Sequence[int], cancelled: Callable[[], bool]) -> torch.Tensor | None:
        """Append many ids in the model's chunks; the last row's logits `[1, V]`, None when cancelled between two."""
        logits: torch.Tensor | None = None
        done = 0
        while done < len(ids):
            if cancelled():
                return None
            size = self.next_chunk(len(ids) - done)
            logits = self.advance(ids[done : done + size], rows=1)
            done += size
        return logits
