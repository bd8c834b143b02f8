"""The host-cost suite at a small size: real loop, real adapter, launches that compute nothing; structure and truth, never
times."""

from __future__ import annotations

import json
import os
from contextlib import closing

import numpy as np
import pytest
import torch

from chatapp.bench import host_cost as suite
from chatapp.bench.host_cost import INSTANCE, MODES, Reader, Step, host_cost, summed_up
from chatapp.bench.prepared_run import correlated_tables
from chatapp.cli import main
from chatapp.domain.events import Notice, RunEvent
from chatapp.domain.neuron_hosts import published_latency
from chatapp.domain.record import RunRecord
from chatapp.engine.backends.prepared import PreparedLibrary, PreparedTnx, one_core
from chatapp.engine.prompt import Prompt
from chatapp.resources import builtin_pair

SMALL = 600


class SteadyClock:
    """A nanosecond per look: durations are numbers of looks."""

    def __init__(self) -> None:
        self._now = 0

    def now_ns(self) -> int:
        self._now += 1
        return self._now


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    return Prompt.load(builtin_pair().target, ())


@pytest.mark.parametrize("mode", MODES)
def test_every_part_of_a_step_takes_time_and_is_told_apart(mode: str, prompt: Prompt) -> None:
    steps, acceptance = host_cost(correlated_tables(SMALL), mode, 12, prompt=prompt)
    assert len(steps) == 12
    assert 0.1 < acceptance < 1.0
    for part in suite.PARTS:
        assert sum(getattr(step, part) for step in steps) > 0.0, part


def test_launches_are_taken_off_and_the_adapters_own_work_is_not(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteadyClock()
    monkeypatch.setattr(suite, "CLOCK", clock)
    plain, _ = host_cost(correlated_tables(SMALL), "T 1", 12, prompt=prompt)
    slow = PreparedLibrary._logits

    def logits(self: PreparedLibrary, positions: torch.Tensor) -> torch.Tensor:
        for _ in range(1000):
            clock.now_ns()
        return slow(self, positions)

    monkeypatch.setattr(PreparedLibrary, "_logits", logits)
    slower, _ = host_cost(correlated_tables(SMALL), "T 1", 12, prompt=prompt)
    assert slower == plain, "a launch that takes longer is no work of the host's"
    row = PreparedTnx._launch

    def launch(self: PreparedTnx, *given: object) -> torch.Tensor:
        clock.now_ns()
        return row(self, *given)  # type: ignore[arg-type]  # whatever the adapter is given

    monkeypatch.setattr(PreparedTnx, "_launch", launch)
    changed, _ = host_cost(correlated_tables(SMALL), "T 1", 12, prompt=prompt)
    for before, after in zip(plain, changed, strict=True):
        assert after.adapter_ms > before.adapter_ms
        assert after.draft_ms == before.draft_ms
        assert after.text_ms == before.text_ms


def test_prepared_launches_have_the_librarys_shapes_and_follow_the_position() -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    library = PreparedLibrary(table, SteadyClock())
    assert library.forward(torch.tensor([[7]]), cache_ids=torch.tensor([5])).tolist() == [table[1].tolist()]
    given = library.speculative_forward(torch.tensor([[1, 2]]), torch.arange(3, 5), speculation_length=2)
    assert given[:, :, 0].tolist() == [table[3].tolist(), table[0].tolist()]
    assert given.stride()[:2] == (1, 2), "vocabulary first, as the device gives it"
    assert library.spent_ns > 0


def test_the_adapter_over_them_gives_the_tables_rows() -> None:
    target = correlated_tables(SMALL)[0]
    model = PreparedTnx("target", target, INSTANCE, SteadyClock())
    model.forward([1], 0, 1)
    rows = model.forward([1, 2, 3, 4, 5], 1, 5)
    assert rows.numpy().tobytes() == target[1:6].tobytes()
    assert model.launched == {("token", 1): 1, ("window", 8): 1}


def test_a_windows_memory_is_used_again_once_no_row_of_it_is_held() -> None:
    target = correlated_tables(SMALL)[0]
    model = PreparedTnx("target", target, INSTANCE, SteadyClock())
    model.forward([1], 0, 1)
    first = model.forward([1] * 8, 1, 8)
    place = first.data_ptr()
    held = first[5].numpy()[:3]
    del first
    second = model.forward([1] * 8, 9, 8)
    assert second.data_ptr() != place
    assert held.tolist() == target[6][:3].tolist(), "rows are looked at lazily: nobody wrote into them"
    place = second.data_ptr()
    del second
    third = model.forward([1] * 5, 17, 5)
    assert third.data_ptr() == place
    assert third.numpy().tobytes() == np.stack([target[row % 24] for row in range(17, 22)]).tobytes()


def test_the_reader_folds_each_event_when_it_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[RunEvent] = []
    monkeypatch.setattr(RunRecord, "apply", lambda _, event: folded.append(event))
    with closing(Reader()) as reader:
        for number in (1, 2):
            reader.take(Notice("threads", "", number))
            assert [event.at_ns for event in folded if isinstance(event, Notice)] == [1, 2][:number]


def test_medians_are_over_rounds_and_the_share_is_of_the_published_step() -> None:
    published = published_latency(INSTANCE, "Llama-2-70B")
    assert published is not None
    assert published.token_ms == 20.6
    rounds = [[Step(whole, 0.0, 0.0, 0.0, 0.0)] * 3 for whole in (9.0, 1.03, 0.5)]
    row = summed_up("T 1", 32_000, rounds, 0.5, published)
    assert (row.median_ms, row.least_ms, row.draft_ms) == (1.03, 0.5, 1.03)
    assert row.share == pytest.approx(row.limit) == 0.05


def test_one_thread_on_one_core_and_both_given_back() -> None:
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    with one_core() as words:
        assert torch.get_num_threads() == 1
        assert "one compute thread" in words
        if cores is not None:
            assert len(os.sched_getaffinity(0)) == 1
    assert torch.get_num_threads() == threads
    if cores is not None:
        assert os.sched_getaffinity(0) == cores


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(suite, "SHARES", {SMALL: 0.0, SMALL + 8: 1e9})
    monkeypatch.setattr(suite, "STEPS", 3)
    assert main(["bench", "--host-cost", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert "20.6 ms (AWS Machine Learning Blog" in out
    assert "No such step ran here" in out
    found = json.loads(out.strip().splitlines()[-1])["suites"]["host-cost"]
    assert not found["published_step_measured_here"]
    assert [row["steps"] for row in found["rows"]] == [3] * 12
    assert [bar["met"] for bar in found["bars"]] == [False] * 6 + [True] * 6


@pytest.mark.parametrize("window", ["--gui", "--repaint"])
def test_it_does_not_go_with_the_window(window: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--host-cost", window])
    assert f"--host-cost does not go with {window}" in capsys.readouterr().err
