"""A plain implementation of speculative sampling, for measuring acceptance alone.

The application's engine is another one; here one prompt at a time, two caches, nothing clever.  Sources:
Leviathan et al. 2022, algorithm 1; Chen et al. 2023, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pair_maker.model import Cache, Llama


@dataclass
class Counts:
    """What happened over any number of verify steps."""

    steps: int = 0
    committed: int = 0
    drafted: int = 0
    tested: int = 0
    accepted: int = 0

    @property
    def tested_acceptance(self) -> float:
        """Accepted drafts over drafts that were tested."""
        return self.accepted / max(self.tested, 1)

    @property
    def mean_acceptance_length(self) -> float:
        """Committed tokens per verify step."""
        return self.committed / max(self.steps, 1)

    def add(self, other: Counts) -> None:
        self.steps += other.steps
        self.committed += other.committed
        self.drafted += other.drafted
        self.tested += other.tested
        self.accepted += other.accepted


def distribution(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities ``[..., vocabulary]``; one-hot at temperature 0."""
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float()
    return torch.softmax(logits.float() / temperature, dim=-1)


class _Reader:
    """A model with its cache; reads whatever of the text it has not seen."""

    def __init__(self, model: Llama) -> None:
        self._model, self._cache = model, Cache(model.depth)

    def read(self, text: Sequence[int], positions: int) -> Tensor:
        """Logits ``[positions, vocabulary]`` after each of the last ``positions`` tokens of ``text``."""
        start = min(self._cache.length, len(text) - positions)
        self._cache.rewind(start)
        new = torch.tensor([text[start:]], device=self._model.device)
        mask = None
        if start and new.shape[1] > 1:
            mask = torch.ones((new.shape[1], len(text)), dtype=torch.bool, device=new.device).tril(start)
        return self._model.logits_of(self._model.hidden(new, self._cache, mask)[0, -positions:])


@torch.inference_mode()
def speculate(target: Llama, draft: Llama, prompt: Sequence[int], end: int, k: int, most: int, temperature: float,
              generator: torch.Generator) -> tuple[list[int], Counts]:
    """A reply of at most ``most`` tokens (``end`` included) drawn with windows of ``k``, and its counts."""
    text, counts = list(prompt), Counts()
    verifier, proposer = _Reader(target), _Reader(draft)
    while len(text) - len(prompt) < most and end not in text[len(prompt) :]:
        drafts: list[int] = []
        draft_probs: list[Tensor] = []
        for _ in range(min(k, most - (len(text) - len(prompt))) - 1):
            draft_probs.append(distribution(proposer.read([*text, *drafts], 1)[0], temperature))
            drafts.append(_draw(draft_probs[-1], generator))
        target_probs = distribution(verifier.read([*text, *drafts], len(drafts) + 1), temperature)
        accepted, token = accept(drafts, draft_probs, target_probs, generator)
        committed = [*drafts[:accepted], token]
        if end in committed:
            committed = committed[: committed.index(end) + 1]
            accepted = min(accepted, len(committed))
        text += committed
        counts.add(Counts(1, len(committed), len(drafts), _tested(accepted, committed, len(drafts)), accepted))
    return text[len(prompt) :], counts


def accept(drafts: Sequence[int], draft_probs: Sequence[Tensor], target_probs: Tensor,
           generator: torch.Generator) -> tuple[int, int]:
    """How many drafts are kept, and the token that follows them.

    A draft is kept with probability min(1, target / draft).  After the first that is not, the token comes from
    the normalised positive part of target - draft; when all are kept, from the target.
    """
    for place, (token, proposed) in enumerate(zip(drafts, draft_probs, strict=True)):
        wanted = target_probs[place]
        chance = float(wanted[token] / proposed[token])
        if float(torch.rand((), generator=generator, device=generator.device)) >= chance:
            residual = (wanted - proposed).clamp(min=0)
            return place, _draw(residual if float(residual.sum()) > 0 else wanted, generator)
    return len(drafts), _draw(target_probs[len(drafts)], generator)


def _tested(accepted: int, committed: Sequence[int], drafted: int) -> int:
    """Accepted drafts, and the one rejected if the last committed token is a correction."""
    return accepted + int(accepted < drafted and len(committed) > accepted)


def _draw(weights: Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(weights, 1, generator=generator))
