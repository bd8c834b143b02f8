"""The window policy `adaptive`: which windows are chosen is `deciding`'s affair; here are the parts it is asked through, what
it remembers by source and rule, and its reasons in words.

It looks at confidences of tokens that stay in the proposal, at costs, and at tests that are over, so every lossless rule
stays lossless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from chatapp.domain.events import Estimates, WindowChoice
from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.contracts import StepOutcome
from chatapp.engine.windows.arithmetic import Arithmetic, State, fastest
from chatapp.engine.windows.deciding import DRAFTING, MEASURING, NO_ROOM, RESTING, STOPPED, WHOLE
from chatapp.engine.windows.records import Belief, Calibration, Costs, DraftCost

ESTIMATES = ("draft_ms", "verify_ms", "plain_ms", "expected_tokens", "first_kept", "next_kept")


class AdaptiveWindow:
    """Implements `contracts.WindowPolicy`."""

    name = "adaptive"
    description = (
        "Drafts one token more while that pays, by measured costs and chances; the slider's k is the most."
    )

    def __init__(self, arithmetic: Arithmetic | None = None) -> None:
        self._arithmetic = arithmetic or fastest()
        self._costs_state = self._arithmetic.fresh(Costs)
        self._costs = self._costs_state.at
        self._drafts: dict[str, State] = {}
        """By source."""
        self._beliefs: dict[str, State] = {}
        """By acceptance rule."""
        self._calibrations: dict[tuple[str, str], State] = {}
        """By rule and source."""
        self._catches_up = True
        self._rule = self._source = ""
        self._known = False
        self._nap, self._slept, self._nap_most = 0, 0, 0
        """Plain steps to come that nothing is asked about, those of them that are past with the one at hand, and the cap
        that they are under."""
        self._slept_under: dict[str, int] = {}
        """The same of naps that another rule ended, which their own rule's next `plan` is told of."""
        self._nap_choice: WindowChoice | None = None
        """Said at the first step of a rest, and of all that follow it unseen: to say it each time cost 2 µs, of steps of 340."""
        # Looked up once: between passes that push all else out of the processor's caches every step of the way counts.
        self._plan, self._more, self._observe = (
            self._arithmetic.plan, self._arithmetic.more, self._arithmetic.observe
        )  # fmt: skip
        self._judge_by("")

    def begin(self, drafter: str, acceptor: str) -> None:  # noqa: ARG002 - the contract's signature; each drafter has a policy of its own
        if acceptor != self._rule:
            self._slept_under[self._rule] = self._slept
            self._nap, self._slept, self._nap_choice = 0, self._slept_under.pop(acceptor, 0), None
            self._judge_by(acceptor)
        self._catches_up = True

    def _judge_by(self, rule: str) -> None:
        if rule not in self._beliefs:
            self._beliefs[rule] = self._arithmetic.fresh(Belief)
        self._rule = rule
        self._belief, self._copy_told = self._beliefs[rule].at, self._beliefs[rule].copy_told
        self._look_up(self._source)

    def _look_up(self, source: str) -> None:
        self._source = source
        self._draft = self._draft_of(source)
        self._calibration = self._calibration_of(source)

    def _draft_of(self, source: str) -> Any:
        if source not in self._drafts:
            self._drafts[source] = self._arithmetic.fresh(DraftCost)
        return self._drafts[source].at

    def _calibration_of(self, source: str) -> Any:
        key = self._rule, source
        if key not in self._calibrations:
            self._calibrations[key] = self._arithmetic.fresh(Calibration)
        return self._calibrations[key].at

    # -- before and within the proposal -------------------------------------------------------------------------

    def plan(self, most: int) -> int:
        # Under a smaller cap drafting pays no better.
        if self._nap > 0 and 1 < most <= self._nap_most:
            self._nap -= 1
            self._slept += 1
            return 1
        # Compiled, nobody asks whether a size lies inside the records.
        window = self._plan(self._costs, self._belief, self._draft, min(most, MAX_WINDOW), self._slept)
        self._nap, self._slept, self._nap_choice = 0, 0, None
        if window == 1 and most > 1:
            self._nap, self._nap_most = self._arithmetic.nap(self._belief), most
        return window

    def more(self, drafted: int, confidence: float, source: str) -> bool:
        if source != self._source:
            self._look_up(source)
        return self._more(self._costs, self._belief, self._calibration, self._draft, drafted, confidence)

    def choice(self) -> WindowChoice:
        if self._slept > 0 and self._nap_choice is not None:
            return self._nap_choice
        known, told, copied = self._known, self._arithmetic.told, self._copy_told()
        choice = WindowChoice.told_when_asked(self.name, lambda: _in_words(told(copied), known=known))
        if self._nap > 0:
            self._nap_choice = choice
        return choice

    # -- after the step -----------------------------------------------------------------------------------------

    def observe(self, outcome: StepOutcome) -> None:
        sources = outcome.sources
        if self._slept > 0 and not sources:
            return
        self._known = True
        # A drafter that was not asked reads next what it missed: its time then says nothing about a token's cost.
        timed, self._catches_up = not self._catches_up, not sources
        draft_ns = float(outcome.draft_ns if timed else -max(outcome.draft_ns, 1))
        last = 0.0
        if sources:
            if sources[-1] != self._source:
                self._look_up(sources[-1])
            last = outcome.confidences[-1]
            if sources.count(self._source) < len(sources):
                self._observe_mixed(outcome, draft_ns)
                return
        arguments = (
            self._costs, self._belief, self._calibration, self._draft,
            outcome.window, outcome.accepted, outcome.tested, last,
            draft_ns, float(outcome.verify_ns), float(outcome.other_ns),
        )  # fmt: skip
        if not self._observe(*arguments):
            self._remember(outcome.confidences)
            self._observe(*arguments)

    def _remember(self, confidences: Sequence[float]) -> None:
        for place, confidence in enumerate(confidences):
            self._arithmetic.remember(self._belief, place, confidence)

    def _observe_mixed(self, outcome: StepOutcome, draft_ns: float) -> None:
        """What `deciding.observe` does, for drafts of several sources."""
        arithmetic, costs, belief = self._arithmetic, self._costs, self._belief
        arithmetic.observe_pass(costs, outcome.window, float(outcome.verify_ns))
        arithmetic.observe_host(costs, outcome.accepted + 1, float(outcome.other_ns))
        counts = Counter(outcome.sources)
        expected = {
            source: arithmetic.cost_of(self._draft_of(source), count) for source, count in counts.items()
        }
        drafted = sum(expected.values())
        if draft_ns >= 0.0:
            for source, count in counts.items():
                others = drafted - expected[source]
                arithmetic.observe_draft(costs, self._draft_of(source), count, others, draft_ns)
        self._remember(outcome.confidences)
        end = 0
        for source, tests in groupby(outcome.sources[: outcome.tested]):
            begin, end = end, end + len(list(tests))
            arithmetic.learn(belief, self._calibration_of(source), begin, end, outcome.accepted)
        arithmetic.settle(costs, belief, self._draft, outcome.window, outcome.accepted, drafted)


