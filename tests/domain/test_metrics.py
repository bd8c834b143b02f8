"""Metrics against numbers worked out by hand from the glossary's definitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from chatapp.domain.events import RunEvent, StepCommitted
from chatapp.domain.metrics import (
    Metrics,
    combined_metrics,
    current_tpot_s,
    recent_windows,
    run_metrics,
    run_traffic,
    step_timings,
)
from chatapp.domain.record import RunRecord
from chatapp.domain.tokens import TokenKind
from tests.helpers.records import RunScript, scripted_run, words

MS = 1_000_000


def timed(script: RunScript, ends_ms: list[tuple[int, int]]) -> RunRecord:
    """The script's run with its steps at these (start, end) times."""
    record, left = RunRecord(), list(ends_ms)
    for event in script.events:
        moved: RunEvent = event
        if isinstance(event, StepCommitted):
            start, end = left.pop(0)
            moved = replace(event, started_ns=start * MS, ended_ns=end * MS)
        record.apply(moved)
    return record


@pytest.fixture
def record() -> RunRecord:
    """Step 0: 1 token at 200 ms. Step 1: 4 tokens of k = 4, all accepted, by 240. Step 2: 2 tokens, one of 3 drafts
    accepted, one rejected, one untested, by 290. Step 3: speculation off, 1 token, by 320."""
    script = RunScript(window=4).first("a").verify(["b", "c", "d"], "e").verify(["f"], "g", rejected="x")
    script.set_speculation(False).plain("h")
    return timed(script.end(), [(0, 200), (210, 240), (250, 290), (300, 320)])


def test_one_run_by_hand(record: RunRecord) -> None:
    metrics = run_metrics(record)
    assert metrics.tokens == 8
    assert metrics.ttft_s == pytest.approx(0.200)
    assert metrics.tpot_s == pytest.approx((0.320 - 0.200) / 7)  # (t_last − t_first) / (n − 1)
    assert metrics.tokens_per_s == pytest.approx(7 / 0.120)
    assert (metrics.drafted, metrics.accepted, metrics.tested) == (6, 4, 5)
    assert metrics.acceptance_rate == pytest.approx(4 / 6)
    assert metrics.tested_acceptance == pytest.approx(4 / 5)
    assert metrics.verify_steps == 3
    assert metrics.mean_acceptance_length == pytest.approx((4 + 2 + 1) / 3)
    assert dict(metrics.counts) == {
        TokenKind.ACCEPTED: 4,
        TokenKind.CORRECTION: 1,
        TokenKind.BONUS: 1,
        TokenKind.TARGET: 2,
    }
    assert metrics.share(TokenKind.ACCEPTED) == pytest.approx(0.5)


def test_drafts_behind_the_end_of_the_reply_are_not_counted() -> None:
    """k = 6, and the second of five drafts ends the reply: the three behind it could not have been used by any rule."""
    metrics = run_metrics(RunScript(window=6).first("a").verify(["b", "."], None).end().record())
    assert (metrics.drafted, metrics.accepted, metrics.tested) == (2, 2, 2)
    assert metrics.acceptance_rate == 1.0


def test_step_timings_by_hand(record: RunRecord) -> None:
    timings = step_timings(record)
    assert [(timing.index, timing.first_token, timing.tokens) for timing in timings] == [
        (1, 1, 4),
        (2, 5, 2),
        (3, 7, 1),
    ]
    assert [timing.tpot_s for timing in timings] == pytest.approx([0.030 / 4, 0.040 / 2, 0.020])
    assert [timing.speculation for timing in timings] == [True, True, False]


def test_current_tpot_is_over_the_last_steps_and_weighs_them_by_tokens(record: RunRecord) -> None:
    assert current_tpot_s(record, last_steps=2) == pytest.approx((0.040 + 0.020) / 3)
    assert current_tpot_s(record) == pytest.approx((0.030 + 0.040 + 0.020) / 7)


def test_nothing_exists_before_the_first_step() -> None:
    for record in (RunRecord(), RunScript().record()):
        metrics = run_metrics(record)
        assert metrics == Metrics()
        assert metrics.tpot_s is metrics.ttft_s is metrics.tokens_per_s is None
        assert metrics.acceptance_rate is metrics.tested_acceptance is metrics.mean_acceptance_length is None
        assert metrics.share(TokenKind.BONUS) is None
        assert step_timings(record) == []
        assert current_tpot_s(record) is None


