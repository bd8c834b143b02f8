"""The adaptive window: costs and chances that are learnt, the stopping rule, the off-switch, and losslessness under it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.events import StepCommitted
from chatapp.domain.request import MAX_WINDOW, SamplingSettings
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.contracts import StepOutcome
from chatapp.engine.control import RunControl
from chatapp.engine.windows.adaptive import AdaptiveWindow
from tests.helpers.engine import GREEDY, NEUTRAL, PROMPT, Rig, finished, ids_of, steps_of, toy_rig
from tests.helpers.windows import UNIT, Curve, blocks_of_eight, by_the_row, flat, padded


class World:
    """A text whose drafts are right or wrong as planned, and a machine of known costs."""

    def __init__(
        self, *, draft: float, curve: Curve, noise: float = 0.0, source: str = "model",
        catch_up: float = 0.0, reading: float = 0.0,
    ) -> None:  # fmt: skip
        """Costs in plain passes; `catch_up` is that of the first draft behind steps without any, `reading` that of each of
        those steps' tokens besides."""
        self.policy = AdaptiveWindow()
        self.policy.begin("model", "rejection")
        self.windows: list[int] = []
        self.reasons: list[str] = []
        self.time = 0.0
        self.tokens = 0
        self.slow = 1.0
        self._draft, self._curve, self._noise, self._source = draft, curve, noise, source
        self._catch_up, self._reading, self._behind = catch_up, reading, 1
        self._rng = random.Random(1)

    def step(
        self, confidences: Callable[[], float], kept: Callable[[float], bool], most: int = MAX_WINDOW
    ) -> int:
        """One verify step; returns its window."""
        policy = self.policy
        drafted: list[float] = []
        k = policy.plan(most)
        assert 1 <= k <= most
        while len(drafted) < k - 1:
            drafted.append(confidences())
            if len(drafted) == k - 1 or not policy.more(len(drafted), drafted[-1], self._source):
                break
        choice = policy.choice()
        accepted = 0
        while accepted < len(drafted) and kept(drafted[accepted]):
            accepted += 1
        window = len(drafted) + 1
        draft, verify = self._draft * len(drafted), self._curve(window)
        if drafted:
            draft += (self._catch_up + self._reading * self._behind) * (self._behind > 0)
        self._behind = 0 if drafted else self._behind + 1
        self.time, self.tokens = self.time + draft + verify, self.tokens + accepted + 1
        policy.observe(
            StepOutcome(
                window=window,
                sources=(self._source,) * len(drafted),
                confidences=tuple(drafted),
                accepted=accepted,
                tested=min(accepted + 1, len(drafted)),
                draft_ns=self._took(draft),
                verify_ns=self._took(verify),
                other_ns=0,
            )
        )
        self.windows.append(window)
        self.reasons.append(choice.reason)
        return window

    def text(self, rate: float, steps: int, confidence: float = 0.8) -> World:
        """`steps` steps of drafts that are kept with this chance, whatever their confidence."""
        for _ in range(steps):
            self.step(lambda: confidence, lambda _: self._rng.random() < rate)
        return self

    def _took(self, cost: float) -> int:
        late = self._rng.choice([4.0] + [1.0] * 30) if self._noise else 1.0
        return int(UNIT * self.slow * cost * late * math.exp(self._rng.gauss(0.0, self._noise)))


def tokens_per_cost(rate: float, window: int, draft: float, curve: Curve) -> float:
    """Leviathan et al. 2022: expected tokens over expected cost of a fixed window."""
    return sum(rate**place for place in range(window)) / (curve(window) + draft * (window - 1))


# -- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("curve", [flat, by_the_row, blocks_of_eight])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6, 0.9, 0.97])
def test_drafts_without_a_pattern_come_near_the_best_fixed_window(
    rate: float, curve: Curve, noise: float
) -> None:
    world = World(draft=0.05, curve=curve, noise=noise).text(rate, 200)
    world.time, world.tokens = 0.0, 0
    world.text(rate, 1500)
    best = max(tokens_per_cost(rate, window, 0.05, curve) for window in range(1, MAX_WINDOW + 1))
    assert world.tokens / world.time > 0.94 * best


