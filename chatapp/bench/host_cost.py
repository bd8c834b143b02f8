"""What the host of a NeuronCore pair does per verify step beside the launches, held against the published step of the 70B.

The real loop runs over the real adapter for transformers-neuronx, whose library's launches return prepared logits at once, in
the library's own shapes and memory layout; the time inside launches is taken off. What is left is sampling, acceptance, text,
events, the adapter, the hand-over to an event loop and the record. Nothing here ran on NeuronCores: the step is the published one.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from chatapp.bench.measure import collector_spared
from chatapp.bench.prepared_run import correlated_tables, prepared_run
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.bench.timing import quantile
from chatapp.domain.errors import GenerationFailed
from chatapp.domain.events import RunEvent, StepCommitted
from chatapp.domain.metrics import run_metrics
from chatapp.domain.neuron_hosts import PublishedLatency, published_latency
from chatapp.domain.record import RunRecord
from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.prepared import PreparedTnx, one_core
from chatapp.engine.clock import ThreadClock
from chatapp.engine.contracts import Acceptor, Proposal, TargetRows, Verdict
from chatapp.engine.distribution import Row
from chatapp.engine.prompt import Prompt
from chatapp.resources import builtin_pair
from chatapp.service.mailbox import Mailbox

CLOCK = ThreadClock()
"""What others take of a busy machine is not the host's work for this pair, and nothing here waits."""
WINDOW = 8
STEPS = 150
WARM_UP = 5
INSTANCE, MODEL = "trn1.32xlarge", "Llama-2-70B"
SHARES = {32_000: 0.05, 128_256: 0.10}
"""By vocabulary, what share of the published step the host may take."""
PENALTY = 1.1
SETTINGS: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0},
    "T 0.7, top-p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "T 1": {"temperature": 1.0, "top_p": 1.0},
}
MODES = {
    f"{name}{words}": {**knobs, "repetition_penalty": penalty}
    for name, knobs in SETTINGS.items()
    for words, penalty in (("", 1.0), (", repetition", PENALTY))
}
PARTS = ("draft_ms", "rows_ms", "accept_ms", "text_ms", "adapter_ms")


@dataclass(frozen=True, slots=True)
class Step:
    """Host time of one verify step in ms, without launches. `draft_ms` draws the drafts, `rows_ms` makes distributions of the
    target's rows, `accept_ms` is the rule's own, `text_ms` is text, events, record, policy and the loop, `adapter_ms` what
    stands between the engine and the library's calls."""

    draft_ms: float
    rows_ms: float
    accept_ms: float
    text_ms: float
    adapter_ms: float

    @property
    def whole_ms(self) -> float:
        return self.draft_ms + self.rows_ms + self.accept_ms + self.text_ms + self.adapter_ms


@dataclass(frozen=True, slots=True)
class HostCost:
    """One row of the table, per verify step; parts are medians of their own and need not add up. `share` is `median_ms` as a
    share of the published step, `limit` the share that is allowed; `least_ms` is the best round's median."""

    mode: str
    vocabulary: int
    median_ms: float
    p95_ms: float
    least_ms: float
    draft_ms: float
    rows_ms: float
    accept_ms: float
    text_ms: float
    adapter_ms: float
    share: float
    limit: float
    tested_acceptance: float
    steps: int


class TimedRule:
    """An `Acceptor` around another: how long the target's rows take that it asks for."""

    def __init__(self, rule: Acceptor) -> None:
        self.name, self.lossless = rule.name, rule.lossless
        self.draw_draft, self.draw_target = rule.draw_draft, rule.draw_target
        self._rule = rule
        self.rows_ns = 0

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        def timed(index: int) -> Row:
            begin_ns = CLOCK.now_ns()
            row = target_rows(index)
            self.rows_ns += CLOCK.now_ns() - begin_ns
            return row

        return self._rule.verify(proposal, timed, position)


class Reader:
    """The window's side of the mailbox, on an event loop that turns once per event: the hand-over costs what it costs, and
    no two threads disturb the clock."""

    def __init__(self) -> None:
        self.record = RunRecord()
        self._loop = asyncio.new_event_loop()
        self._mailbox: Mailbox[RunEvent] = Mailbox(self._wake)

    def take(self, event: RunEvent) -> None:
        self._mailbox.put(event)
        self._loop.stop()  # ends the following turn, which runs what is due
        self._loop.run_forever()

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        for event in self._mailbox.drain():
            self.record.apply(event)

    def close(self) -> None:
        self._loop.close()


def host_cost(
    tables: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    mode: str,
    steps: int,
    *,
    prompt: Prompt,
) -> tuple[list[Step], float]:
    """`steps` verify steps of one reply, and its tested acceptance. The same settings give the same steps every time."""
    target = PreparedTnx("target", tables[0], INSTANCE, CLOCK)
    draft = PreparedTnx("draft", tables[1], INSTANCE, CLOCK)
    sampling = SamplingSettings(max_tokens=1_000_000, seed=1, **cast(dict[str, Any], MODES[mode]))
    rules: list[TimedRule] = []

    def timed(rule: Acceptor) -> TimedRule:
        rules.append(TimedRule(rule))
        return rules[-1]

    run = prepared_run(prompt, target, draft, sampling, "rejection", WINDOW, wrapped=timed, clock=CLOCK)

    def spent_ns() -> tuple[int, int, int, int]:
        launches_ns = target.library.spent_ns + draft.library.spent_ns
        return launches_ns, target.spent_ns + draft.spent_ns, draft.spent_ns, rules[0].rows_ns

    found: list[Step] = []
    events = cast("Generator[RunEvent, None, None]", run.events())
    with closing(events), closing(Reader()) as reader, collector_spared():
        begin_ns, before = CLOCK.now_ns(), spent_ns()
        for event in events:
            reader.take(event)
            if not isinstance(event, StepCommitted):
                continue
            whole_ns = CLOCK.now_ns() - begin_ns
            spent = [after - earlier for after, earlier in zip(spent_ns(), before, strict=True)]
            if event.index > WARM_UP and event.window == WINDOW:
                found.append(_step(event, whole_ns, *spent))
            if len(found) == steps:
                break
            begin_ns, before = CLOCK.now_ns(), spent_ns()
    if len(found) < steps:
        raise GenerationFailed(
            f"The run ended after {len(found)} whole windows of {steps}.",
            remedy="Its notices say why: " + " ".join(notice.message for notice in reader.record.notices),
        )
    return found, run_metrics(reader.record).tested_acceptance or 0.0


