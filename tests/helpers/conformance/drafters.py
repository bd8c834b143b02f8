"""Laws of `contracts.Drafter`: that every token was drawn from exactly the row that comes with it, and that counts, budgets,
cancels, rewinds and ends of text are heeded.

The first is tested without knowing the drafter: over all its proposals, how often each id, each rank of the row and each
degree of surprise came up, against what the rows promise. Sums of such differences are martingales, so they are normal
whatever the drafter remembers.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chatapp.domain.events import EndReason
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.contracts import Drafter, Proposal
from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams
from chatapp.engine.registry.parts import DraftingContext
from chatapp.engine.sampling import Processor
from tests.helpers.conformance.common import (
    CHANCE,
    SETTINGS,
    TRUNCATED,
    MakeDrafter,
    chain_p,
    chain_pair,
    made,
    reply,
    require,
    two_sided,
)
from tests.helpers.engine import (
    GREEDY,
    CancelAtCall,
    DrafterFactory,
    Rig,
    Schedule,
    end_of,
    finished,
    ids_of,
    toy_rig,
)

VOCABULARY = 5
STEPS = 600
REPLY_TOKENS = 1200


def check_drafter(make: MakeDrafter) -> None:
    """Raises `Nonconforming`. `make` gets toys: a draft of five ids, and the rule of the step."""
    for ends in ((), (3,)):
        check_proposals(make, ends)
    check_replies(make)
    check_ends(make)


# -- proposals ----------------------------------------------------------------------------------------------------


@dataclass
class ScriptedBudget:
    """Implements `contracts.Budget`: says no after `enough` tokens, is cancelled after `patience` looks."""

    count: int
    enough: int
    patience: int = 1_000_000
    asked: list[tuple[float, str]] = field(default_factory=list)

    @property
    def cancelled(self) -> bool:
        self.patience -= 1
        return self.patience < 0

    def more(self, confidence: float, source: str) -> bool:
        self.asked.append((confidence, source))
        return len(self.asked) < min(self.enough, self.count)


class DrawLaw:
    """Whether tokens were drawn from their rows."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._variances: defaultdict[str, float] = defaultdict(float)
        self.tokens = 0

    def add(self, token: int, row: Row) -> None:
        self.tokens += 1
        probs = np.asarray(row.at(None), np.float64)
        rank = int((probs > probs[token]).sum())
        by_rank = np.sort(probs)[::-1]
        for place, prob in enumerate(probs):
            self._see(f"id {place}", float(place == token), float(prob), float(prob * (1 - prob)))
        tied = len(set(by_rank)) < len(by_rank)
        for place, prob in enumerate(() if tied else by_rank):
            self._see(f"rank {place}", float(place == rank), float(prob), float(prob * (1 - prob)))
        surprise = -np.log(np.where(probs > 0, probs, 1.0))
        mean = float((probs * surprise).sum())
        variance = float((probs * surprise**2).sum()) - mean**2
        self._see("surprise", float(surprise[token]), mean, max(variance, 0.0))

    def _see(self, name: str, seen: float, mean: float, variance: float) -> None:
        self._sums[name] += seen - mean
        self._variances[name] += variance

    def check(self) -> None:
        for name, total in self._sums.items():
            variance = self._variances[name]
            if variance < 25.0:
                continue  # too few for the normal law
            p = two_sided(total / math.sqrt(variance))
            require(
                p > CHANCE / len(self._sums),
                f"tokens are not drawn from the rows that come with them: {name}, p {p:.1e}",
            )


def check_proposals(make: MakeDrafter, ends: Sequence[int]) -> None:
    """A walk: prompts, windows, rejections, rewinds, in no order that a drafter could rely on."""
    source, law, proposed = random.Random(5), DrawLaw(), 0
    rig = toy_rig(vocabulary=VOCABULARY, order=1, noise=1.0, sharpness=1.2, context_limit=400)
    assert rig.draft is not None
    rule = RejectionAcceptor(Streams(3))
    context = DraftingContext(rig.draft, Processor(TRUNCATED), lambda: rule, frozenset(ends), VOCABULARY)
    drafter = made(make, context)
    ids = [0]
    for step in range(STEPS):
        if step % 60 == 0:
            ids = [source.randrange(VOCABULARY) for _ in range(source.randrange(1, 40))]
            drafter.begin(list(ids))
        ids, proposal = _one_step(drafter, ids, source, ends)
        proposed += len(proposal.ids)
        for token, row in zip(proposal.ids, proposal.rows, strict=True):
            law.add(token, row)
    require(proposed > 0, f"it proposed nothing in {STEPS} windows")
    law.check()