def test_a_text_of_two_kinds_is_faster_than_with_any_fixed_window() -> None:
    """Easy and hard stretches, told apart by the drafter's confidence alone."""
    draft, rng = 0.1, random.Random(3)
    adaptive = World(draft=draft, curve=flat)
    times = dict.fromkeys(range(1, MAX_WINDOW + 1), 0.0)
    text = [(0.95, 0.96) if stretch % 2 else (0.4, 0.3) for stretch in range(60) for _ in range(25)]
    right = [rng.random() < rate for _, rate in text]

    def kept_from(place: int, most: int) -> int:
        kept = 0
        while kept < most and right[place + kept]:
            kept += 1
        return kept

    for window in times:
        place = 0
        while place + MAX_WINDOW < len(text):
            place += kept_from(place, window - 1) + 1
            times[window] += flat(window) + draft * (window - 1)
    place = 0
    while place + MAX_WINDOW < len(text):
        ahead = iter(range(place, len(text)))
        tested = iter(range(place, len(text)))
        adaptive.step(
            lambda ahead=ahead: text[next(ahead)][0],  # type: ignore[misc]  # a default binds the loop's iterator
            lambda _, tested=tested: right[next(tested)],  # type: ignore[misc]  # as above
        )
        place = adaptive.tokens
    assert adaptive.time < min(times.values()) / 1.05


def test_a_sure_draft_is_followed_and_an_unsure_one_ends_the_window() -> None:
    world = World(draft=0.1, curve=flat)
    rng = random.Random(2)
    for _ in range(400):
        world.step(lambda: rng.choice([0.97, 0.2]), lambda confidence: rng.random() < confidence)
    world.step(lambda: 0.97, lambda _: True)
    long = world.windows[-1]
    world.step(lambda: 0.2, lambda _: False)
    assert world.windows[-1] == 2 < long
    assert world.reasons[-1].startswith("stopped at 1: draft 2 would be kept with 0.")


def test_rows_that_come_in_blocks_are_filled() -> None:
    """The ninth row costs half a step, those up to the sixteenth nothing more: windows of 8 and 16, hardly between."""
    world = World(draft=0.005, curve=blocks_of_eight).text(0.9, 600)
    late = world.windows[200:]
    assert sum(window in (8, 16) for window in late) > 0.8 * len(late)


@pytest.mark.parametrize(("noise", "share"), [(0.0, 0.97), (0.1, 0.92)])
@pytest.mark.parametrize("rate", [0.3, 0.6, 0.7, 0.8, 0.9, 0.97])
def test_padded_windows_come_near_the_best_fixed_one_too(rate: float, noise: float, share: float) -> None:
    world = World(draft=0.05, curve=padded, noise=noise).text(rate, 200)
    world.time, world.tokens = 0.0, 0
    world.text(rate, 1500)
    best = max(tokens_per_cost(rate, window, 0.05, padded) for window in range(1, MAX_WINDOW + 1))
    assert world.tokens / world.time > share * best


@pytest.mark.parametrize(("rate", "filled"), [(0.8, 8), (0.5, 4)])
def test_a_window_that_was_begun_is_filled_where_padding_costs_as_much(rate: float, filled: int) -> None:
    """What a k costs is what its compiled window costs, and that is learnt size by size: windows end where one is full."""
    world = World(draft=0.005, curve=padded).text(rate, 900)
    late = world.windows[300:]
    assert late.count(filled) > 0.9 * len(late)
    world.text(1.0, 1, confidence=0.8)
    world.step(lambda: 0.8, lambda _: True, most=filled)
    assert dict(world.policy.choice().estimates)["verify_ms"] == pytest.approx(padded(filled), rel=0.05)


