"""The two optimisers of a model: Muon for the layers' matrices, AdamW for everything else.

Muon (Jordan et al. 2024) orthogonalises the momentum of a matrix; embeddings and gains are no such matrices.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

MUON_RATE = 0.008
MUON_DECAY = 0.05
ADAM_RATE = 0.0015
CLIP = 1.0


class Optimisers:
    """Both optimisers as one."""

    def __init__(self, model: nn.Module, scale: float = 1.0) -> None:
        named = list(model.named_parameters())
        matrices = [weight for name, weight in named if weight.dim() == 2 and "embed" not in name]
        rest = [weight for name, weight in named if weight.dim() != 2 or "embed" in name]
        self._muon = torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=MUON_DECAY, momentum=0.95)
        self._adam = torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0)
        self._all: tuple[torch.optim.Optimizer, ...] = (self._muon, self._adam)
        self._rates = (MUON_RATE * scale, ADAM_RATE * scale)
        self._rest = rest

    def step(self, rate: float) -> None:
        """One update at ``rate`` times the full learning rates; gradients are cleared."""
        torch.nn.utils.clip_grad_norm_(self._rest, CLIP)
        for optimiser, full in zip(self._all, self._rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = full * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def adopt(self, other: Optimisers) -> None:
        """Take over what ``other`` knows of the parameters that both have."""
        for mine, theirs in zip(self._all, other._all, strict=True):
            for weight in _parameters(mine):
                if weight in theirs.state:
                    mine.state[weight] = theirs.state[weight]

    def state(self) -> list[dict[str, object]]:
        return [optimiser.state_dict() for optimiser in self._all]

    def load(self, states: Iterable[dict[str, object]]) -> None:
        for optimiser, state in zip(self._all, states, strict=True):
            optimiser.load_state_dict(state)


def _parameters(optimiser: torch.optim.Optimizer) -> Iterable[nn.Parameter]:
    for group in optimiser.param_groups:
        yield from group["params"]
