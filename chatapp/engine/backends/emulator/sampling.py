"""The library's own sampling loop, which the application does not use. Knows no device.

Source: transformers_neuronx 0.13, sampling.py:183-192,311-378; neuron-contract.md §3.
"""

from __future__ import annotations

from typing import Any

import torch


def filtered(
    scores: torch.Tensor, top_k: int | None, top_p: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores that may be drawn, best first, and their ids; −inf where `top_p` cuts off."""
    values, ids = torch.topk(scores, scores.shape[-1] if top_k is None else min(top_k, scores.shape[-1]))
    if top_p is not None:
        before = values.softmax(-1).cumsum(-1).roll(1, -1)
        before[:, 0] = 0.0
        values = values.masked_fill(before >= top_p, float("-inf"))
    return values, ids


def check(top_k: object, top_p: object, temperature: object) -> None:
    """Raises `ValueError`: an `int` of 1 is no temperature."""
    if top_k is not None and (not isinstance(top_k, int) or top_k <= 0):
        raise ValueError("top_k has to be a strictly positive int.")
    if top_p is not None and (not isinstance(top_p, float) or not 0.0 < top_p <= 1.0):
        raise ValueError("top_p has to be a strictly positive float that less than or equal to 1.0.")
    if not isinstance(temperature, float) or temperature <= 0:
        raise ValueError("temperature has to be a strictly positive float.")


@torch.no_grad()
def sample_llama(
    model: Any,
    input_ids: torch.Tensor,
    start_ids: torch.Tensor | None,
    sequence_length: int,
    *,
    eos_token_id: int | list[int],
    top_k: int | None,
    top_p: float | None,
    temperature: float,
    streamer: Any = None,
) -> torch.Tensor:
    """Up to `sequence_length` tokens, the prompt counted. The last token drawn is run through the model too, for nothing."""
    check(top_k, top_p, temperature)
    scores = model(input_ids, None, start_ids)
    ends = torch.tensor([eos_token_id] if isinstance(eos_token_id, int) else eos_token_id)
    done = torch.zeros(input_ids.shape[0], 1, dtype=torch.bool)
    tokens = [input_ids]
    for position in range(input_ids.shape[1], sequence_length):
        values, ids = filtered(scores / temperature, top_k, top_p)
        drawn = ids.gather(1, torch.multinomial(values.softmax(-1), 1, replacement=True))
        ended = torch.isin(drawn, ends)
        done = done | ended
        token = torch.where(done & ~ended, ends[0], drawn)
        tokens.append(token)
        if streamer is not None:
            streamer.put(token)
        if bool(done.all()):
            break
        scores = model(drawn, torch.tensor([position], dtype=torch.int32), start_ids)
    if streamer is not None:
        streamer.end()
    return torch.cat(tokens, dim=-1)