def test_a_drafter_that_draws_whole_windows_gets_the_best_fixed_one() -> None:
    """It never asks whether to go on, so the policy has to say beforehand."""
    policy, rng, windows = AdaptiveWindow(), random.Random(4), []
    policy.begin("model", "rejection")
    for _ in range(600):
        k = policy.plan(MAX_WINDOW)
        accepted = next((place for place in range(k - 1) if rng.random() > 0.7), k - 1)
        drafts, tested = ("model",) * (k - 1), min(accepted + 1, k - 1)
        draft_ns, verify_ns = int(UNIT * 0.1 * (k - 1)), int(UNIT * flat(k))
        policy.observe(StepOutcome(k, drafts, (0.8,) * (k - 1), accepted, tested, draft_ns, verify_ns, 0))
        windows.append(k)
    best = max(range(1, MAX_WINDOW + 1), key=lambda k: tokens_per_cost(0.7, k, 0.1, flat))
    late = windows[200:]
    assert abs(sum(late) / len(late) - best) < 1.0
    assert policy.choice().reason.endswith("this drafter draws its windows whole")


def test_the_sliders_k_is_the_most() -> None:
    world = World(draft=0.001, curve=flat)
    for step in range(300):
        assert world.step(lambda: 0.99, lambda _: True, most=1 + step % 6) <= 1 + step % 6
    assert max(world.windows) == 6


# -- off and on ---------------------------------------------------------------------------------------------------


def test_a_hopeless_draft_is_switched_off_and_trying_it_costs_under_three_percent() -> None:
    world = World(draft=0.3, curve=by_the_row).text(0.0, 60)
    world.time, world.tokens, world.windows = 0.0, 0, []
    world.text(0.0, 2000)
    assert world.tokens / world.time > 0.97
    tries = [place for place, window in enumerate(world.windows) if window > 1]
    assert tries, "it never stops trying"
    assert all(world.windows[place] == 2 for place in tries)
    assert any(
        reason.startswith("off: drafting costs more than it saves; trying again in at most")
        for reason in world.reasons
    )


def test_what_is_read_behind_a_rest_counts_as_part_of_a_try() -> None:
    """With one draft in five kept, or nearly one in three, a try is often followed by another."""
    for rate in (0.2, 0.3):
        world = World(draft=0.1, curve=by_the_row, noise=0.05, catch_up=2.0).text(rate, 400)
        world.time, world.tokens = 0.0, 0
        world.text(rate, 3000)
        assert any(window > 1 for window in world.windows[-3000:]), "it never stops trying"
        assert world.tokens / world.time > 0.98, rate


@pytest.mark.parametrize("reading", [0.01, 0.05, 0.2])
def test_rests_do_not_grow_with_what_there_is_to_read_behind_them(reading: float) -> None:
    """Where that costs more than tries may, no rest is long enough to make up for itself."""
    world = World(draft=0.1, curve=by_the_row, reading=reading).text(0.0, 12_000)
    tries = [place for place, window in enumerate(world.windows) if window > 1]
    assert max(after - before for before, after in pairwise(tries)) <= 1025
    assert tries[-1] > 12_000 - 1025


def test_prompts_that_are_read_while_drafting_pays_say_nothing_of_tries() -> None:
    world = World(draft=0.1, curve=flat, reading=0.05)
    for _ in range(20):
        world.policy.begin("model", "rejection")
        world._behind = 400
        world.text(0.95, 20)
    world.text(0.0, 200)
    first = next(found for reason in world.reasons if (found := re.search(r"at most (\d+)", reason)))
    assert int(first[1]) < 30


def test_one_late_try_does_not_put_off_the_next_for_long() -> None:
    world = World(draft=0.1, curve=by_the_row, catch_up=6.0).text(0.0, 4000)
    while world.windows[-1] == 1:
        world._catch_up = 1000.0
        world.text(0.0, 1)
    world._catch_up = 6.0
    world.text(0.0, 4000)
    late = world.windows[-4000:]
    assert 320 < late.index(2) < 700
    assert late[-400:].count(2) > 0, "and it is forgotten"


