"""Statistics: whole runs on tiny vocabularies against the target's own table, by Pearson's chi-square.

False alarms: seeds are fixed, so a pass stays a pass. With other seeds a correct engine would fail one of the checks below
by chance with probability CHANCE = 1e-4 each, about 60 in number: under 1 % for the file. The faulty rules at the end must
land below CHANCE in the same checks; they do by many orders of magnitude.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch

from chatapp.bench.chi_square import chi_square_p
from chatapp.bench.controls import CONTROLS, Control
from chatapp.domain.events import StepCommitted
from chatapp.domain.request import MAX_WINDOW, SamplingSettings
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.contracts import Acceptor, Drafter, Proposal, TargetRows, Verdict
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.registry import DraftingContext
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from tests.helpers.engine import (
    NEUTRAL,
    PROMPT,
    AcceptorFactory,
    DrafterFactory,
    Rig,
    Schedule,
    ids_of,
    toy_rig,
)

pytestmark = pytest.mark.statistical

CHANCE = 1e-4
TOKENS = 1200
TRUNCATED = replace(NEUTRAL, temperature=0.8, top_p=0.8)
RULES = ["rejection", "block", "coupled"]


def pair() -> Rig:
    """The next token depends on the last alone: a long reply is a Markov chain of four states."""
    return toy_rig(vocabulary=4, order=1, noise=1.5, sharpness=1.0, context_limit=TOKENS + 20)


def chain_p(said: Sequence[int], rig: Rig, sampling: SamplingSettings) -> float:
    """Chance of the reply's transition counts under the target's processed table; 0 for an impossible transition."""
    processor = Processor(sampling)
    size = rig.target_model.vocabulary
    counts = Counter(itertools.pairwise([PROMPT[-1], *said]))
    observed: list[float] = []
    expected: list[float] = []
    for last in range(size):
        probs = processor.row(rig.target_model.logits_after([last]), ()).at(None)
        row = [float(counts[last, token]) for token in range(size)]
        observed += row
        expected += [sum(row) * float(prob) for prob in probs]
    # A state that was never visited binds nothing: a chain that is stuck has few degrees of freedom, not none.
    visited = len({last for last, _ in counts})
    return chi_square_p(observed, expected, constraints=visited)


def reply(
    rig: Rig,
    acceptor: str | AcceptorFactory,
    sampling: SamplingSettings,
    *,
    window: int = 5,
    control: Schedule | None = None,
    drafter: DrafterFactory = ModelDrafter,
) -> list[int]:
    long = replace(sampling, max_tokens=TOKENS)
    run = rig.run(sampling=long, acceptor=acceptor, window=window, control=control, drafter=drafter)
    return ids_of(list(run.events()))


@pytest.mark.parametrize("k", range(1, MAX_WINDOW + 1))
@pytest.mark.parametrize("rule", RULES)
def test_a_long_reply_follows_the_targets_table(rule: str, k: int) -> None:
    rig = pair()
    sampling = replace(NEUTRAL if k % 2 else TRUNCATED, seed=k)
    assert chain_p(reply(rig, rule, sampling, window=k), rig, sampling) > CHANCE


@pytest.mark.parametrize("sampling", [NEUTRAL, TRUNCATED])
@pytest.mark.parametrize("rule", RULES)
def test_with_k_and_the_toggle_changing_at_every_step(rule: str, sampling: SamplingSettings) -> None:
    rig = pair()
    control = Schedule([(5, True), (2, True), (16, True), (9, False), (3, True), (1, True), (7, True)])
    assert chain_p(reply(rig, rule, sampling, control=control), rig, sampling) > CHANCE


@pytest.mark.parametrize("k", [2, 3, 16])
@pytest.mark.parametrize("rule", RULES)
def test_the_joint_distribution_of_the_first_three_tokens(rule: str, k: int) -> None:
    """Over many seeds: the streams of one seed must be independent, and those of different seeds as well."""
    vocabulary, samples = 3, 1500
    rig = toy_rig(vocabulary=vocabulary, noise=1.0, sharpness=1.0)
    seen: Counter[tuple[int, ...]] = Counter()
    for seed in range(samples):
        # One token more than is counted: the window reaches past the third.
        sampling = replace(NEUTRAL, seed=seed, max_tokens=4)
        seen[tuple(ids_of(list(rig.run(sampling=sampling, acceptor=rule, window=k).events()))[:3])] += 1
    cells = list(itertools.product(range(vocabulary), repeat=3))
    expected = []
    for cell in cells:
        chance = 1.0
        for place, token in enumerate(cell):
            chance *= float(rig.target_model.logits_after([*PROMPT, *cell[:place]]).softmax(-1)[token])
        expected.append(samples * chance)
    assert chi_square_p([seen[cell] for cell in cells], expected) > CHANCE


@pytest.mark.parametrize("k", [3, 6])
@pytest.mark.parametrize("rule", RULES)
def test_windows_that_end_with_a_drafted_end_of_text(rule: str, k: int) -> None:
    """The window's length then depends on what was drafted; the distribution must not."""
    end, samples = 2, 1500
    rig = toy_rig(vocabulary=3, noise=1.0, sharpness=1.0)
    drafter: DrafterFactory = partial(ModelDrafter, ends=frozenset({end}))
    seen: Counter[tuple[int, ...]] = Counter()
    for seed in range(samples):
        sampling = replace(NEUTRAL, seed=seed, max_tokens=4)
        run = rig.run(sampling=sampling, acceptor=rule, window=k, eos=[end], drafter=drafter)
        events = list(run.events())
        for step in events:
            if isinstance(step, StepCommitted):
                assert end not in [draft.id for draft in step.drafted[:-1]]
        seen[tuple(ids_of(events)[:3])] += 1
    cells = [cell for size in (1, 2, 3) for cell in itertools.product(range(3), repeat=size)]
    cells = [cell for cell in cells if end not in cell[:-1] and (len(cell) == 3 or cell[-1] == end)]
    expected = []
    for cell in cells:
        chance = 1.0
        for place, token in enumerate(cell):
            chance *= float(rig.target_model.logits_after([*PROMPT, *cell[:place]]).softmax(-1)[token])
        expected.append(samples * chance)
    assert sum(seen.values()) == sum(seen[cell] for cell in cells)
    assert chi_square_p([seen[cell] for cell in cells], expected) > CHANCE


