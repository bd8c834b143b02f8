"""Which launches compute a stretch of ids, when there is a context graph and one other of a fixed number of rows.

The target's other graph is a window, the draft's takes a single token; the same words serve both. What a window may do at
the end of the context is told in `backends.neuron.launches`, whose `Launch` and `Costs` this uses. Pure arithmetic.
Source: neuronx-distributed-inference 0.9, models/model_wrapper.py (`get_target_bucket`, `pad_inputs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.engine.backends.neuron.launches import PUBLISHED, Costs, Kind, Launch, cost


@dataclass(frozen=True, slots=True)
class Graphs:
    """What was compiled for one side. `rows` is what a launch behind position 0 takes: a window, or 1 for a draft. `positions`
    is the KV's length and the last of `token_buckets`; both lists ascend."""

    positions: int
    rows: int
    token_buckets: tuple[int, ...]
    context_buckets: tuple[int, ...]

    @property
    def longest_prompt(self) -> int:
        """The most ids that one context launch takes."""
        return self.context_buckets[-1]

    def context_bucket(self, count: int) -> int:
        """Of a prompt. One that fills a bucket takes the next; and a single id the last, since the row that a context graph
        gives is that of the highest position, which padding (at position 1) would be: the call must leave none to add."""
        return _bucket(self.context_buckets, count) if count > 1 else self.longest_prompt

    def plan(self, start: int, count: int, rows: int) -> list[Launch]:
        """Launches that compute `count` ids at `start` and give the logits of the last `rows` of them. The first part of a
        text goes through a context graph, which gives its last row alone. Raises `ValueError` for what cannot be."""
        if not 1 <= rows <= count or start < 0 or start + count > self.positions:
            raise ValueError(
                f"{count} ids at {start} with {rows} rows, in a KV of {self.positions} positions"
            )
        launches: list[Launch] = []
        at, end, first = start, start + count, start + count - rows
        if start == 0:
            at = min(first + 1, self.longest_prompt)
            bucket = self.context_bucket(at)
            launches.append(Launch("context", bucket, bucket, 0, at, at, int(at == first + 1)))
        kind: Kind = "window" if self.rows > 1 else "token"
        while at < end:
            begin = min(at, self.positions - self.rows)
            new = min(begin + self.rows, end) - at
            # The mask is as long as what is behind, and the library adds the window's rows to it, but not a single token.
            length = begin + self.rows if self.rows > 1 else begin
            bucket = _bucket(self.token_buckets, length)
            keep = min(new, max(at + new - first, 0))
            launches.append(Launch(kind, self.rows, bucket, begin, at - begin + new, new, keep))
            at += new
        return launches

    def next_chunk(self, count: int, start: int) -> int:
        """How many of `count` ids at `start` one launch computes."""
        return min(count, self.rows if start else self.longest_prompt)

    def worth_keeping(self, common: int, total: int, costs: Costs = PUBLISHED) -> int:
        """How many of `common` computed positions a text of `total` ids should build on: all, or none where reading it afresh
        costs less than the windows, or the draft's single tokens, for the rest."""
        total = min(total, self.positions)
        missing = -(-(total - common) // self.rows)
        appending = missing * (costs.window(self.rows) if self.rows > 1 else 1.0)
        if appending <= costs.context(self.context_buckets[0]):
            return common  # the usual case, asked at every verify step
        return common if appending <= cost(self.plan(0, total, 1), costs) else 0


def _bucket(buckets: Sequence[int], length: int) -> int:
    """The smallest that is longer, and only of the last also one that is just as long."""
    return next((bucket for bucket in buckets if bucket > length), buckets[-1])
