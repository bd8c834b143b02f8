"""The launches that a stretch of ids takes: arithmetic, held against what the emulated library would do with each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.backends.emulator.nxdi.buckets import target_bucket
from chatapp.engine.backends.neuron.launches import Launch
from chatapp.engine.backends.nxdi.graphs import Graphs

TARGET = Graphs(positions=256, rows=16, token_buckets=(128, 256), context_buckets=(32, 192))
DRAFT = Graphs(positions=256, rows=1, token_buckets=(128, 256), context_buckets=(32, 192))


def described(launches: list[Launch]) -> list[tuple[str, int, int, int, int]]:
    return [(one.kind, one.bucket, one.begin, one.new, one.keep) for one in launches]


def test_a_prompt_goes_through_the_context_graph_and_the_rest_in_windows() -> None:
    assert described(TARGET.plan(0, 20, 1)) == [("context", 32, 0, 20, 1)]
    assert described(TARGET.plan(0, 220, 1)) == [
        ("context", 192, 0, 192, 0),
        ("window", 256, 192, 16, 0),
        ("window", 256, 208, 12, 1),
    ]


def test_more_rows_than_the_context_graph_gives_come_from_a_window() -> None:
    assert described(TARGET.plan(0, 20, 4)) == [("context", 32, 0, 17, 1), ("window", 128, 17, 3, 3)]


def test_a_pass_of_one_id_is_a_whole_window_on_the_target() -> None:
    assert described(TARGET.plan(100, 1, 1)) == [("window", 128, 100, 1, 1)]
    assert described(DRAFT.plan(100, 1, 1)) == [("token", 128, 100, 1, 1)]


def test_at_the_end_of_the_context_a_window_begins_further_left() -> None:
    assert TARGET.plan(250, 3, 3) == [Launch("window", 16, 256, 240, 13, 3, 3)]
    assert TARGET.plan(255, 1, 1) == [Launch("window", 16, 256, 240, 16, 1, 1)]
    assert described(DRAFT.plan(255, 1, 1)) == [("token", 256, 255, 1, 1)]


@pytest.mark.parametrize(
    ("start", "count", "rows"), [(0, 0, 0), (0, 3, 4), (0, 3, 0), (-1, 3, 1), (250, 7, 1)]
)
def test_what_cannot_be_is_refused(start: int, count: int, rows: int) -> None:
    with pytest.raises(ValueError, match="in a KV of 256 positions"):
        TARGET.plan(start, count, rows)


@given(
    graphs=st.sampled_from([TARGET, DRAFT]),
    start=st.integers(0, 255),
    count=st.integers(1, 256),
    rows=st.integers(1, 40),
)
def test_every_plan_computes_each_id_once_and_fits_the_library(
    graphs: Graphs, start: int, count: int, rows: int
) -> None:
    count = min(count, 256 - start)
    rows = min(rows, count)
    at = start
    for launch in graphs.plan(start, count, rows):
        assert launch.begin + launch.count - launch.new == at, "in order, none twice"
        at += launch.new
        assert 1 <= launch.new <= launch.count
        if launch.kind == "context":
            # A single id comes padded to the largest bucket.
            given_length = launch.count if launch.count > 1 else graphs.longest_prompt
            assert launch.begin == 0
            assert launch.bucket == target_bucket([32, 192], given_length, 0, "context_encoding_model")
            assert launch.keep <= 1
        else:
            speculation = graphs.rows if graphs.rows > 1 else 0
            assert launch.begin > 0, "position 0 would be taken for a prompt"
            assert launch.count <= launch.size == graphs.rows
            assert launch.begin + launch.size <= graphs.positions
            assert launch.bucket == target_bucket([128, 256], launch.begin, speculation, "other")
    assert at == start + count
    assert sum(launch.keep for launch in graphs.plan(start, count, rows)) == rows


@given(graphs=st.sampled_from([TARGET, DRAFT]), start=st.integers(0, 255), count=st.integers(1, 256))
def test_a_chunk_is_one_launch(graphs: Graphs, start: int, count: int) -> None:
    count = min(count, 256 - start)
    chunk = graphs.next_chunk(count, start)
    assert 1 <= chunk <= count
    assert len(graphs.plan(start, chunk, 1)) == 1
    room = graphs.positions - graphs.rows
    if chunk < count and (start == 0 or start <= room):
        assert len(graphs.plan(start, chunk + 1, 1)) > 1, "and could not be longer"


def test_little_text_is_appended_and_much_is_read_afresh() -> None:
    """A draft appends token by token: there, reading all again is soon cheaper."""
    assert TARGET.worth_keeping(100, 110) == 100
    assert TARGET.worth_keeping(4, 190) == 0
    assert DRAFT.worth_keeping(100, 102) == 100
    assert DRAFT.worth_keeping(100, 110) == 0
    assert TARGET.worth_keeping(250, 300) == 250, "what is past the context is nobody's"