def test_rejection_accepts_the_overlap_and_coupled_less() -> None:
    """The share of first drafts accepted is Σ min(target, draft) for `rejection`, the best that any rule can do."""
    shares = {}
    for rule in RULES:
        rig = pair()
        assert rig.draft_model is not None
        run = rig.run(sampling=replace(NEUTRAL, max_tokens=TOKENS), acceptor=rule, window=2)
        accepted, best, steps, last = 0, 0.0, 0, PROMPT[-1]
        for event in run.events():
            if not isinstance(event, StepCommitted):
                continue
            if event.drafted:
                target = rig.target_model.logits_after([last]).softmax(-1)
                draft = rig.draft_model.logits_after([last]).softmax(-1)
                best += float(torch.minimum(target, draft).sum())
                accepted, steps = accepted + event.accepted, steps + 1
            last = event.tokens[-1].id
        shares[rule] = (accepted / steps, best / steps, 4 * (0.25 / steps) ** 0.5)
    share, overlap, four_sigma = shares["rejection"]
    assert share == pytest.approx(overlap, abs=four_sigma)
    share, overlap, four_sigma = shares["coupled"]
    # Daliri et al. 2024, theorem 1: (1 − d) / (1 + d) at least, with d = 1 − overlap.
    assert overlap / (2 - overlap) - four_sigma < share < overlap + four_sigma


# -- negative controls --------------------------------------------------------------------------------------------


class BestIsNotEnough(RejectionAcceptor):
    """`<=` instead of `<`: with a uniform of 0 a token passes that the target cannot give."""

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        for index, (token, q) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            p = target_rows(index).prob(token)
            if not self._streams.accept.random() * q.prob(token) <= p:
                return Verdict(index, self.draw_target(target_rows(index), position), (0.0,) * (index + 1))
        count = len(proposal.ids)
        return Verdict(count, self.draw_target(target_rows(count), position), (0.0,) * count)


@pytest.mark.parametrize("fault", CONTROLS.values(), ids=lambda fault: fault.name)
def test_faulty_rules_are_seen(fault: Control) -> None:
    rig = pair()
    sampling = replace(TRUNCATED, seed=fault.window)
    rule: str | AcceptorFactory = fault.acceptor or "rejection"
    drafter: DrafterFactory = ModelDrafter
    if fault.drafter is not None:
        drafter = partial(_in_context, fault.drafter)
    said = reply(rig, rule, sampling, window=fault.window, drafter=drafter)
    assert chain_p(said, rig, sampling) < CHANCE


def _in_context(
    make: Callable[[DraftingContext], Drafter],
    draft: CachedSequence,
    processor: Processor,
    acceptor: Callable[[], Acceptor],
) -> Drafter:
    return make(DraftingContext(draft, processor, acceptor, frozenset(), draft.model.vocabulary))


def test_a_uniform_of_zero_never_lets_an_impossible_token_pass() -> None:
    """The event that random seeds never show: every acceptance draw is 0 exactly."""

    class Zero:
        def random(self) -> float:
            return 0.0

    def outside(rule: type[RejectionAcceptor]) -> int:
        def zeroed(streams: object) -> RejectionAcceptor:
            acceptor = rule(streams)  # type: ignore[arg-type]  # the rig's own Streams
            acceptor._streams.accept = Zero()  # type: ignore[assignment]  # it needs `random` alone
            return acceptor

        rig = pair()
        sampling = replace(NEUTRAL, top_p=0.5, max_tokens=200)
        said = ids_of(list(rig.run(sampling=sampling, acceptor=zeroed, window=4).events()))
        processor = Processor(sampling)
        return sum(
            processor.row(rig.target_model.logits_after([last]), ()).prob(token) == 0.0
            for last, token in itertools.pairwise([PROMPT[-1], *said])
        )

    assert outside(RejectionAcceptor) == 0
    assert outside(BestIsNotEnough) > 0
