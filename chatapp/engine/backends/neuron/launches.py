"""Which compiled graphs compute a stretch of ids: the cheapest cover of it, one launch after the other. Pure arithmetic.

    context graph   ids 0 … n−1, padded to a bucket; logits of the last alone
    window graph    W ids at any positions that follow each other, padded at the end; logits of each
    token graph     one id

A window must end within the KV: where padding would pass the end it begins further left, over ids already computed, and
gives those the same KV once more. Junk that padding writes lies behind what is valid, is masked, and is overwritten before
anything reads it. Must not know a library, a tensor or which side of a pair is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Kind = Literal["context", "window", "token"]


@dataclass(frozen=True, slots=True)
class Graphs:
    """What was compiled for one side; every list ascends. `positions` is the KV's length, the last token bucket.
    `windows` are row counts above 1."""

    positions: int
    windows: tuple[int, ...]
    token_buckets: tuple[int, ...]
    context_buckets: tuple[int, ...]

    def bucket(self, last: int) -> int:
        """The KV length that a token or window graph reads whose last row is at position `last`: the smallest beyond it."""
        return next(bucket for bucket in self.token_buckets if bucket > last)


@dataclass(frozen=True, slots=True)
class Costs:
    """What launches cost, in launches of one token, for choosing between them. None of it is a measurement of ours.

    `context_128` and `context_2048` are the published times to the first token over those per token, batch 1: Llama-2-70B on
    trn1.32xlarge 53.9 and 691 over 25.2 ms, on inf2.48xlarge 76.6 and 810 over 32.9 ms (AWS Neuron documentation 2.21.1,
    general/benchmarks, latency_data_decoder.csv); in between and beyond on the line through both, below 128 what 128 costs.
    Nothing is published of windows. A pass at batch 1 reads every weight once whatever it computes, so few rows are taken
    as almost free; 64 rows are taken as a context of 128, which they cannot exceed, so that two single tokens are not
    replaced by a window whose cost nobody knows.
    """

    context_128: float = 2.2
    context_2048: float = 26.0
    rows_64: float = 2.2

    def context(self, bucket: int) -> float:
        slope = (self.context_2048 - self.context_128) / (2048 - 128)
        return self.context_128 + slope * max(bucket - 128, 0)

    def window(self, rows: int) -> float:
        return 1.0 + (self.rows_64 - 1.0) * rows / 64

    def launch(self, launch: Launch) -> float:
        if launch.kind == "token":
            return 1.0
        return self.context(launch.size) if launch.kind == "context" else self.window(launch.size)


PUBLISHED = Costs()


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch. Row i computes the id at position `begin` + i for i < `count` and padding for the rest of `size` rows; the
    last `new` of `count` were not computed before, and the logits of the last `keep` of those are wanted. `bucket` is the
    KV length of the graph (of a context graph, its own size)."""

    kind: Kind
    size: int
    bucket: int
    begin: int
    count: int
    new: int
    keep: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A window (rows > 1) or token launch, before it has a place: `take` new ids behind `again` known ones."""

    rows: int
    take: int
    again: int = 0


def plan(start: int, count: int, rows: int, graphs: Graphs, costs: Costs = PUBLISHED) -> list[Launch]:
    """The cheapest launches that compute `count` ids at `start` and give the logits of the last `rows` of them.

    A context graph computes from position 0, and gives one row. Where every row is wanted, a pass that verifies, the smallest
    window that holds them does it in one launch. Raises `ValueError` for what cannot be: no rows, more rows
    than ids, or ids behind the KV's end.
    """
    if not 1 <= rows <= count or start < 0 or start + count > graphs.positions:
        raise ValueError(f"{count} ids at {start} with {rows} rows, in a KV of {graphs.positions} positions")
    if count == 1 and start > 0 and costs.rows_64 >= 1.0:
        # Nothing costs less than a token; asked for every draft.
        return [Launch("token", 1, graphs.bucket(start), start, 1, 1, 1)]
    if 1 < rows == count and start > 0:
        # A verify pass is one launch wherever a window holds it, whatever a long one may cost: that is what the slider says.
        window = next((size for size in graphs.windows if size >= count), None)
        if window is not None:
            piece = _Piece(window, count, max(start + window - graphs.positions, 0))
            return _with_rows(_laid_out([piece], start, graphs), start)
    candidates: list[list[Launch]] = []
    if start == 0:
        # First, so that a tie goes to it: its cost was measured by somebody.
        most = count - rows + 1
        for bucket in graphs.context_buckets:
            head = min(bucket, most)
            first = Launch("context", bucket, bucket, 0, head, head, 0)
            candidates.append([first, *_laid_out(_cover(head, count - head, graphs, costs), head, graphs)])
            if bucket >= most:
                break
    candidates.append(_laid_out(_cover(start, count, graphs, costs), start, graphs))
    best = min(candidates, key=lambda launches: (cost(launches, costs), len(launches)))
    return _with_rows(best, start + count - rows)


def cost(launches: Sequence[Launch], costs: Costs = PUBLISHED) -> float:
    """Of all of them, in launches of one token."""
    return sum(map(costs.launch, launches))


def next_chunk(start: int, count: int, graphs: Graphs, costs: Costs = PUBLISHED) -> int:
    """How many of `count` ids the first launch of the plan for them computes: alone, they are one launch too."""
    return plan(start, count, 1, graphs, costs)[0].new


def worth_keeping(common: int, total: int, graphs: Graphs, costs: Costs = PUBLISHED) -> bool:
    """Whether to append to `common` computed positions, when `total` are wanted, rather than to compute all afresh."""
    if common >= total or not graphs.context_buckets:
        return True
    missing = plan(common, total - common, 1, graphs, costs)
    if cost(missing, costs) <= costs.context(graphs.context_buckets[0]):
        return True  # nothing that begins at 0 is cheaper; the usual case, asked at every verify step
    return cost(missing, costs) <= cost(plan(0, total, 1, graphs, costs), costs)


def _cover(start: int, count: int, graphs: Graphs, costs: Costs) -> list[_Piece]:
    """Windows and single tokens for `count` ids at `start`: the largest window as long as it is filled, then the cheapest
    way to do the rest."""
    if not graphs.windows:
        return [_Piece(1, 1)] * count
    largest = graphs.windows[-1]
    full, rest = divmod(count, largest)
    room, behind = graphs.positions - start - full * largest, start + full * largest
    # Cut to what the answer can depend on, so that the few answers are remembered.
    tail = _cheapest(rest, min(room, 2 * largest), min(behind, largest), graphs.windows, costs)[2]
    return [_Piece(largest, largest)] * full + list(tail)


@lru_cache(maxsize=1 << 16)
def _cheapest(
    count: int, room: int, behind: int, windows: tuple[int, ...], costs: Costs
) -> tuple[float, int, tuple[_Piece, ...]]:
    """Cost, number and pieces for `count` ids, with `room` positions from the first of them to the KV's end and `behind`
    known ids in front."""
    best: list[tuple[float, int, tuple[_Piece, ...]]] = [(0.0, 0, ())]
    for left in range(
        1, count + 1
    ):  # the last `left` of them; not by recursion, which long windows take too deep
        room_left, known = room - (count - left), behind + count - left
        pieces = [_Piece(1, 1)]
        for rows in windows:
            again = max(rows - room_left, 0)
            if again <= known:
                pieces.append(_Piece(rows, min(left, rows - again), again))
            if rows - again >= left:
                break  # a larger one does no more and costs more
        found = []
        for piece in pieces:
            rest_cost, rest_number, rest = best[left - piece.take]
            own = 1.0 if piece.rows == 1 else costs.window(piece.rows)
            found.append((own + rest_cost, 1 + rest_number, (piece, *rest)))
        best.append(min(found, key=lambda option: option[:2]))
    return best[count]


def _laid_out(pieces: Sequence[_Piece], start: int, graphs: Graphs) -> list[Launch]:
    launches = []
    for piece in pieces:
        begin = start - piece.again
        kind: Kind = "token" if piece.rows == 1 else "window"
        # The library looks for the bucket of the last row that it is given, padding included.
        bucket = graphs.bucket(begin + piece.rows - 1)
        launches.append(Launch(kind, piece.rows, bucket, begin, piece.again + piece.take, piece.take, 0))
        start += piece.take
    return launches


def _with_rows(launches: list[Launch], first: int) -> list[Launch]:
    """With `keep` set: the logits of position `first` and everything behind it are wanted."""
    return [
        replace(launch, keep=min(launch.new, max(launch.begin + launch.count - first, 0)))
        for launch in launches
    ]
