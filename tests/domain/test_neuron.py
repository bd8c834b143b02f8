"""Buckets and the number of graphs that follow from a pair's settings."""

from __future__ import annotations

import pytest

from chatapp.domain.neuron import GIB, NeuronSettings, compile_workers


@pytest.mark.parametrize(
    ("positions", "token", "context"),
    [
        (64, (64,), (64,)),
        (512, (512,), (128, 512)),
        (2048, (512, 2048), (128, 512, 2048)),
        (4096, (1024, 4096), (256, 1024, 4096)),
        (8192, (512, 2048, 8192), (128, 512, 2048, 8192)),
    ],
)
def test_usual_buckets(positions: int, token: tuple[int, ...], context: tuple[int, ...]) -> None:
    settings = NeuronSettings(positions=positions)
    assert (settings.all_token_buckets, settings.all_context_buckets) == (token, context)


def test_named_buckets_are_taken_as_they_are() -> None:
    settings = NeuronSettings(token_buckets=(256, 1024), context_buckets=(64,))
    assert (settings.all_token_buckets, settings.all_context_buckets) == ((256, 1024), (64,))


def test_graphs_of_the_library_s_own_default_buckets() -> None:
    """neuron-contract.md §1.2: n_positions=2048 and one k make 15 graphs for one model."""
    buckets = (128, 256, 512, 1024, 2048)
    settings = NeuronSettings(token_buckets=buckets, context_buckets=tuple(n // 2 for n in buckets))
    assert settings.graphs((8,)) == 15
    assert settings.graphs(()) == 10


def test_graphs_of_the_usual_settings() -> None:
    settings = NeuronSettings()
    assert settings.graphs(settings.windows) == 2 * 6 + 3
    assert settings.graphs(settings.draft_windows) == 2 * 2 + 3


@pytest.mark.parametrize(
    ("gib", "processors", "workers"),
    [(16, 4, 3), (32, 8, 7), (768, 192, 191), (768, 8, 8), (6, 4, 1), (2, 1, 1)],
)
def test_compiling_processes_leave_room_for_the_rest(gib: int, processors: int, workers: int) -> None:
    assert compile_workers(gib * GIB, processors) == workers