def test_a_nap_is_told_of_once_and_lasts_into_the_next_reply() -> None:
    world = World(draft=0.3, curve=flat).text(0.0, 400)
    while world.policy._nap < 8:
        world.text(0.0, 1)
    told = world.policy.choice()
    world.text(0.0, 3)
    world.policy.begin("model", "rejection")
    world.text(0.0, 3)
    assert world.policy.choice() is told


RESTS = st.fixed_dictionaries(
    {
        "caps": st.sampled_from([(16,), (16, 16, 7, 2), (16, 16, 16, 5, 3, 1)]),
        "rules": st.sampled_from([("rejection",), ("rejection", "coupled", "block")]),
        "every": st.sampled_from([2, 12, 60]),
        "choices": st.sampled_from([(1,), (0, 1), (0, 1, 2)]),
        "rate": st.sampled_from([0.0, 0.1, 0.4]),
    }
)


@settings(max_examples=30, deadline=None)
@given(RESTS, st.integers(0, 10**6))
def test_the_next_try_comes_within_as_many_steps_as_is_said(of: dict[str, Any], seed: int) -> None:
    """In any order of caps, rules and replies; steps that have no room for a draft, or are another rule's, do not count."""
    policy, most, rule, left, rng = AdaptiveWindow(), 16, "rejection", dict[str, int](), random.Random(seed)
    for step in range(800):
        if step == 0 or rng.random() < 1 / of["every"]:
            rule, most = rng.choice(of["rules"]), rng.choice(of["caps"])
            policy.begin("model", rule)
        window = policy.plan(most)
        choices = [policy.choice() for _ in range(rng.choice(of["choices"]))]
        reasons = {choice.reason for choice in choices}
        assert len(reasons) < 2
        if said := re.search(r"at most (\d+)", "".join(reasons)):
            assert window == 1
            left[rule] = min(left.get(rule, 1000), int(said[1]))
        if window > 1 or (reasons and not said and most > 1):
            left.pop(rule, None)
        elif most > 1 and rule in left:
            left[rule] -= 1
            assert left[rule] >= 0, "it should have been tried"
        drafts = window - 1
        accepted = next((place for place in range(drafts) if rng.random() >= of["rate"]), drafts)
        outcome = ("model",) * drafts, (0.8,) * drafts, accepted, min(accepted + 1, drafts)
        policy.observe(StepOutcome(window, *outcome, UNIT * drafts // 5, int(UNIT * flat(window)), 0))


def test_a_rest_is_counted_down_and_most_of_it_passes_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at every plain step costs more than it tells."""
    world = World(draft=0.3, curve=flat).text(0.0, 300)
    looked: list[int] = []
    observe = world.policy._observe

    def counting(*arguments: Any) -> bool:
        looked.append(len(world.reasons))
        return observe(*arguments)

    monkeypatch.setattr(world.policy, "_observe", counting)
    begin = len(world.reasons)
    world.text(0.0, 300)
    reasons, windows = world.reasons[begin:], world.windows[begin:]
    said = [re.fullmatch(r"off: .*; trying again in at most (\d+) steps?", reason) for reason in reasons]
    most = [int(one[1]) if one else 0 for one in said]
    assert max(most) > 20
    tries = [place for place, steps in enumerate(most) if steps == 0]
    assert all(windows[place] == 1 for place, steps in enumerate(most) if steps)
    for try_before, next_try in pairwise(tries):
        for place in range(try_before + 1, next_try):
            assert 0 <= most[place] - (next_try - place) < 16, "as counted when it was looked at last"
    assert 300 / 20 < len(looked) < 300 / 5


def test_a_rest_ends_where_the_cap_grows_or_the_rule_changes() -> None:
    world = World(draft=0.3, curve=flat)
    for _ in range(400):
        world.step(lambda: 0.8, lambda _: False, most=5)
    while world.policy._nap < 4:
        world.step(lambda: 0.8, lambda _: False, most=5)
    world.step(lambda: 0.8, lambda _: False, most=4)
    assert world.policy._slept > 0, "a smaller window pays no better"
    world.step(lambda: 0.8, lambda _: False, most=6)
    assert world.policy._slept == 0, "a larger cap is a question of its own"
    world.policy.begin("model", "coupled")
    world.text(0.9, 5)
    assert max(world.windows[-5:]) > 1, "under another rule drafts may be kept"


def test_short_replies_try_a_hopeless_draft_no_more_often_than_long_ones() -> None:
    """Room shrinks at the end of each, and a nap that is cut short has lasted no longer than it did."""
    tries = []
    for length in (10**9, 40):
        world = World(draft=0.3, curve=flat).text(0.0, 400)
        for place in range(4000):
            if place % length == 0:
                world.policy.begin("model", "rejection")
            world.step(lambda: 0.8, lambda _: False, most=min(MAX_WINDOW, length - place % length))
        tries.append(sum(window > 1 for window in world.windows[-4000:]))
    assert 8 < tries[0] < 40
    assert tries[1] <= 1.2 * tries[0]


def test_an_easy_text_after_a_hopeless_one_is_heard() -> None:
    world = World(draft=0.1, curve=flat).text(0.0, 600)
    world.windows = []
    world.text(1.0, 400)
    wide = next(place for place, window in enumerate(world.windows) if window > 2)
    assert wide < 270, "one rest at its longest, and a few tries"
    assert all(window > 4 for window in world.windows[wide + 20 :])


def test_two_rules_are_learnt_apart() -> None:
    world = World(draft=0.2, curve=by_the_row).text(0.0, 100)
    world.policy.begin("model", "coupled")
    world.windows = []
    world.text(0.99, 10)
    assert max(world.windows) > 2, "what `rejection` rejects says nothing about `coupled`"
    world.policy.begin("model", "rejection")
    world.windows = []
    world.text(0.0, 10)
    assert max(world.windows) <= 2


def test_a_fresh_pair_measures_plain_steps_first() -> None:
    world = World(draft=0.1, curve=flat).text(0.9, 12)
    assert world.windows[:3] == [1, 1, 1]
    assert world.reasons[0] == "measuring what a plain step costs"
    assert max(world.windows[3:]) > 2


def test_a_plain_step_that_was_slow_at_first_is_measured_again() -> None:
    """Long windows would else seem cheap for ever, and no plain step would be made to show it."""
    world = World(draft=0.1, curve=by_the_row)
    world.slow = 3.0
    world.text(0.9, 4)
    world.slow = 1.0
    world.text(0.9, 300)
    assert dict(world.policy.choice().estimates)["plain_ms"] == pytest.approx(1.0, rel=0.15)
    again = [place for place, window in enumerate(world.windows) if window == 1]
    assert 4 <= len(again) <= 12, "more and more seldom"


def test_the_choice_carries_the_estimates_in_their_units() -> None:
    world = World(draft=0.1, curve=by_the_row).text(0.8, 400)
    figures = dict(world.policy.choice().estimates)
    assert figures["plain_ms"] == pytest.approx(1.0, rel=0.1)
    assert figures["draft_ms"] == pytest.approx(0.1, rel=0.1)
    assert 0.6 < figures["next_kept"] < 0.95
    assert 1.0 <= figures["expected_tokens"] <= MAX_WINDOW


def test_reading_up_after_a_pause_is_not_taken_for_the_cost_of_a_draft() -> None:
    world = World(draft=0.1, curve=flat).text(0.9, 200)
    policy = world.policy
    policy.begin("model", "rejection")
    policy.plan(2)
    policy.observe(StepOutcome(2, ("model",), (0.9,), 1, 1, 50 * UNIT, UNIT, 0))
    assert dict(policy.choice().estimates)["draft_ms"] == pytest.approx(0.1, rel=0.15)


OUTCOMES = st.lists(
    st.tuples(
        st.integers(1, MAX_WINDOW),
        st.floats(0, 1),
        st.sampled_from(["model", "ngram"]),
        st.integers(0, MAX_WINDOW),
        st.integers(0, 10**12),
        st.integers(0, 10**12),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(OUTCOMES)
def test_nothing_that_happens_upsets_it(outcomes: Sequence[tuple[int, float, str, int, int, int]]) -> None:
    policy = AdaptiveWindow()
    policy.begin("model", "rejection")
    for most, confidence, source, accepted, draft_ns, verify_ns in outcomes:
        k = policy.plan(most)
        assert 1 <= k <= most
        drafted = 0
        while drafted < k - 1:
            drafted += 1
            if drafted == k - 1 or not policy.more(drafted, confidence, source):
                break
        assert all(math.isfinite(value) for _, value in policy.choice().estimates)
        accepted = min(accepted, drafted)
        tested = min(accepted + 1, drafted)
        sources, confidences = (source,) * drafted, (confidence,) * drafted
        policy.observe(
            StepOutcome(drafted + 1, sources, confidences, accepted, tested, draft_ns, verify_ns, 0)
        )


# -- in the engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drafter", ["model", "ngram", "model+ngram"])
@pytest.mark.parametrize(("rule", "sampling"), [("coupled", NEUTRAL), ("greedy", GREEDY)])
def test_the_text_is_that_of_plain_decoding(rule: str, sampling: SamplingSettings, drafter: str) -> None:
    """Many replies through one policy: what it learnt changes windows and never the text."""
    policy, rig, windows = AdaptiveWindow(), toy_rig(), set()
    for seed in range(12):
        seeded = SamplingSettings(temperature=sampling.temperature, top_p=1.0, max_tokens=60, seed=seed)
        prompt = [*PROMPT, seed % 8, *PROMPT]
        control = RunControl(12, True, rule, "adaptive")
        run = rig.run(
            prompt, sampling=seeded, acceptor=rule, window=12, policy=policy, drafter=drafter, control=control
        )
        events = finished(rig, run, prompt)
        alone = Rig(ToyModel(8, seed=3), None)
        plain = finished(alone, alone.run(prompt, sampling=seeded, acceptor=rule), prompt)
        assert ids_of(events) == ids_of(plain)
        windows |= {step.window for step in steps_of(events)}
        reasons = [step.choice.reason for step in steps_of(events) if step.choice is not None]
        assert all(reasons)
    assert len(windows) > 2


def test_the_policy_hears_of_every_change_of_rule() -> None:
    """Also of one back to a rule that it had before: each rule has chances of its own."""
    heard: list[str] = []

    class Listening(AdaptiveWindow):
        def begin(self, drafter: str, acceptor: str) -> None:
            heard.append(acceptor)
            super().begin(drafter, acceptor)

    rig, control = toy_rig(), RunControl(4, True, "rejection", "adaptive")
    run = rig.run(acceptor="rejection", policy=Listening(), control=control)
    rules = iter(["rejection", "block", "block", "rejection", "coupled"])
    for event in run.events():
        if isinstance(event, StepCommitted):
            control.acceptor = next(rules, "coupled")
    assert heard == ["rejection", "block", "rejection", "coupled"]


@pytest.mark.parametrize("late", [1.0, 3.0, 8.0, 20.0])
def test_a_late_first_pass_does_not_end_speculation(late: float) -> None:
    """The very first pass of a fresh pair is often many times too slow: drafts must not seem as dear as it was."""
    world = World(draft=0.06, curve=flat)
    world.slow = late
    world.text(1.0, 1)
    world.slow = 1.0
    world.text(1.0, 30)
    assert max(world.windows[4:12]) > 4
    assert world.windows[-1] == MAX_WINDOW
