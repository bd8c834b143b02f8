"""Laws of `contracts.WindowPolicy`, for any story that hypothesis can think of: k in 1 … most, nothing raised, a choice with a
reason after each plan, and decisions that follow from what was told before them alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chatapp.domain.events import WindowChoice
from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.contracts import StepOutcome, WindowPolicy
from tests.helpers.conformance.common import require

MakePolicy = Callable[[], WindowPolicy]
SOURCES = ("model", "ngram", "other")
ACCEPTORS = ("rejection", "block", "coupled", "greedy", "typical", "own")


@dataclass(frozen=True)
class Step:
    """What may happen in one step: what is asked, how sure the drafter is, where it ends, and what it costs."""

    most: int
    confidences: tuple[float, ...]
    source: str
    offered: int
    accepted: int
    draft_ns: int
    verify_ns: int
    other_ns: int
    new_reply: bool


NANOSECONDS = st.one_of(st.just(0), st.integers(1, 10**6), st.integers(0, 10**12))
STEPS = st.builds(
    Step,
    most=st.integers(1, MAX_WINDOW),
    confidences=st.lists(st.floats(0.0, 1.0), min_size=MAX_WINDOW, max_size=MAX_WINDOW).map(tuple),
    source=st.sampled_from(SOURCES),
    offered=st.integers(0, MAX_WINDOW - 1),
    accepted=st.integers(0, MAX_WINDOW - 1),
    draft_ns=NANOSECONDS,
    verify_ns=NANOSECONDS,
    other_ns=NANOSECONDS,
    new_reply=st.booleans(),
)
STORIES = st.lists(STEPS, min_size=1, max_size=40)


def check_window(make: MakePolicy, *, examples: int = 150) -> None:
    """Raises `Nonconforming`, or what the policy raised."""
    policy = make()
    require(bool(policy.name), "a policy has a name")

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(story=STORIES, twist=STEPS)
    def law(story: list[Step], twist: Step) -> None:
        told = _told(make(), story)
        require(told == _told(make(), story), "the same story leads to the same decisions")
        # What happens in and after the last step must not have been known before it.
        changed = _told(make(), [*story[:-1], _with_outcome(story[-1], twist), twist])
        require(changed[: len(story)] == told, "a decision follows from what was told before it")

    law()
    _check_long(make)


def _with_outcome(step: Step, other: Step) -> Step:
    """The same step up to its verdict, another verdict and other costs."""
    return Step(
        step.most,
        step.confidences,
        step.source,
        step.offered,
        other.accepted,
        other.draft_ns,
        other.verify_ns,
        other.other_ns,
        step.new_reply,
    )


def _told(policy: WindowPolicy, story: list[Step]) -> list[tuple[int, int, WindowChoice]]:
    """k, drafts and choice of each step."""
    policy.begin("model", "rejection")
    decisions = []
    for index, step in enumerate(story):
        if index and step.new_reply:
            policy.begin(SOURCES[index % 3], ACCEPTORS[index % 6])
        decisions.append(_live(policy, step))
    return decisions


def _live(policy: WindowPolicy, step: Step) -> tuple[int, int, WindowChoice]:
    """One step as the loop goes through it."""
    k = policy.plan(step.most)
    require(type(k) is int and 1 <= k <= step.most, f"it planned k {k!r} of at most {step.most}")
    drafts = 0
    for drafted in range(1, min(k - 1, step.offered) + 1):
        drafts = drafted
        if drafted < k - 1:
            more = policy.more(drafted, step.confidences[drafted - 1], step.source)
            require(type(more) is bool, f"`more` answered {more!r}")
            if not more:
                break
    choice = policy.choice()
    _check_choice(choice, policy.name)
    accepted = min(step.accepted, drafts)
    policy.observe(
        StepOutcome(
            window=drafts + 1,
            sources=(step.source,) * drafts,
            confidences=step.confidences[:drafts],
            accepted=accepted,
            tested=min(accepted + 1, drafts),
            draft_ns=step.draft_ns,
            verify_ns=step.verify_ns,
            other_ns=step.other_ns,
        )
    )
    return k, drafts, choice


def _check_choice(choice: object, name: str) -> None:
    require(isinstance(choice, WindowChoice), f"its choice is {choice!r}, no WindowChoice")
    assert isinstance(choice, WindowChoice)
    require(choice.policy == name, f"its choice names {choice.policy!r} instead of {name!r}")
    require(bool(choice.reason.strip()), "a choice has a reason, in words for people")
    for title, value in choice.estimates:
        require(bool(title) and math.isfinite(value), f"the estimate {title!r} is {value}")


def _check_long(make: MakePolicy) -> None:
    """A conversation of thousands of steps, all kept and then none."""
    policy = make()
    policy.begin("model", "rejection")
    for index in range(4000):
        kept = MAX_WINDOW if (index // 500) % 2 == 0 else 0
        step = Step(8, (0.9,) * MAX_WINDOW, "model", MAX_WINDOW - 1, kept, 10**6, 4 * 10**6, 10**5, False)
        _live(policy, step)
