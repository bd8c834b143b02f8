"""Draws replies from a model, many prompts at a time.

It must not know what the replies are for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pair_maker.model import Cache, Llama


def choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """One token per row of ``logits [rows, vocabulary]``; the likeliest at temperature 0."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probs = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(probs, 1, generator=generator).squeeze(-1)


@torch.inference_mode()
def replies(model: Llama, prompts: Sequence[Sequence[int]], end: int, most: int, temperature: float = 0.0,
            generator: torch.Generator | None = None) -> list[list[int]]:
    """A reply of at most ``most`` tokens to each prompt, without the end token.

    Prompts are padded in front, so that all rows end at the same column.
    """
    rows, width = len(prompts), max(map(len, prompts))
    device = model.device
    ids = torch.full((rows, width), end, device=device)
    real = torch.zeros((rows, width), dtype=torch.bool, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        real[row, width - len(prompt) :] = True
    places = (real.cumsum(dim=1) - 1).clamp(min=0)
    causal = torch.ones((width, width), dtype=torch.bool, device=device).tril()
    own = torch.eye(width, dtype=torch.bool, device=device)
    mask = (causal & real[:, None, :]) | own
    cache = Cache(model.depth)
    hidden = model.hidden(ids, cache, mask[:, None], places)[:, -1]
    place = places[:, -1]
    written: list[list[int]] = [[] for _ in range(rows)]
    open_rows = list(range(rows))
    for _ in range(most):
        token = choose(model.logits_of(hidden), temperature, generator)
        going = token != end
        for row, value, goes in zip(open_rows, token.tolist(), going.tolist(), strict=True):
            if goes:
                written[row].append(value)
        if not bool(going.all()):
            open_rows = [row for row, goes in zip(open_rows, going.tolist(), strict=True) if goes]
            token, real, place = token[going], real[going], place[going]
            cache.keep_rows(going)
        if not open_rows:
            break
        place = place + 1
        real = torch.cat((real, torch.ones((len(open_rows), 1), dtype=torch.bool, device=device)), dim=1)
        hidden = model.hidden(token[:, None], cache, real[:, None, None, :], place[:, None])[:, -1]
    return written
