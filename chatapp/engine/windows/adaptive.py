"""One draft more as long as it pays.

Committed tokens per second are to be as many as can be. A further draft is worth its cost when

    S · a  >  λ · (c + v(m + 1) − v(m)),

S the chance that every draft so far is kept, a that the next one is, c what drafting it costs, v what verifying it adds,
and λ the tokens per second that are reached at present: what the same time would give elsewhere (the stopping rule of
renewal-reward problems; λ is of the text at hand, since its tokens have to be written in any case). All of it is measured.
Where rows are cheap in blocks the gain of several drafts is held against their cost together.

Where no window could beat plain decoding, speculation is off, and tried again now and then.

The policy looks at confidences of tokens that stay in the proposal, at costs, and at tests that are over, so every lossless
rule stays lossless.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from chatapp.domain.events import WindowChoice
from chatapp.engine.contracts import StepOutcome
from chatapp.engine.windows.calibration import Calibration
from chatapp.engine.windows.costs import Costs

PLAIN_FIRST = 3
"""Plain steps of a fresh pair: what a pass of one row costs is what everything is held against."""
RATE_MEMORY = 0.92
"""What is left of tokens and time at each new step: λ is that of some 12 steps."""
FIRST_MEMORY = 0.94
"""The same for how often a window's first draft was kept: some 16 tests."""
FOLLOW_MEMORY = 0.97
"""And for later drafts, given that those before were kept."""
LIKELY = (0.5, 0.8, 0.93, 0.98)
"""Borders between chances of a draft, for what they say of the next one: a sure token is often followed by another."""
PRIOR_KEPT, PRIOR_TESTS = 0.7, 4
PROBE_SHARE = 0.02
"""While speculation is off, trying it may cost so much of plain decoding."""
SHORTEST_REST, LONGEST_REST = 8, 256
"""Plain steps between two tries."""
BACKOFF = 1.5
PROMISE_KEPT = 4
"""Steps that a promise is kept for while speculation is on: it moves slowly, and costs as much as all the rest of a plan."""
PAYS = 1.0
"""Speculation is on where it promises so many times plain decoding."""
MS = 1e-6


class _Chance:
    """A running share: quick at first, then with the memory given."""

    __slots__ = ("_memory", "_tests", "value")

    def __init__(self, memory: float) -> None:
        self.value = PRIOR_KEPT
        self._memory = memory
        self._tests = PRIOR_TESTS

    def learn(self, *, kept: bool) -> None:
        self._tests += 1
        self.value += max(1.0 - self._memory, 1.0 / self._tests) * (kept - self.value)

    def doubt(self) -> None:
        """What comes next counts as if little had been seen."""
        self._tests = PRIOR_TESTS


@dataclass
class _Belief:
    """What was learnt of drafts under one acceptance rule. `first` is for a window's first draft, `follow[c]` for the one
    behind a draft of chance class c, given that it was kept."""

    sources: dict[str, Calibration] = field(default_factory=dict)
    first: _Chance = field(default_factory=lambda: _Chance(FIRST_MEMORY))
    follow: tuple[_Chance, ...] = field(
        default_factory=lambda: tuple(_Chance(FOLLOW_MEMORY) for _ in range(len(LIKELY) + 1))
    )
    tokens: float = 0.0
    cost: float = 0.0
    off: bool = False
    rest: float = float(SHORTEST_REST)
    until_probe: int = 0

    def source(self, name: str) -> Calibration:
        if name not in self.sources:
            self.sources[name] = Calibration()
        return self.sources[name]

    def after(self, chance: float) -> _Chance:
        """That of the next draft, behind one of this chance."""
        return self.follow[bisect_right(LIKELY, chance)]

    def doubt(self) -> None:
        """The text has changed: what was learnt is kept, and is given up sooner."""
        for chance in self.follow:
            chance.doubt()
        for calibration in self.sources.values():
            calibration.doubt()


