"""How heads are padded and replicated for a tensor-parallel degree. Knows no tensor.

Padded heads are zeros: they cost memory and change no logit, so the emulator charges for them and computes without.

Source: transformers_neuronx 0.13, decoder.py:100-176 and utils.py `get_qkv_padding`; neuron-contract.md §1.4.
"""

from __future__ import annotations

import warnings

from chatapp.engine.backends.emulator.constants import GQA


def rounded_up(size: int, divisor: int) -> int:
    return -(-size // divisor) * divisor


def gqa_of(
    asked: GQA | None, *, heads: int, kv_heads: int, tp_degree: int, head_size: int, batches: list[int]
) -> GQA | None:
    """The sharding that the library settles on, with its warnings; None for as many key/value as query heads."""
    if asked is None and heads == kv_heads:
        return None
    if asked is GQA.REPLICATED_HEADS:
        return asked
    if asked is GQA.SHARD_OVER_BATCH:
        if all(batch % tp_degree == 0 for batch in batches):
            return asked
        warnings.warn(
            f'Cannot enable "{asked}" when a batch size ({batches}) is not evenly divisible by the tensor parallel '
            f"degree ({tp_degree})",
            stacklevel=4,
        )
    if asked is GQA.ALL_GATHER_HEADS:
        if kv_heads * head_size % tp_degree == 0 and (rounded_up(heads, tp_degree) - heads) % kv_heads == 0:
            return asked
        warnings.warn(
            f'Cannot enable "{asked}" with {heads} query and {kv_heads} key/value heads of {head_size} and a tensor '
            f"parallel degree of {tp_degree}",
            stacklevel=4,
        )
    if kv_heads % tp_degree:
        warnings.warn(
            f"KV head replication will be enabled since the number of KV heads ({kv_heads}) is not evenly divisible by "
            f"the tensor parallel degree ({tp_degree})",
            stacklevel=4,
        )
        return GQA.REPLICATED_HEADS
    return GQA.SHARD_OVER_HEADS


def padded_heads(heads: int, kv_heads: int, tp_degree: int, gqa: GQA | None) -> tuple[int, int]:
    """Query heads after padding, and key/value heads in the cache."""
    padded = rounded_up(heads, tp_degree)
    if heads == kv_heads:
        return padded, padded
    if gqa is not GQA.REPLICATED_HEADS:
        return padded, kv_heads
    extra = padded - heads
    evenly = heads % tp_degree == 0 or (extra > 0 and extra % kv_heads == 0)
    if kv_heads < tp_degree and tp_degree % kv_heads == 0 and evenly:
        copies = tp_degree // kv_heads
    elif padded * kv_heads == heads * tp_degree:
        copies = 1
    else:
        copies = heads // kv_heads
    in_cache = max(kv_heads * copies, tp_degree)
    return padded, padded if in_cache == heads else in_cache