def _one_step(
    drafter: Drafter, ids: list[int], source: random.Random, ends: Sequence[int]
) -> tuple[list[int], Proposal]:
    count = source.randrange(1, 8)
    budget = ScriptedBudget(count, source.randrange(1, 9))
    if source.random() < 0.1:
        budget.patience = source.randrange(0, 4)
    prefix = list(ids)
    computed = drafter.catch_up(prefix, lambda: False)
    require(type(computed) is int and 0 <= computed < len(ids), "catch_up tells the positions it computed")
    proposal = drafter.propose(prefix, budget)
    require(prefix == ids, "the prefix is left as it is")
    check_proposal(proposal, budget, ends)
    kept = source.randrange(len(proposal.ids) + 1)
    after = [*ids, *proposal.ids[:kept], source.randrange(VOCABULARY)]
    drafter.rewind(len(after) - 1)
    require(drafter.bytes_read >= 0, "bytes read are counted")
    require(type(drafter.exhausted(after)) is bool, "exhausted is a bool")
    return after, proposal


def check_proposal(proposal: Proposal, budget: ScriptedBudget, ends: Sequence[int]) -> None:
    """The form of one proposal, and that its budget was heeded."""
    count = len(proposal.ids)
    require(count <= budget.count, f"{count} tokens where {budget.count} were allowed")
    require(len(proposal.rows) == count, "one row for each token")
    require(len(proposal.sources) in (0, count), "one source for each token, or none at all")
    require(len(proposal.confidences) in (0, count), "one confidence for each token, or none at all")
    require(all(0.0 <= value <= 1.0 for value in proposal.confidences), "confidences lie in 0..1")
    for token, row in zip(proposal.ids, proposal.rows, strict=True):
        require(type(token) is int and 0 <= token < VOCABULARY, f"{token!r} is no id")
        require(row.size == VOCABULARY, "rows are over the whole vocabulary")
        total = float(np.sum(row.probs, dtype=np.float64))
        require(abs(total - 1.0) < 1e-5, f"a row sums to {total}")
        require(row.prob(token) > 0.0, "a token has mass in its own row")
    require(
        not any(token in ends for token in proposal.ids[:-1]), "nothing is proposed behind an end of text"
    )
    require(len(budget.asked) >= count - 1, "the budget is asked after every token that others could follow")
    require(count <= budget.enough, "a proposal ends when its budget says so")
    require(count >= len(budget.asked), "a token that the budget was asked about stays in the proposal")
    if budget.patience < 0:
        require(count <= 4, "a cancelled proposal ends")


# -- whole replies ------------------------------------------------------------------------------------------------


def check_replies(make: MakeDrafter) -> None:
    """The output is the target's: in distribution for rules that draw, to the letter for those that do not."""
    changing = [(5, True), (2, True), (9, False), (3, True), (16, True)]
    for rule in ("rejection", "block"):
        for title, settings in SETTINGS.items():
            rig = chain_pair()
            sampling = replace(settings, max_tokens=REPLY_TOKENS, seed=17)
            p = chain_p(reply(rig, rule, sampling, control=Schedule(changing), make=make), rig, sampling)
            require(p > CHANCE, f"a reply with {rule} does not follow the target: p {p:.1e} at {title}")
    for rule, sampling in (("coupled", TRUNCATED), ("greedy", GREEDY)):
        with_it = reply(toy_rig(), rule, sampling, control=Schedule(changing), make=make)
        alone = reply(toy_rig(), rule, sampling, window=1, make=make)
        require(with_it == alone, f"with {rule} the text differs from the target's own")


def check_ends(make: MakeDrafter) -> None:
    """Cancelled at every call, at the end of text, and with a draft whose context is small: caches are as they must be."""
    for calls in range(14):
        rig = toy_rig()
        control = CancelAtCall(5, lambda rig=rig: rig.calls, calls)  # type: ignore[misc]  # a default binds the loop's rig
        run = rig.run(control=control, drafter=_factory(make, rig))
        require(end_of(finished(rig, run)).reason is EndReason.CANCELLED, "a cancel ends the reply")
        again, fresh = toy_rig_reply(rig, make), toy_rig_reply(toy_rig(), make)
        require(again == fresh, "after a cancel the next reply is as if nothing had been before")
    for limit in (2, 4, 9):
        small = toy_rig(draft_context_limit=limit)
        said = reply(small, "rejection", TRUNCATED, make=make)
        require(len(said) == TRUNCATED.max_tokens, "a draft whose context is full does not end the reply")
    for end in range(8):
        reply(toy_rig(), "rejection", TRUNCATED, make=make, eos=[end])


def toy_rig_reply(rig: Rig, make: MakeDrafter) -> list[int]:
    """A greedy reply: its text depends on neither the drafter nor on what it remembers."""
    return ids_of(finished(rig, rig.run(sampling=GREEDY, drafter=_factory(make, rig))))


def _factory(make: MakeDrafter, rig: Rig) -> DrafterFactory:
    size = rig.target_model.vocabulary
    return lambda draft, processor, rule: made(
        make, DraftingContext(draft, processor, rule, frozenset(), size)
    )