class AdaptiveWindow:
    """Implements `contracts.WindowPolicy`."""

    name = "adaptive"
    description = (
        "Drafts one token more while that pays, by measured costs and chances; the slider's k is the most."
    )

    def __init__(self) -> None:
        self._costs = Costs()
        self._beliefs: dict[str, _Belief] = {}
        self._belief = self._beliefs.setdefault("", _Belief())
        self._catches_up = True
        self._most = 1
        self._source = ""
        self._asked = True
        self._rate = 1.0
        self._probing = False
        self._kept_all = 1.0
        self._expected = 1.0
        self._next = PRIOR_KEPT
        self._reason = ""
        # What `more` looks up again for every draft of a step.
        self._passes = self._costs.passes()
        self._draft = 0.0
        self._promised = (0.0, 1)
        self._promised_for = self._promise_age = 0
        self._calibration = self._belief.source("")

    def begin(self, drafter: str, acceptor: str) -> None:  # noqa: ARG002 - the contract's signature; each drafter has a policy of its own
        self._belief = self._beliefs.setdefault(acceptor, _Belief())
        self._catches_up = True
        self._promised_for = 0

    # -- before the step ----------------------------------------------------------------------------------------

    def plan(self, most: int) -> int:
        self._probing = False
        self._kept_all = self._expected = 1.0
        self._look_up(self._source)
        self._most = self._plan(most)
        return self._most

    def _look_up(self, source: str) -> None:
        self._source = source
        self._draft = self._costs.draft(source)
        self._calibration = self._belief.source(source)

    def _plan(self, most: int) -> int:
        if most == 1:
            self._reason = "there is room for one token only"
            return 1
        if self._costs.plain_passes < PLAIN_FIRST:
            self._reason = "measuring what a plain step costs"
            return 1
        belief = self._belief
        if self._promised_for != most or self._promise_age >= PROMISE_KEPT or belief.off:
            self._promised = self._promise(most)
            self._promised_for, self._promise_age = most, 0
        self._promise_age += 1
        promise, widest = self._promised
        plain = 1.0 / self._costs.passes()[1]
        achieved = belief.tokens / belief.cost if belief.cost else promise
        # What was reached alone would keep a poor choice of windows in place, since a low rate makes every draft pay; what
        # is promised alone trusts its estimates too far.
        self._rate = max((achieved + promise) / 2.0, plain)
        if promise >= PAYS * plain:
            if belief.off:
                belief.off, belief.rest = False, SHORTEST_REST
                belief.doubt()
            if self._asked:
                self._reason = f"drafting up to k {most} pays"
                return most
            self._reason = f"k {widest} promises most: this drafter draws its windows whole"
            return widest
        if not belief.off:
            belief.off = True
            belief.until_probe = self._rest()
        if belief.until_probe > 0:
            belief.until_probe -= 1
            steps = belief.until_probe + 1
            self._reason = (
                f"off: drafting costs more than it saves; trying again in {steps} step{'s' * (steps > 1)}"
            )
            return 1
        self._probing = True
        self._reason = "off, but trying one draft: the text may have become easier"
        return 2

    def _promise(self, most: int) -> tuple[float, int]:
        """The most tokens per unit of cost that a window of 2 … `most` promises, and which window that is."""
        passes, draft = self._costs.passes(), self._costs.draft(self._source)
        chance = self._belief.first.value
        follow, tokens, drafts = self._belief.after(chance).value, 1.0, 0.0
        promise, widest = 0.0, 1
        for window in range(2, most + 1):
            tokens += chance
            chance *= follow
            drafts += draft
            rate = tokens / (passes[window] + drafts)
            if rate >= promise:
                promise, widest = rate, window
        return promise, widest

    def _rest(self) -> int:
        """Plain steps before the next try: so many that it costs little of them, and more after each that failed."""
        if not self._costs.timed(self._source):
            return SHORTEST_REST  # what drafting costs is a guess yet
        passes = self._costs.passes()
        extra = (passes[2] - passes[1] + 2.0 * self._costs.draft(self._source)) / passes[1]
        enough = extra / PROBE_SHARE
        return round(min(max(self._belief.rest, enough), max(LONGEST_REST, enough)))

    # -- within the proposal ------------------------------------------------------------------------------------

    def more(self, drafted: int, confidence: float, source: str) -> bool:
        self._asked = True
        if source != self._source:
            self._look_up(source)
        chance = self._calibration.rate(confidence)
        self._kept_all = kept = self._kept_all * chance
        self._expected += kept
        follow = self._next = self._belief.follow[bisect_right(LIKELY, chance)].value
        passes, base, gain = self._passes, self._passes[drafted + 1], kept * follow
        rate = self._rate
        if drafted + 1 < self._most and gain > rate * (self._draft + passes[drafted + 2] - base):
            return True
        chance, draft = gain, self._draft
        for ahead in range(2, self._most - drafted):
            if chance < 0.01:
                break
            chance *= follow
            gain += chance
            if gain > rate * (draft * ahead + passes[drafted + ahead + 1] - base):
                return True
        self._stop(drafted, kept * follow, rate * (draft + passes[drafted + 2] - base))
        return False

    def _stop(self, drafted: int, kept: float, needed: float) -> None:
        wanted = "which cannot pay" if needed > 1.0 else f"it must reach {needed:.2f} to pay"
        self._reason = f"stopped at {drafted}: draft {drafted + 1} would be kept with {kept:.2f}, {wanted}"

    def choice(self) -> WindowChoice:
        costs = self._costs
        if not costs.known:
            return WindowChoice(self.name, self._reason)
        unit = costs.unit_ns * MS
        return WindowChoice(
            self.name,
            self._reason,
            (
                ("draft_ms", costs.draft(self._source) * unit),
                ("verify_ms", costs.passes()[self._most] * unit),
                ("plain_ms", costs.passes()[1] * unit),
                ("expected_tokens", self._expected),
                ("first_kept", self._belief.first.value),
                ("next_kept", self._next),
            ),
        )

    # -- after the step -----------------------------------------------------------------------------------------

    def observe(self, outcome: StepOutcome) -> None:
        costs, sources = self._costs, outcome.sources
        drafts = len(sources)
        costs.observe_pass(outcome.window, outcome.verify_ns + outcome.other_ns)
        if drafts > 1 and self._expected == 1.0:
            # A window drawn in one go: its length is settled before the first token is known.
            self._asked = False
        spent = costs.passes()[outcome.window]
        if drafts:
            last = self._source = sources[-1]
            # Nearly always one source alone.
            counts = {last: drafts} if sources.count(last) == drafts else Counter(sources)
            if not self._catches_up:
                costs.observe_drafts(counts, outcome.draft_ns)
            self._learn(outcome)
            for source, count in counts.items():
                spent += costs.draft(source) * count
        # A drafter that was not asked reads next what it missed: its time then says nothing about a token's cost.
        self._catches_up = not drafts
        belief = self._belief
        belief.tokens = belief.tokens * RATE_MEMORY + outcome.accepted + 1
        belief.cost = belief.cost * RATE_MEMORY + spent
        if self._probing and drafts:
            self._after_probe(kept=outcome.accepted > 0)

    def _learn(self, outcome: StepOutcome) -> None:
        belief, accepted, sources = self._belief, outcome.accepted, outcome.sources
        following, read = belief.first, set[str]()
        for place in range(outcome.tested):
            kept = place < accepted
            following.learn(kept=kept)
            source = sources[place]
            read.add(source)
            chance = belief.source(source).learn(outcome.confidences[place], kept=kept)
            following = belief.follow[bisect_right(LIKELY, chance)]
        for source in read:
            belief.source(source).read()

    def _after_probe(self, *, kept: bool) -> None:
        """A draft that was kept is followed by the next try at once, so that an easy text is heard within a few steps."""
        belief = self._belief
        if kept:
            belief.rest, belief.until_probe = SHORTEST_REST, 0
        else:
            belief.rest = min(belief.rest * BACKOFF, LONGEST_REST)
            belief.until_probe = self._rest()
