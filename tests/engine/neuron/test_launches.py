"""The launch plan: what it may do, what it must not, and that nothing cheaper exists."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.backends.neuron.launches import (
    PUBLISHED,
    Costs,
    Graphs,
    Launch,
    cost,
    next_chunk,
    plan,
    worth_keeping,
)

TARGET = Graphs(2048, (2, 4, 8, 16, 64), (512, 2048), (128, 512, 2048))
DRAFT = replace(TARGET, windows=(64,))
SMALL = Graphs(32, (2, 4, 8), (16, 32), (8, 16))


def shape(launches: list[Launch]) -> list[tuple[str, int, int, int, int]]:
    """`(kind, size, begin, new, keep)` of each."""
    return [(one.kind, one.size, one.begin, one.new, one.keep) for one in launches]


# -- examples -------------------------------------------------------------------------------------------------


def test_one_id_is_one_token_launch_wherever_it_stands() -> None:
    for start in (0, 1, 511, 512, 2047):
        (launch,) = plan(start, 1, 1, TARGET)
        assert shape([launch]) == [("token", 1, start, 1, 1)]
        assert launch.bucket == (512 if start < 512 else 2048)


@pytest.mark.parametrize("rows", range(2, 17))
def test_a_verify_pass_is_one_launch_of_the_smallest_window_that_holds_it(rows: int) -> None:
    (launch,) = plan(100, rows, rows, TARGET)
    expected = next(window for window in TARGET.windows if window >= rows)
    assert shape([launch]) == [("window", expected, 100, rows, rows)]


@pytest.mark.parametrize("rows", range(2, 17))
def test_at_the_end_of_the_context_it_still_is_one_launch_over_ids_that_were_computed_before(
    rows: int,
) -> None:
    for left in range(rows, 65):
        (launch,) = plan(2048 - left, rows, rows, TARGET)
        assert launch.begin + launch.size <= 2048
        assert launch.begin <= 2048 - left
        assert (launch.begin + launch.count, launch.keep) == (2048 - left + rows, rows)


def test_the_very_beginning_has_nothing_to_begin_before() -> None:
    tiny = Graphs(7, (4, 8), (7,), ())
    assert shape(plan(4, 3, 3, tiny)) == [("window", 4, 3, 3, 3)]
    assert shape(plan(0, 7, 7, tiny)) == [("window", 4, 0, 4, 4), ("window", 4, 3, 3, 3)]


def test_the_bucket_is_looked_for_behind_the_padding() -> None:
    (launch,) = plan(506, 5, 5, TARGET)
    assert (launch.size, launch.bucket) == (8, 2048)
    assert plan(504, 5, 5, TARGET)[0].bucket == 512


def test_a_prompt_goes_through_the_context_graph_that_costs_least_with_its_rest() -> None:
    assert shape(plan(0, 100, 1, TARGET)) == [("context", 128, 0, 100, 1)]
    assert shape(plan(0, 130, 1, TARGET)) == [("context", 128, 0, 128, 0), ("window", 2, 128, 2, 1)]
    assert shape(plan(0, 400, 1, TARGET)) == [("context", 512, 0, 400, 1)]
    assert shape(plan(0, 600, 1, TARGET))[0] == ("context", 512, 0, 512, 0)
    assert shape(plan(0, 2000, 1, TARGET)) == [("context", 2048, 0, 2000, 1)]


def test_a_context_graph_gives_no_rows_but_the_last() -> None:
    assert shape(plan(0, 128, 128, replace(TARGET, windows=(64,)))) == [
        ("window", 64, 0, 64, 64),
        ("window", 64, 64, 64, 64),
    ]
    launches = plan(0, 400, 3, TARGET)
    assert shape(launches) == [("context", 512, 0, 398, 1), ("window", 2, 398, 2, 2)]


def test_a_continuation_goes_in_windows() -> None:
    assert shape(plan(300, 150, 1, TARGET)) == [
        ("window", 64, 300, 64, 0),
        ("window", 64, 364, 64, 0),
        ("window", 64, 428, 22, 1),
    ]


def test_a_draft_that_lacks_two_tokens_gets_two_single_launches_and_one_window_for_more() -> None:
    assert shape(plan(200, 2, 1, DRAFT)) == [("token", 1, 200, 1, 0), ("token", 1, 201, 1, 1)]
    assert shape(plan(200, 3, 1, DRAFT)) == [("window", 64, 200, 3, 1)]


def test_without_windows_every_id_is_a_launch_and_the_prompt_one() -> None:
    bare = replace(TARGET, windows=())
    assert shape(plan(0, 500, 1, bare)) == [("context", 512, 0, 500, 1)]
    assert [one.kind for one in plan(500, 5, 5, bare)] == ["token"] * 5


def test_a_window_may_be_as_long_as_a_prompt() -> None:
    """A plan for what does not fill it looks at every way to do without it."""
    long = Graphs(4096, (2048,), (4096,), (4096,))
    assert shape(plan(5, 2000, 1, long)) == [("window", 2048, 5, 2000, 1)]
    assert shape(plan(5, 3, 1, long)) == [("token", 1, 5 + place, 1, place // 2) for place in range(3)]


def test_a_verify_pass_is_one_launch_of_a_long_window_too() -> None:
    """What a long window costs nobody knows; the slider and the counts go by one launch for each step."""
    long = replace(TARGET, windows=(64,))
    assert shape(plan(100, 2, 2, long)) == [("window", 64, 100, 2, 2)]
    assert shape(plan(2046, 2, 2, long)) == [("window", 64, 1984, 2, 2)]
    assert [launch.kind for launch in plan(100, 2, 1, long)] == ["token", "token"], "a draft that lacks two"


def test_a_short_prefix_is_kept_as_long_as_appending_costs_less() -> None:
    assert worth_keeping(1000, 1200, TARGET)
    assert not worth_keeping(100, 500, TARGET)
    assert worth_keeping(400, 500, TARGET)
    assert worth_keeping(1, 2048, replace(TARGET, context_buckets=())), "nothing else can read a prompt"


def test_costs_are_those_published() -> None:
    costs = Costs()
    assert costs.context(128) == costs.context(16) == 2.2
    assert costs.context(2048) == pytest.approx(26.0)
    assert 2.2 < costs.context(512) < 26.0
    assert 1.0 < costs.window(2) < costs.window(64) == 2.2
    assert cost(plan(0, 130, 1, TARGET)) == pytest.approx(2.2 + costs.window(2))


@pytest.mark.parametrize(
    ("start", "count", "rows"), [(0, 0, 0), (0, 3, 0), (0, 3, 4), (30, 3, 1), (-1, 1, 1)]
)
def test_what_cannot_be_is_refused(start: int, count: int, rows: int) -> None:
    with pytest.raises(ValueError, match="ids at"):
        plan(start, count, rows, SMALL)


# -- laws -----------------------------------------------------------------------------------------------------


@st.composite
def asked(draw: st.DrawFn) -> tuple[Graphs, int, int, int]:
    positions = draw(st.integers(4, 96))
    windows = draw(st.sets(st.integers(2, min(positions, 40)), max_size=4))
    buckets = draw(st.sets(st.integers(1, positions), max_size=2)) | {positions}
    contexts = draw(st.sets(st.integers(2, positions), max_size=3))
    graphs = Graphs(positions, tuple(sorted(windows)), tuple(sorted(buckets)), tuple(sorted(contexts)))
    start = draw(st.integers(0, positions - 1) | st.just(0))
    count = draw(st.integers(1, positions - start))
    return graphs, start, count, draw(st.integers(1, count))


@given(asked())
def test_every_id_is_computed_once_in_order_within_the_kv_and_the_wanted_rows_come_out(
    case: tuple[Graphs, int, int, int],
) -> None:
    graphs, start, count, rows = case
    done = start
    kept: list[int] = []
    for launch in plan(start, count, rows, graphs):
        end = launch.begin + launch.count
        assert launch.begin >= 0
        assert launch.new >= 1
        assert end == done + launch.new, "nothing is left out, nothing comes twice"
        assert end - launch.new <= done, "only what was computed is computed again"
        assert launch.count <= launch.size, "never more ids than rows: the library would drop the rest"
        if launch.kind == "context":
            assert launch.begin == 0
            assert launch.size in graphs.context_buckets
            assert launch.keep <= 1
        else:
            assert launch.size in (1, *graphs.windows)
            assert launch.begin + launch.size <= graphs.positions, "the library raises StopIteration"
            assert launch.bucket == min(b for b in graphs.token_buckets if b >= launch.begin + launch.size)
        kept += range(end - launch.keep, end)
        done = end
    assert done == start + count
    assert kept == list(range(start + count - rows, start + count))


@given(asked())
def test_the_first_launch_of_a_plan_is_one_launch_alone(case: tuple[Graphs, int, int, int]) -> None:
    graphs, start, count, _ = case
    size = next_chunk(start, count, graphs)
    assert 1 <= size <= count
    assert len(plan(start, size, 1, graphs)) == 1


@given(asked())
def test_nothing_cheaper_exists_within_one_largest_window(case: tuple[Graphs, int, int, int]) -> None:
    graphs, start, count, _ = case
    count = min(count, graphs.windows[-1] if graphs.windows else count)

    @cache
    def least(at: int) -> float:
        """By trying every launch from every place, filled or not, shifted or not."""
        if at >= start + count:
            return 0.0
        found = 1.0 + least(at + 1)
        for window in graphs.windows:
            for begin in range(max(0, at - window + 1), at + 1):
                if begin + window <= graphs.positions:
                    found = min(found, PUBLISHED.window(window) + least(begin + window))
        return found

    launches = plan(start, count, 1, replace(graphs, context_buckets=()))
    assert cost(launches) == pytest.approx(least(start))
