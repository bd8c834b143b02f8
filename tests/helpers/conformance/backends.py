"""Laws of `contracts.CausalModel`: KV addressed by position, rows of logits that do not depend on how they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from chatapp.engine.contracts import CausalModel
from tests.helpers.conformance.common import Nonconforming, require

GRAIN = 1e-4
"""Largest difference of two logits that count as one, in units of the row's own spread; 2e-2 suits half precision."""
LENGTH = 24


def check_backend(load: Callable[[], CausalModel], *, grain: float = GRAIN) -> None:
    """Raises `Nonconforming`, or what the model raised. `load` gives a fresh model each time, or one whose KV may be used up:
    the laws hold from position 0 on, whatever was computed before."""
    model = load()
    check_declaration(model)
    length = min(LENGTH, model.context_limit)
    ids = [(7 * place + place * place) % model.vocabulary for place in range(length)]
    expected = _one_by_one(model, ids)
    _same(expected, _one_by_one(load(), ids), grain, "the same ids give the same logits")
    check_chunks(model, ids, expected, grain)
    check_rewinds(model, ids, expected, grain)
    check_ownership(model, ids)
    check_context(model)


def check_declaration(model: CausalModel) -> None:
    require(bool(model.info.name), "a model says what it is")
    for name in ("vocabulary", "context_limit", "prefill_rows"):
        value = getattr(model, name)
        require(type(value) is int and value >= 1, f"its {name} is {value!r}")
    first, later = model.traffic(1, 0), model.traffic(1, min(100, model.context_limit - 1))
    require(0 <= first <= later, f"traffic is {first} at the start and {later} behind")
    require(model.traffic(4, 0) >= first, "more ids read no less")


def _forward(model: CausalModel, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
    """A copy of the logits, in float64; their form is checked."""
    given = list(ids)
    logits = model.forward(given, start, rows)
    require(given == list(ids), "the ids are left as they are")
    require(isinstance(logits, torch.Tensor), f"its logits are a {type(logits).__name__}")
    require(
        tuple(logits.shape) == (rows, model.vocabulary), f"{rows} rows asked, {tuple(logits.shape)} given"
    )
    require(
        logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64),
        "float logits on the CPU",
    )
    require(bool(torch.isfinite(logits).all()), "logits are finite")
    return logits.to(torch.float64, copy=True)


def _one_by_one(model: CausalModel, ids: Sequence[int]) -> torch.Tensor:
    return torch.cat([_forward(model, [token], place, 1) for place, token in enumerate(ids)])


def _same(expected: torch.Tensor, found: torch.Tensor, grain: float, law: str) -> None:
    spread = max(float(expected.std()), 1e-6)
    worst = float((expected - found).abs().max()) / spread
    if worst > grain:
        raise Nonconforming(f"{law}: off by {worst:.1e} of the row's spread")


def check_chunks(model: CausalModel, ids: list[int], expected: torch.Tensor, grain: float) -> None:
    """A chunk of any size gives what its ids give one by one, and its last rows alone if only those are asked for."""
    for size in (2, 3, 5, 8, len(ids)):
        rows = [
            _forward(model, ids[begin : begin + size], begin, len(ids[begin : begin + size]))
            for begin in range(0, len(ids), size)
        ]
        _same(expected, torch.cat(rows), grain, f"chunks of {size} are worth as many single ids")
    for asked in (1, 3):
        asked = min(asked, len(ids))
        last = _forward(model, ids, 0, asked)
        _same(expected[-asked:], last, grain, f"the last {asked} rows of a chunk")


def check_rewinds(model: CausalModel, ids: list[int], expected: torch.Tensor, grain: float) -> None:
    """Starting at a smaller position is all it takes to forget what stood behind it."""
    for kept in range(len(ids) - 1, 0, -5):
        wrong = [(token + 1) % model.vocabulary for token in ids[kept:]]
        _forward(model, ids, 0, 1)
        other = _forward(model, wrong, kept, len(wrong))
        if model.vocabulary > 1 and len(ids) > 4:
            require(not torch.allclose(other, expected[kept:]), "logits depend on the ids")
        found = _forward(model, ids[kept:], kept, len(ids) - kept)
        _same(expected[kept:], found, grain, f"rewound to {kept}")


def check_ownership(model: CausalModel, ids: list[int]) -> None:
    """Logits belong to the caller: a later call leaves them as they are, and what the caller writes there changes no later one."""
    first = model.forward(ids, 0, len(ids))
    kept = first.clone()
    for place in range(len(ids) - 1, 0, -4):
        model.forward([(ids[place] + 1) % model.vocabulary], place, 1)
        require(torch.equal(first, kept), "a later call writes into logits that were handed over before")
    first.numpy()[...] = 0.0
    again = model.forward(ids, 0, len(ids))
    require(not torch.equal(again, torch.zeros_like(again)), "what the caller wrote into logits comes back")


def check_context(model: CausalModel) -> None:
    """Every position up to the limit can be used (tried where that is soon done)."""
    if model.context_limit <= 1024:
        step = model.prefill_rows
        for begin in range(0, model.context_limit, step):
            count = min(step, model.context_limit - begin)
            _forward(model, [0] * count, begin, 1)
