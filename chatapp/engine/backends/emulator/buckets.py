"""Which lengths are compiled and which one a call gets. Knows no tensor.

Source: transformers_neuronx 0.13, bucket.py:21-110; neuron-contract.md §1.2.
"""

from __future__ import annotations

import bisect

SMALLEST_TOKEN_BUCKET = 128


def token_sizes(buckets_or_size: list[int] | int) -> list[int]:
    """A list is sorted and used as it is; a number is reached by doubling from 128, itself included."""
    if isinstance(buckets_or_size, list):
        return sorted(buckets_or_size)
    sizes = []
    size = SMALLEST_TOKEN_BUCKET
    while size < buckets_or_size:
        sizes.append(size)
        size *= 2
    return [*sizes, buckets_or_size]


def context_sizes(buckets_or_size: list[int] | int | None, token_buckets: list[int]) -> list[int]:
    """None is half of every token bucket, 0 no context graph at all."""
    if buckets_or_size is None:
        return [bucket // 2 for bucket in token_buckets]
    if isinstance(buckets_or_size, list):
        return sorted(buckets_or_size)
    if isinstance(buckets_or_size, int):
        return [buckets_or_size] if buckets_or_size > 0 else []
    raise NotImplementedError(f"Prompt bucket config {buckets_or_size} not supported")


def batch_sizes(batch_size: list[int] | int) -> list[int]:
    if isinstance(batch_size, int):
        return [batch_size]
    if isinstance(batch_size, list):
        return sorted(batch_size)
    raise TypeError("batch_size must be list of ints or int type")


def find(buckets: list[int], size: int) -> int | None:
    """The smallest bucket that holds `size`, else the last. It is a bisection: of an unsorted list it finds something else."""
    if not buckets:
        return None
    return buckets[bisect.bisect_left(buckets, size, hi=len(buckets) - 1)]
