"""k, toggle, acceptor and policy change while a reply runs: at every step, in any order, the laws of the loop hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from chatapp.domain.events import EndReason, StepCommitted, WindowChoice
from chatapp.engine.contracts import StepOutcome
from chatapp.engine.control import RunControl
from chatapp.engine.registry import ACCEPTORS
from tests.helpers.engine import GREEDY, NEUTRAL, checked_events, end_of, finished, ids_of, steps_of, toy_rig

LONG = replace(NEUTRAL, max_tokens=200)


@dataclass
class Watched:
    """A policy that halves what it may have, stops after a sure token, and notes what it is told."""

    name: str = "watched"
    planned: int = 0
    begun: int = 0
    observed: int = 0
    asked: int = 0

    def begin(self, drafter: str, acceptor: str) -> None:
        self.begun += 1

    def plan(self, most: int) -> int:
        self.planned = max(1, most // 2)
        return self.planned

    def more(self, drafted: int, confidence: float, source: str) -> bool:
        assert 1 <= drafted < self.planned - 1 or self.planned == 2
        assert 0.0 <= confidence <= 1.0
        self.asked += 1
        return confidence < 0.5

    def choice(self) -> WindowChoice:
        return WindowChoice(self.name, f"at most {self.planned}", (("planned", float(self.planned)),))

    def observe(self, outcome: StepOutcome) -> None:
        assert outcome.window == len(outcome.sources) + 1 == len(outcome.confidences) + 1
        assert outcome.accepted <= outcome.tested <= outcome.window - 1
        self.observed += 1


@pytest.mark.parametrize("seed", range(8))
def test_everything_changes_at_any_time(seed: int) -> None:
    rig = toy_rig()
    control = RunControl(5, True)
    run = rig.run(sampling=replace(LONG, seed=seed), control=control)
    chooser = random.Random(seed)
    seen: set[str] = set()
    before = (5, True, "rejection")
    for event in checked_events(rig, run):
        if isinstance(event, StepCommitted):
            assert (event.window_asked, event.speculation, event.acceptor) == before, "read once a step"
            seen.add(event.acceptor)
            control.set_window(chooser.randint(1, 16))
            control.set_speculation(chooser.random() < 0.8)
            control.set_acceptor(chooser.choice(list(ACCEPTORS)))
            before = (control.window, control.speculation, control.acceptor)
    assert seen == set(ACCEPTORS), "the acceptor of every step is the one asked for"


def test_an_unknown_acceptor_in_mid_run_changes_nothing() -> None:
    rig = toy_rig()
    control = RunControl(5, True, "block")
    run = rig.run(sampling=LONG, control=control)
    names = []
    for event in checked_events(rig, run):
        if isinstance(event, StepCommitted):
            names.append(event.acceptor)
            control.set_acceptor("no such rule")
    assert set(names[1:]) == {"block"}


def test_a_policy_is_asked_told_and_believed() -> None:
    rig, policy = toy_rig(), Watched()
    events = finished(rig, rig.run(sampling=LONG, window=12, policy=policy))
    steps = steps_of(events)[1:]
    assert policy.begun == 1
    assert policy.observed == len(steps)
    assert policy.asked > 0
    assert all(step.window <= 6 for step in steps)
    assert len({step.window for step in steps}) > 2, "it stops early, too"
    assert all(step.choice is not None and step.choice.policy == "watched" for step in steps)
    for step in steps:
        sure = [draft.draft_prob >= 0.5 for draft in step.drafted]
        assert not any(sure[:-1]), "a token after which the policy stops is the last of its window"


def test_policies_that_take_turns_hear_of_rules_that_they_did_not_have_last() -> None:
    """Each plans the steps that ask for it, and begins when it meets another rule than it last did: not at each turn."""
    heard: list[tuple[str, str]] = []

    class Listening(Watched):
        def begin(self, drafter: str, acceptor: str) -> None:
            super().begin(drafter, acceptor)
            heard.append((self.name, acceptor))

    rig, control = toy_rig(), RunControl(8, True, "rejection", "one")
    policies = {name: Listening(name) for name in ("one", "other")}
    turns = [
        ("one", "rejection"), ("other", "rejection"), ("one", "rejection"), ("one", "block"), ("other", "block"),
        ("other", "rejection"), ("one", "block"), ("one", "rejection"),
    ]  # fmt: skip
    run = rig.run(sampling=LONG, control=control, policies=policies)
    asked, planned = list[tuple[str, str]](), list[tuple[str, str]]()
    for event in checked_events(rig, run):
        if isinstance(event, StepCommitted):
            if event.choice is not None:
                planned.append((event.choice.policy, event.acceptor))
            control.policy, control.acceptor = turns[len(asked) % len(turns)]
            asked.append((control.policy, control.acceptor))
    assert len(planned) > len(turns)
    assert planned == asked[: len(planned)]
    assert heard[:6] == [
        ("one", "rejection"), ("other", "rejection"), ("one", "block"), ("other", "block"), ("other", "rejection"),
        ("one", "rejection"),
    ]  # fmt: skip
    for name, policy in policies.items():
        assert policy.observed == sum(of == name for of, _ in planned)


def test_the_first_step_has_no_choice_and_plain_steps_say_why() -> None:
    rig = toy_rig()
    steps = steps_of(finished(rig, rig.run(speculation=False)))
    assert steps[0].choice is None
    assert steps[1].choice == WindowChoice("fixed", "speculation is off")


def test_greedy_text_does_not_depend_on_the_policy() -> None:
    plain = ids_of(finished(rig := toy_rig(), rig.run(sampling=GREEDY, speculation=False)))
    told = ids_of(finished(rig := toy_rig(), rig.run(sampling=GREEDY, window=12, policy=Watched())))
    assert plain == told


def test_cancel_between_two_changes_ends_the_run() -> None:
    rig = toy_rig()
    control = RunControl(5, True)
    run = rig.run(sampling=LONG, control=control)
    events = []
    for event in checked_events(rig, run):
        events.append(event)
        if isinstance(event, StepCommitted) and event.index == 3:
            control.set_window(2)
            control.cancel()
    assert end_of(events).reason is EndReason.CANCELLED
    assert steps_of(events)[-1].index == 3
