"""Lengths of KV and of prompts that graphs are compiled for, and which of them a call takes.

Source: neuronx-distributed-inference 0.9, modules/autobucketing.py and models/model_wrapper.py (`get_target_bucket`).
"""

from __future__ import annotations

from math import log2

from chatapp.engine.backends.emulator.nxdi.config import NeuronConfig

SMALLEST = 128


def generate_buckets(min_length: int, max_length: int) -> list[int]:
    if min_length == max_length:
        return [max_length]
    # Rounded, so that no power of two stands close to the largest.
    return [2**power for power in range(int(log2(min_length)), round(log2(max_length)))] + [max_length]


def context_buckets(config: NeuronConfig) -> list[int]:
    return _buckets(config, config.context_encoding_buckets, config.max_context_length)


def generation_buckets(config: NeuronConfig) -> list[int]:
    """Of the one-token graph, and of the speculation graph just the same."""
    return _buckets(config, config.token_generation_buckets, config.max_length)


def _buckets(config: NeuronConfig, given: list[int] | None, longest: int) -> list[int]:
    if not config.enable_bucketing:
        return [longest]
    return given if given is not None else generate_buckets(SMALLEST, longest)


def target_bucket(buckets: list[int], mask_length: int, speculation_length: int, tag: str) -> int:
    """The bucket of a call, which goes by the length of its attention mask. A mask that is exactly as long as a bucket takes
    the next one, unless there is none. Raises `ValueError` where no bucket holds it."""
    length = mask_length + speculation_length
    for bucket in buckets:
        if length < bucket:
            return bucket
    if length == buckets[-1]:
        return buckets[-1]
    raise ValueError(f"Input len {mask_length} exceeds largest bucket ({buckets[-1]}) for {tag}")