def test_one_token_has_a_ttft_and_no_tpot() -> None:
    metrics = run_metrics(RunScript().first("a").record())
    assert metrics.ttft_s is not None
    assert metrics.tpot_s is None
    assert metrics.tokens_per_s is None


def test_a_session_is_made_of_sums_and_never_of_mean_ratios() -> None:
    short = timed(RunScript().first("a").plain("b").end(), [(0, 100), (100, 200)])
    long = timed(
        RunScript(window=9).first("a").verify(list("bcdefgh"), "i", rejected="x").end(),
        [(0, 300), (300, 340)],
    )
    total = combined_metrics([run_metrics(short), run_metrics(long)])
    assert total.tokens == 2 + 9
    assert total.tpot_s == pytest.approx((0.100 + 0.040) / (1 + 8))
    mean_of_ratios = (0.100 / 1 + 0.040 / 8) / 2
    assert total.tpot_s != pytest.approx(mean_of_ratios)
    assert total.ttft_s == pytest.approx((0.1 + 0.3) / 2)
    assert total.mean_acceptance_length == pytest.approx((1 + 8) / 2)


def test_combining_nothing_and_one() -> None:
    one = run_metrics(scripted_run(words("one two three four five six seven"), seed=1).record())
    assert combined_metrics([]) == Metrics()
    assert combined_metrics([one]) == one
    assert combined_metrics([Metrics(), one]) == one


@pytest.mark.parametrize("seed", range(6))
def test_laws_of_any_run(seed: int) -> None:
    record = scripted_run(words("the quick brown fox jumps over the lazy dog " * 5), seed=seed).record()
    metrics = run_metrics(record)
    timings = step_timings(record)
    assert sum(count for _, count in metrics.counts) == metrics.tokens == record.token_count
    assert sum(timing.tokens for timing in timings) == metrics.decode_tokens
    assert (
        metrics.accepted
        == dict(metrics.counts)[TokenKind.ACCEPTED]
        == sum(step.accepted for step in record.steps)
    )
    assert metrics.tested - metrics.accepted == dict(metrics.counts)[TokenKind.CORRECTION]
    assert sum(metrics.share(kind) or 0 for kind in TokenKind) == pytest.approx(1)
    for before, after in itertools.pairwise(timings):
        assert after.first_token == before.first_token + before.tokens


# --- memory traffic -----------------------------------------------------------------------------------------------------


def with_bytes(record: RunRecord, *bytes_and_ns: tuple[int, int, int, int]) -> RunRecord:
    """The run with these (draft bytes, draft ns, verify bytes, verify ns) in its steps."""
    moved = RunRecord()
    assert record.started is not None
    moved.apply(record.started)
    for step, values in zip(record.steps, bytes_and_ns, strict=True):
        draft_bytes, draft_ns, verify_bytes, verify_ns = values
        moved.apply(
            replace(
                step,
                draft_bytes=draft_bytes,
                draft_ns=draft_ns,
                verify_bytes=verify_bytes,
                verify_ns=verify_ns,
            )
        )
    return moved


def test_traffic_is_bytes_over_the_time_of_the_passes_that_read_them(record: RunRecord) -> None:
    moved = with_bytes(
        record, (0, 0, 9_000, 5), (300, 3_000, 8_000, 4_000), (100, 1_000, 8_000, 4_000), (0, 777, 0, 888)
    )
    traffic = run_traffic(moved)
    assert (traffic.draft_bytes, traffic.draft_ns) == (
        400,
        4_000,
    )  # prefill and the step that says nothing are out
    assert (traffic.verify_bytes, traffic.verify_ns) == (16_000, 8_000)
    assert traffic.draft_rate == pytest.approx(0.1e9)
    assert traffic.verify_rate == pytest.approx(2e9)
    assert run_traffic(moved, last_steps=2).verify_bytes == 8_000
    assert (traffic + traffic).verify_rate == traffic.verify_rate


def test_traffic_that_no_backend_told_is_unknown(record: RunRecord) -> None:
    silent = with_bytes(record, *[(0, 5, 0, 5)] * 4)
    assert run_traffic(silent).draft_rate is None
    assert run_traffic(silent).verify_rate is None
    assert run_traffic(RunRecord()).verify_rate is None


def test_the_windows_really_used_leave_plain_steps_out(record: RunRecord) -> None:
    assert recent_windows(record) == pytest.approx(
        4.0
    )  # two windows of 4; speculation was off in the last step
    assert recent_windows(record, last_steps=1) is None
