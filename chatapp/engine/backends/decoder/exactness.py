"""What keeps a row's bits the same wherever it stands in a pass: measured on the machine at hand, when a model is loaded.

Kernels choose their order of summation by the number of rows. Some do so for one to three rows only, some not at all: each
way to fill passes up is tried in turn, the cheapest first, until one holds. Knows the decoder from outside only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.engine.backends.decoder.attention import KV_BLOCK, MOST_FILLED
from chatapp.engine.backends.decoder.decoder import DecoderModel
from chatapp.engine.backends.decoder.linears import Linear

FEW_ROWS = 4
WINDOWS = tuple(range(2, 17))
CHUNKS = (17, 33, 35)
"""Rest chunks of a prefill: one row and a few more than kernels take at a time."""
CLEARLY_FASTER = 0.93
"""Of the time of one row: what four must stay below for a single one to be computed as four."""
LONG_SUMS, RESULTS = 512, 1 << 18
"""Numbers in a sum, and results. oneDNN cuts sums of more than 1,024 numbers otherwise for one row than for several, which
rounding to bfloat16 hides in all but one result of 10,000 to 40,000: passes of few and small layers may show none."""
ROWS = (2, 4, 9)
DEPTHS = (1024, 2048, 4096, 8192)
"""Positions. Kernels cut long sums otherwise than short ones: at 4,096 a single row was another than one of two."""


@dataclass(frozen=True, slots=True)
class Filling:
    """Passes of at least `rows` rows, or of exactly as many. `words` say for people what then holds."""

    rows: int
    constant: bool
    words: str


FILLINGS = (
    Filling(1, False, "rows exact"),
    # Two rows of queries that share a key head in twos and threes are four and more in one product.
    Filling(2, False, "rows exact (passes of at least 2)"),
    Filling(FEW_ROWS, False, f"rows exact (passes of at least {FEW_ROWS})"),
    Filling(MOST_FILLED, True, f"rows exact (passes of {MOST_FILLED})"),
)
NOT_EXACT = "rows not exact to the bit"


class Probed(Protocol):
    """A decoder as far as it is looked at here."""

    @property
    def vocabulary(self) -> int: ...

    @property
    def context_limit(self) -> int: ...

    @property
    def prefill_rows(self) -> int: ...

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor: ...

    def attention_probe(self, depth: int, rows: int) -> Callable[[int, int], torch.Tensor]: ...


def make_exact(model: DecoderModel, clock: Callable[[], int] = time.perf_counter_ns) -> str:
    """Fill passes up as far as exactness needs, or as single rows are faster for it; returns words for people (of the
    first: the second is nobody's concern). The KV that this writes lies at positions that any use overwrites before it
    reads them."""
    for filling in FILLINGS:
        model.fill_up(filling.rows, constant=filling.constant)
        if rows_are_exact(model):
            model.exact_rows = True
            if filling.rows < FEW_ROWS and _faster_as_four(model, clock):
                model.fill_up(FEW_ROWS)
            return filling.words
    model.fill_up(1)
    return NOT_EXACT


def rows_are_exact(model: DecoderModel) -> bool:
    """Whether rows computed together and one by one are the same bits, KV included: whole passes over the end of a block,
    windows and a prefill chunk, attention alone deep in the context, and products alone where passes show too little."""
    return look_exact(model) and all(_product_is_exact(model, *probe) for probe in model.probes())


def look_exact(model: Probed) -> bool:
    """The same where products give float32, in which nothing is hidden."""
    return _passes_are_exact(model) and all(
        _attention_is_exact(model, depth) for depth in {min(depth, model.context_limit) for depth in DEPTHS}
    )


def _passes_are_exact(model: Probed) -> bool:
    longest = max(WINDOWS)
    begin = max(0, min(KV_BLOCK - 5, model.context_limit - longest))
    end = min(begin + longest, model.context_limit)
    ids = [(7 * index + 3) % model.vocabulary for index in range(begin + model.prefill_rows)]
    for at in range(0, begin, model.prefill_rows):
        model.forward(ids[at : min(at + model.prefill_rows, begin)], at, 1)
    single = torch.cat([model.forward(ids[at : at + 1], at, 1) for at in range(begin, end)])
    # A prefill chunk is the widest pass of all.
    for width in (*WINDOWS, *CHUNKS, model.prefill_rows):
        window = ids[begin : min(begin + width, model.context_limit)]
        together = model.forward(window, begin, len(window))[: len(single)]
        if not torch.equal(together, single[: len(together)]):
            return False
    return True


def _product_is_exact(model: DecoderModel, linear: Linear, width: int, alike: int) -> bool:
    """Whether single rows are the bits of wider passes, over so many results that a rounding to bfloat16 hides none."""
    rounding = model.attention.dtype == torch.bfloat16 and not linear.kind.startswith("int8")
    if not rounding or width < LONG_SUMS:
        return True
    generator = torch.Generator().manual_seed(1)

    def passes(rows: torch.Tensor, size: int) -> torch.Tensor:
        size = model.least_rows if model.constant_rows else size
        filled = max(size, model.least_rows)
        parts = []
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            parts.append(linear.product(F.pad(part, (0, 0, 0, filled - len(part))))[: len(part)])
        return torch.cat(parts)

    with torch.inference_mode():
        results = linear.product(torch.zeros(1, width, dtype=torch.bfloat16)).shape[1]
        count = -(-RESULTS // (results * alike))
        if count <= max(WINDOWS):
            return True
        rows = torch.randn(count, width, generator=generator).bfloat16()
        single = passes(rows, 1)
        return all(torch.equal(passes(rows, size), single) for size in (*ROWS, model.prefill_rows))


def _attention_is_exact(model: Probed, depth: int) -> bool:
    rows = min(model.prefill_rows, depth)
    mixed = model.attention_probe(depth, rows)
    with torch.inference_mode():
        single = torch.cat([mixed(row, 1) for row in range(min(rows, MOST_FILLED))])
        for width in (*WINDOWS, rows):
            together = mixed(0, min(width, rows))[: len(single)]
            if not torch.equal(together, single[: len(together)]):
                return False
    return True


def _faster_as_four(model: DecoderModel, clock: Callable[[], int]) -> bool:
    """oneDNN's kernel for a single row is slower than that for four on some processors."""
    if model.context_limit < FEW_ROWS:
        return False

    def taken(rows: int) -> int:
        began = clock()
        model.forward([0] * rows, 0, 1)
        return clock() - began

    pairs = [(taken(1), taken(FEW_ROWS)) for _ in range(3)]
    return min(four for _, four in pairs) < CLEARLY_FASTER * min(one for one, _ in pairs)
