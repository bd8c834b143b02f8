"""What spreading a model over NeuronCores adds to it: padded query heads, replicated key and value heads, a padded vocabulary.

The rules of transformers-neuronx 0.13: `utils.get_qkv_padding`, `decoder.py` (fallback to replicated heads), `NEURON_VOCAB_PAD_
DIVISOR` left alone. Must not know bytes.
"""

from __future__ import annotations

from chatapp.library.planner.shapes import ModelShape


def rounded_up(value: int, divisor: int) -> int:
    """The smallest multiple of `divisor` that is not below `value`."""
    return -(-value // divisor) * divisor


def padded_heads(heads: int, kv_heads: int, tp_degree: int) -> tuple[int, int]:
    """Query heads, and key/value heads in weights and cache, after padding and replication.

    Key/value heads that the degree divides stay as they are; otherwise the library warns and replicates them. Source:
    transformers_neuronx 0.13 utils.py `get_qkv_padding`, checked in the tests against what it returned.
    """
    queries = rounded_up(heads, tp_degree)
    if heads == kv_heads:
        return queries, queries
    if kv_heads % tp_degree == 0:
        return queries, kv_heads
    added = queries - heads
    whole_groups = added == 0 or added % kv_heads == 0
    if kv_heads < tp_degree and tp_degree % kv_heads == 0 and whole_groups:
        keys = tp_degree  # one for each core
    elif queries * kv_heads == heads * tp_degree:
        keys = kv_heads  # a core's query heads are exactly those of one key head
    else:
        keys = heads  # one for each query head
    keys = max(keys, tp_degree)
    return queries, queries if keys == heads else keys


def padded_vocabulary(shape: ModelShape, tp_degree: int) -> int:
    return rounded_up(shape.vocabulary, tp_degree)


def padded_intermediate(shape: ModelShape, tp_degree: int) -> int:
    return rounded_up(shape.intermediate, tp_degree)
