"""The look-up: what it finds, what it learns, and that it forgets what was taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.drafters.ngram import PRIOR, SOURCE, Experience, NgramDrafter
from chatapp.engine.drafters.ngram_index import (
    CANDIDATES,
    LONGEST,
    LOOKED_BACK,
    SHORTEST,
    Agreement,
    Guess,
    NgramIndex,
)

IDS = st.lists(st.integers(0, 3), max_size=40)


@dataclass
class Allowance:
    """Implements `contracts.Budget`: `stop_after` proposed tokens `more` says no."""

    count: int = 8
    stop_after: int = 99
    cancelled: bool = False
    asked: list[tuple[float, str]] = field(default_factory=list)

    def more(self, confidence: float, source: str) -> bool:
        self.asked.append((confidence, source))
        return len(self.asked) < self.stop_after


def guess_by_search(ids: Sequence[int]) -> Guess | None:
    """The definition, by looking at every place."""
    for size in range(min(LONGEST, len(ids)), SHORTEST - 1, -1):
        places = [at for at in range(size, len(ids)) if ids[at - size : at] == ids[len(ids) - size :]]
        places = places[-CANDIDATES:]
        if not places:
            continue
        lengths = {}
        for at in places:
            length = size
            while length < min(at, LOOKED_BACK) and ids[at - length - 1] == ids[-length - 1]:
                length += 1
            lengths[at] = length
        longest = max(lengths.values())
        voting = [ids[at] for at in places if lengths[at] == longest]
        token = max(reversed(voting), key=voting.count)
        said = {ids[at] for at in places}
        if len(places) == 1:
            return Guess(token, longest, Agreement.SOLE)
        return Guess(token, longest, Agreement.UNANIMOUS if len(said) == 1 else Agreement.MIXED)
    return None


def index_of(ids: Sequence[int]) -> NgramIndex:
    index = NgramIndex()
    index.follow(ids)
    return index


# -- index --------------------------------------------------------------------------------------------------------


@given(IDS)
def test_the_index_finds_what_a_search_finds(ids: list[int]) -> None:
    assert index_of(ids).guess() == guess_by_search(ids)


@given(first=IDS, kept=st.integers(0, 40), second=IDS)
def test_a_rewound_index_is_a_fresh_one(first: list[int], kept: int, second: list[int]) -> None:
    index = index_of(first)
    index.rewind(kept)
    ids = first[:kept] + second
    index.follow(ids)
    fresh = index_of(ids)
    assert (index.guess(), index._places, index._ids) == (fresh.guess(), fresh._places, fresh._ids)


@given(IDS)
def test_appending_by_ones_is_appending_at_once(ids: list[int]) -> None:
    index = NgramIndex()
    for end in range(1, len(ids) + 1):
        index.follow(ids[:end])
    assert index._places == index_of(ids)._places


def test_drafts_lead_the_look_up_on() -> None:
    index = index_of([1, 2, 3, 4, 5, 1, 2])
    guess = index.guess()
    assert guess == Guess(3, 2, Agreement.SOLE)
    assert index.guess([3]) == Guess(4, 3, Agreement.SOLE)
    assert index.guess([3, 4]) == Guess(5, 4, Agreement.SOLE)
    assert index.guess([3, 4, 5]) == Guess(1, 5, Agreement.SOLE)
    assert index.guess([9]) is None


def test_the_longest_match_beats_the_most_frequent_and_that_beats_the_latest() -> None:
    #                 longest: 7 1 2 → 3 once; 1 2 → 4 twice, then 1 2 → 5
    assert index_of([7, 1, 2, 3, 1, 2, 4, 1, 2, 4, 1, 2, 5, 7, 1, 2]).guess() == Guess(3, 3, Agreement.SOLE)
    assert index_of([8, 1, 2, 4, 9, 1, 2, 4, 0, 1, 2, 5, 6, 1, 2]).guess() == Guess(4, 2, Agreement.MIXED)
    assert index_of([8, 1, 2, 4, 9, 1, 2, 5, 6, 1, 2]).guess() == Guess(5, 2, Agreement.MIXED)
    assert index_of([8, 1, 2, 4, 9, 1, 2, 4, 6, 1, 2]).guess() == Guess(4, 2, Agreement.UNANIMOUS)


# -- experience ---------------------------------------------------------------------------------------------------


def test_confidence_starts_at_the_prior_and_goes_where_experience_goes() -> None:
    for agreement, rates in PRIOR.items():
        for length, rate in zip((2, 4, 7, 12), rates, strict=True):
            assert Experience().confidence(Guess(0, length, agreement)) == pytest.approx(rate)
    experience, guess = Experience(), Guess(0, 2, Agreement.UNANIMOUS)
    for _ in range(60):
        experience.learn(guess, right=False)
    assert experience.confidence(guess) < 0.05
    assert experience.confidence(Guess(0, 12, Agreement.UNANIMOUS)) == pytest.approx(0.98), "another class"
    for _ in range(60):
        experience.learn(guess, right=True)
    assert experience.confidence(guess) > 0.8


# -- drafter ------------------------------------------------------------------------------------------------------


def drafter(*, ends: Sequence[int] = ()) -> NgramDrafter:
    made = NgramDrafter(100, frozenset(ends))
    made.begin([])
    return made


def test_it_copies_what_stood_there_and_every_token_is_certain() -> None:
    prefix = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    proposal = drafter().propose(prefix, Allowance(5))
    assert proposal.ids == (4, 5, 6, 1, 2)
    assert proposal.sources == (SOURCE,) * 5
    assert [row.prob(token) for row, token in zip(proposal.rows, proposal.ids, strict=True)] == [1.0] * 5
    assert {row.size for row in proposal.rows} == {100}
    assert list(proposal.confidences) == sorted(proposal.confidences), "the match grows with every copied id"


def test_a_loop_is_continued_past_the_end_of_what_was_said() -> None:
    assert drafter().propose([7, 8, 9, 7, 8, 9, 7, 8], Allowance(7)).ids == (9, 7, 8, 9, 7, 8, 9)


def test_it_ends_at_the_budget_the_policy_a_cancel_and_an_end_of_text() -> None:
    prefix = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert drafter().propose(prefix, Allowance(2)).ids == (4, 5)
    allowance = Allowance(8, stop_after=3)
    assert drafter().propose(prefix, allowance).ids == (4, 5, 6)
    assert [source for _, source in allowance.asked] == [SOURCE] * 3
    assert drafter().propose(prefix, Allowance(8, cancelled=True)).ids == ()
    assert drafter(ends=[5]).propose(prefix, Allowance(8)).ids == (4, 5)


def test_nothing_is_proposed_where_nothing_repeats() -> None:
    assert drafter().propose([1, 2, 3, 4], Allowance()).ids == ()
    assert drafter().propose([1], Allowance()).ids == ()
    assert not drafter().exhausted([1])


def test_a_class_that_always_fails_is_no_longer_proposed_and_can_win_its_trust_back() -> None:
    made, prefix, fresh = drafter(), [1, 2, 3], 10
    silent = 0
    proposed = []
    for _ in range(40):  # 1 2 goes on as never before, each time
        prefix = [*prefix, fresh, 1, 2]
        fresh += 1
        silent += not made.propose(prefix, Allowance(1)).ids
        prefix.append(fresh)
        fresh += 1
    assert silent > 20
    for _ in range(40):  # now it goes on as it did the last times
        prefix = [*prefix, 1, 2]
        proposed.append(made.propose(prefix, Allowance(1)).ids)
        prefix.append(9)
    assert proposed[-1] == (9,)


def test_what_was_guessed_behind_a_wrong_draft_teaches_nothing() -> None:
    made = drafter()
    prefix = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert made.propose(prefix, Allowance(3)).ids == (4, 5, 6)
    made.rewind(len(prefix))
    prefix = [*prefix, 4, 8, 6]  # 5 was wrong; 6 stands there by chance, behind 8
    made.propose(prefix, Allowance(1))
    rates = made._guesser._experience._rates[Agreement.SOLE]
    tried = sum(tried for _, tried in rates)
    untouched = sum(tried for _, tried in Experience()._rates[Agreement.SOLE])
    assert tried == pytest.approx(untouched + 2, abs=0.5), "4 came true, 5 did not, 6 was not tested"
