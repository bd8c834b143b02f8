"""Backends with faults do not pass the suite, each by the law it breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
import torch

from chatapp.engine.backends.toy import ToyModel
from tests.helpers.conformance import (
    Nonconforming,
    check_backend,
)


class FaultyToy(ToyModel):
    def __init__(self) -> None:
        super().__init__(8, seed=1)


class IgnoresStart(FaultyToy):
    """Appends to whatever is there."""

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        return super().forward(ids, min(len(self._cache), 400), rows)


class FirstRows(FaultyToy):
    """Gives the first rows of a chunk instead of the last."""

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        return super().forward(ids, start, len(ids))[:rows]


class AllRows(FaultyToy):
    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        return super().forward(ids, start, len(ids))


class RowsByPlace(FaultyToy):
    """A row's logits depend on its place in the chunk."""

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        shift = 0.01 * torch.arange(rows, dtype=torch.float64).flip(0)
        return super().forward(ids, start, rows) * (1.0 + shift[:, None])


class NegativeTraffic(FaultyToy):
    def traffic(self, count: int, start: int) -> int:
        return -1


class ShortContext(FaultyToy):
    """Promises more positions than it has."""

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        if start + len(ids) > 100:
            raise ValueError("past the context")
        return super().forward(ids, start, rows)


class ReusesRows(FaultyToy):
    """Hands over the same memory again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._out = torch.empty(512, 8, dtype=torch.float64)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        self._out[:rows] = super().forward(ids, start, rows)
        return self._out[:rows]


class KeepsRows(FaultyToy):
    """Hands over what it will hand over again."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        logits = super().forward(ids, start, rows)
        return self._known.setdefault((*self._cache, rows), logits)


class Poisoned(FaultyToy):
    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        logits = super().forward(ids, start, rows).clone()
        logits[0, 3] = float("nan")
        return logits


class Deaf(FaultyToy):
    """The same logits whatever was said."""

    def logits_after(self, ids: Sequence[int]) -> torch.Tensor:
        return super().logits_after([0, 0])


@pytest.mark.parametrize(
    ("faulty", "law"),
    [
        (IgnoresStart, "off by"),
        (FirstRows, "rows of a chunk"),
        (AllRows, "rows asked"),
        (RowsByPlace, "worth as many single ids"),
        (NegativeTraffic, "traffic is -1"),
        (Poisoned, "finite"),
        (ReusesRows, "writes into logits"),
        (KeepsRows, "what the caller wrote"),
        (Deaf, "logits depend on the ids"),
    ],
)
def test_faulty_backends_are_seen(faulty: Callable[[], ToyModel], law: str) -> None:
    with pytest.raises(Nonconforming, match=re.escape(law)):
        check_backend(faulty)


def test_a_context_that_is_shorter_than_promised_is_seen() -> None:
    with pytest.raises(ValueError, match="past the context"):
        check_backend(ShortContext)