def _step(
    event: StepCommitted, whole_ns: int, launches_ns: int, models_ns: int, draft_ns: int, rows_ns: int
) -> Step:
    drafting_ns = event.draft_ns - draft_ns
    text_ns = whole_ns - models_ns - drafting_ns - event.sample_ns
    parts = (drafting_ns, rows_ns, event.sample_ns - rows_ns, text_ns, models_ns - launches_ns)
    return Step(*(part / 1e6 for part in parts))


def summed_up(
    mode: str,
    vocabulary: int,
    rounds: Sequence[Sequence[Step]],
    acceptance: float,
    published: PublishedLatency,
) -> HostCost:
    """Every figure is the median of the rounds' own."""

    def over_rounds(figure: Callable[[Sequence[float]], float], part: str) -> float:
        return statistics.median(figure([getattr(step, part) for step in steps]) for steps in rounds)

    parts = {part: over_rounds(statistics.median, part) for part in PARTS}
    median_ms = over_rounds(statistics.median, "whole_ms")
    p95_ms = over_rounds(lambda values: quantile(values, 0.95), "whole_ms")
    least_ms = min(statistics.median(step.whole_ms for step in steps) for steps in rounds)
    return HostCost(
        mode=mode,
        vocabulary=vocabulary,
        median_ms=median_ms,
        p95_ms=p95_ms,
        least_ms=least_ms,
        **parts,
        share=median_ms / published.token_ms,
        limit=SHARES[vocabulary],
        tested_acceptance=acceptance,
        steps=len(rounds[0]),
    )


HEADER = (
    f"{'vocabulary':>10}  {'sampling':<30}{'median':>8}{'p95':>8}{'least':>8}{'share':>8}{'bar':>6}"
    f"{'draft':>9}{'rows':>8}{'accept':>8}{'text':>8}{'adapter':>9}{'tested':>8}"
)


def line(row: HostCost) -> str:
    """For people."""
    return (
        f"{row.vocabulary:>10,}  {row.mode:<30}{row.median_ms:>8.3f}{row.p95_ms:>8.3f}{row.least_ms:>8.3f}"
        f"{row.share:>8.1%}{row.limit:>6.0%}{row.draft_ms:>9.3f}{row.rows_ms:>8.3f}{row.accept_ms:>8.3f}"
        f"{row.text_ms:>8.3f}{row.adapter_ms:>9.3f}{row.tested_acceptance:>8.2f}"
    )


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """For `chatapp bench --host-cost`. Settings are measured in turn, `options.rounds` times, after one round thrown away."""
    published = published_latency(INSTANCE, MODEL)
    assert published is not None
    with one_core() as conditions:
        print(_conditions(published, conditions, options.rounds))
        rows = _measured(options.rounds, published)
    bars = [
        Bar(
            f"host ms per verify step, vocabulary {row.vocabulary:,}, {row.mode}",
            row.median_ms,
            round(row.limit * published.token_ms, 3),
            note=f"{row.share:.1%} of the published {published.token_ms} ms, bar {row.limit:.0%}",
        )
        for row in rows
    ]
    return {
        "k": WINDOW,
        "conditions": conditions,
        "published_step_ms": published.token_ms,
        "published_step": f"{published.model}, {published.source}; {published.conditions}",
        "published_step_measured_here": False,
        "bars": show_bars(bars),
        "rows": [asdict(row) for row in rows],
    }


def _conditions(published: PublishedLatency, where: str, rounds: int) -> str:
    return (
        f"Held against the published step of {published.model}: {published.token_ms} ms ({published.source}; "
        f"{published.conditions}).\nNo such step ran here: launches return prepared logits, and the time inside them is taken "
        f"off, what the library's own host code does in a launch included; the window's painting is not in it either.\n"
        f"k = {WINDOW}, rejection, {where}, {STEPS} steps a round, {rounds} rounds in turn; ms of processor time per verify "
        f"step, medians of the rounds; least: the best round's median\n{HEADER}"
    )


def _measured(rounds: int, published: PublishedLatency) -> list[HostCost]:
    prompt = Prompt.load(builtin_pair().target, ())
    rows: list[HostCost] = []
    for vocabulary in SHARES:
        tables = correlated_tables(vocabulary)
        for mode in MODES:
            host_cost(tables, mode, WARM_UP, prompt=prompt)
        measured = [
            {mode: host_cost(tables, mode, STEPS, prompt=prompt) for mode in MODES} for _ in range(rounds)
        ]
        for mode in MODES:
            steps = [one[mode][0] for one in measured]
            rows.append(summed_up(mode, vocabulary, steps, measured[0][mode][1], published))
            print(line(rows[-1]), flush=True)
    return rows