def _in_words(told: Sequence[float], *, known: bool) -> tuple[str, Estimates]:
    """Reason and estimates; none of those before the first step was seen."""
    reason, figure, kept, needed = told[:4]
    estimates = tuple(zip(ESTIMATES, told[4:], strict=True)) if known else ()
    return _reason(reason, figure, kept, needed), estimates


def _reason(reason: float, figure: float, kept: float, needed: float) -> str:
    """One of `deciding`'s, with its figures."""
    if reason == NO_ROOM:
        return "there is room for one token only"
    if reason == MEASURING:
        return "measuring what a plain step costs"
    if reason == DRAFTING:
        return f"drafting up to k {figure:.0f} pays"
    if reason == WHOLE:
        return f"k {figure:.0f} promises most: this drafter draws its windows whole"
    if reason == RESTING:
        steps = f"{figure:.0f} step{'s' * (figure > 1)}"
        return f"off: drafting costs more than it saves; trying again in at most {steps}"
    if reason == STOPPED:
        wanted = "which cannot pay" if needed > 1.0 else f"it must reach {needed:.2f} to pay"
        return f"stopped at {figure:.0f}: draft {figure + 1:.0f} would be kept with {kept:.2f}, {wanted}"
    return "off, but trying one draft: the text may have become easier"
