"""neuron-contract.md §1.2: which lengths are compiled, and how many graphs that makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatapp.engine.backends.emulator import buckets


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (2048, [128, 256, 512, 1024, 2048]),
        (300, [128, 256, 300]),
        (128, [128]),
        (64, [64]),
        ([512, 96, 128], [96, 128, 512]),
    ],
)
def test_token_buckets_double_from_128_unless_listed(asked: list[int] | int, wanted: list[int]) -> None:
    """neuron-contract.md §1.2 `n_positions`."""
    assert buckets.token_sizes(asked) == wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [(None, [64, 128, 256]), (96, [96]), ([200, 16], [16, 200]), (0, []), (-1, [])],
)
def test_context_buckets(asked: list[int] | int | None, wanted: list[int]) -> None:
    """neuron-contract.md §1.2 `context_length_estimate`: None is half of every token bucket, 0 is none."""
    assert buckets.context_sizes(asked, [128, 256, 512]) == wanted


def test_context_buckets_of_another_kind_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="not supported"):
        buckets.context_sizes((16, 32), [128])  # type: ignore[arg-type]  # what a user may pass


def test_batch_sizes_are_a_number_or_a_list() -> None:
    """neuron-contract.md §1.2 `batch_size`."""
    assert buckets.batch_sizes(2) == [2]
    assert buckets.batch_sizes([4, 1]) == [1, 4]
    with pytest.raises(TypeError, match="batch_size must be list of ints or int type"):
        buckets.batch_sizes((1, 2))  # type: ignore[arg-type]  # what a user may pass


@pytest.mark.parametrize(("size", "found"), [(1, 4), (4, 4), (5, 8), (8, 8), (9, 8), (100, 8)])
def test_search_takes_the_smallest_that_fits_else_the_largest(size: int, found: int) -> None:
    """neuron-contract.md §2.2."""
    assert buckets.find([4, 8], size) == found


def test_search_needs_ascending_buckets() -> None:
    """neuron-contract.md §2.2: a bisection over [8, 4] finds 8 for four rows."""
    assert buckets.find([8, 4], 4) == 8
    assert buckets.find([], 4) is None


def test_the_default_model_has_15_graphs_with_one_window(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2: 5 token, 5 context and 5 per window; the count is there before anything is traced."""
    model = make(windows=[8], on_cores=False, n_positions=2048, context_length_estimate=None)
    assert model.token_buckets == [128, 256, 512, 1024, 2048]
    assert model.context_buckets == [64, 128, 256, 512, 1024]
    assert sum(len(one.n_positions_list) * len(one.batch_size) for one in model.nbs_objs) == 15
    model.cpu_compile()
    assert len(model._get_all_kernels()) == 15


def test_every_batch_size_has_its_graphs_and_its_kv(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2 `batch_size`."""
    model = make(windows=[4], batch_size=[1, 2])
    assert len(model._get_all_kernels()) == 2 * (2 + 2 + 2)
    assert list(model.decoder_lm_head_for_speculation) == [(4, 1), (4, 2)]
    assert set(model._shared.caches) == {1, 2}


def test_unroll_must_divide_the_layers(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2 `unroll`: fewer than all layers is the multi-layer program, with a head of its own."""
    assert len(make(windows=[], unroll=1, context_unroll=1)._get_all_kernels()) == 2 + 1 + 2 * (1 + 1)
    with pytest.raises(ValueError, match="unroll=3 does not divide num_layers=2"):
        make(windows=[], unroll=3)
