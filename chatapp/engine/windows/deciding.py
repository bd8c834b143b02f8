"""One draft more as long as it pays: the adaptive window's decisions over what was learnt.

Committed tokens per second are to be as many as can be. A further draft is worth its cost when

    S · a  >  λ · (c + v(m + 1) − v(m) + h · S · a),

S the chance that every draft so far is kept, a that the next one is, c what drafting it costs, v what verifying costs, h what
a token costs the host, and λ the tokens per second that are reached at present: what the same time would give elsewhere (the
stopping rule of renewal-reward problems; λ is of the text at hand, since its tokens have to be written in any case). All of it
is measured. Where rows are cheap in blocks the gain of several drafts is held against their cost together.

Where no window could beat plain decoding, speculation is off, and tried again now and then.

Functions of records and numbers alone: `compiled` may compile them.
"""

from __future__ import annotations

import math

from chatapp.engine.windows import calibration as calibrating
from chatapp.engine.windows import costs as costing
from chatapp.engine.windows.records import (
    CLASSES,
    EACH,
    LIKELY,
    PRIOR_TESTS,
    SHORTEST_REST,
    START,
    Belief,
    Calibration,
    Costs,
    DraftCost,
)

PLAIN_FIRST = 3
"""Plain steps of a fresh pair: what a pass of one row costs is what everything is held against."""
PLAIN_AGAIN, PLAIN_AT_LEAST = 8, 512
"""A fresh pair's first passes are slow ones: where no plain step was made for so many, one is; for twice as many after each, up
to the second figure. Long windows would else seem cheap for ever."""
RATE_MEMORY = 0.92
"""What is left of tokens and time at each new step: λ is that of some 12 steps."""
FIRST_MEMORY = 0.97
"""The same for how often a window's first draft was kept: some 33 tests."""
FOLLOW_MEMORY = 0.985
"""And for later drafts, given that those before were kept: some 67. Windows of about the same worth else take turns by chance
alone."""
PROBE_SHARE = 0.02
"""While speculation is off, trying it may cost so much of plain decoding."""
LONGEST_REST = 256
"""Plain steps between two tries."""
LONGEST_UNREAD = 1024
"""The same where it is dear to read what was missed. The longer the rest the more there is to read: where a token costs more
than PROBE_SHARE rests would else grow for ever."""
LONGEST_NAP = 15
"""Of these so many pass unseen, then one is looked at: the machine may have changed. To look at each costs 20 to 30 µs, of
steps of 400."""
BACKOFF = 1.5
PROMISE_KEPT = 4
"""Steps that a promise is kept for while speculation is on: it moves slowly, and costs as much as all the rest of a plan."""
KEEPS_ON = 0.95
"""Speculation comes on where it promises as much as plain decoding, and stays on down to so much of it: a few unlucky first
drafts would else turn it off for as many steps as a try is worth."""
MS = 1e-6
LEAST_WORTH = 0.1
"""What the host leaves of a token's worth at least: a rate that is overestimated must not make tokens worthless."""
NEGLIGIBLE = 0.01
"""Drafts ahead that are kept with less than this are not thought of."""

NO_ROOM, MEASURING, DRAFTING, WHOLE, RESTING, TRYING, STOPPED = range(7)
"""Reasons in `Belief.told`."""


def plan(costs: Costs, belief: Belief, draft: DraftCost, most: int, slept: int) -> int:
    """k of the next step, at most `most`, behind `slept` steps of a nap."""
    belief.until_probe = max(belief.until_probe - slept, 0)
    belief.probing = False
    belief.kept_all = belief.expected = 1.0
    belief.stored = 0
    belief.most = _planned(costs, belief, draft, most)
    _sum_up(costs, belief, draft)
    return belief.most


def nap(belief: Belief) -> int:
    """Behind a `plan` of 1: how many steps more are plain whatever they show, which nobody need ask about. The next `plan` is
    told of those that were made."""
    return min(belief.until_probe, LONGEST_NAP) if belief.told[0] == RESTING else 0


def _planned(costs: Costs, belief: Belief, draft: DraftCost, most: int) -> int:
    if most == 1:
        return _tell(belief, NO_ROOM, 1, 0)
    if costs.seen[1] < PLAIN_FIRST or costs.count - costs.latest[1] >= _plain_due(costs):
        return _tell(belief, MEASURING, 1, 0)
    if belief.promised_for != most or belief.promise_age >= PROMISE_KEPT or belief.off:
        _promise(costs, belief, draft, most)
        belief.promised_for, belief.promise_age = most, 0
    belief.promise_age += 1
    plain = 1.0 / (costs.passes[1] + _host(costs, 1.0))
    achieved = belief.tokens / belief.cost if belief.cost > 0.0 else belief.promise
    # What was reached alone would keep a poor choice of windows in place, since a low rate makes every draft pay; what is
    # promised alone trusts its estimates too far.
    belief.rate = max((achieved + belief.promise) / 2.0, plain)
    if belief.promise >= (plain if belief.off else KEEPS_ON * plain):
        if belief.off:
            _doubt(belief)
        if belief.asks:
            return _tell(belief, DRAFTING, most, most)
        return _tell(belief, WHOLE, belief.widest, belief.widest)
    if not belief.off:
        belief.off = True
        belief.until_probe = _rest(costs, belief, draft)
    if belief.until_probe > 0:
        belief.until_probe -= 1
        return _tell(belief, RESTING, 1, belief.until_probe + 1)
    belief.probing = True
    return _tell(belief, TRYING, 2, 0)


def _plain_due(costs: Costs) -> int:
    due = PLAIN_AGAIN
    for _ in range(PLAIN_FIRST, min(costs.seen[1], PLAIN_FIRST + 6)):
        due = min(2 * due, PLAIN_AT_LEAST)
    return due


def _tell(belief: Belief, reason: int, window: int, figure: int) -> int:
    belief.told[0], belief.told[1] = float(reason), float(figure)
    return window


def _doubt(belief: Belief) -> None:
    """The text has changed: what was learnt is kept, and is given up sooner."""
    belief.off, belief.rest = False, float(SHORTEST_REST)
    belief.doubts += 1
    for place in range(1, 1 + CLASSES):
        belief.tests[place] = PRIOR_TESTS


def _promise(costs: Costs, belief: Belief, draft: DraftCost, most: int) -> None:
    """The most tokens per unit of cost that a window of 2 … `most` promises, and which window that is."""
    chance, tokens = belief.chances[0], 1.0
    follow = belief.chances[1 + class_of(chance)]
    belief.promise, belief.widest = 0.0, 1
    for window in range(2, most + 1):
        tokens += chance
        chance *= follow
        rate = tokens / (costs.passes[window] + costing.cost_of(draft, window - 1) + _host(costs, tokens))
        if rate >= belief.promise:
            belief.promise, belief.widest = rate, window


def _host(costs: Costs, tokens: float) -> float:
    return costs.host[START] + costs.host[EACH] * tokens


def _rest(costs: Costs, belief: Belief, draft: DraftCost) -> int:
    """Plain steps before the next try: so many that it costs little of them, and more after each that failed."""
    if draft.timed == 0:
        return SHORTEST_REST  # what drafting costs is a guess yet
    passes = costs.passes
    longer, afforded = passes[2] - passes[1], (passes[1] + _host(costs, 1.0)) * PROBE_SHARE
    at_hand = (longer + costing.cost_of(draft, 2)) / afforded
    enough = min((longer + costing.cost_behind_rest(draft)) / afforded, max(at_hand, float(LONGEST_UNREAD)))
    return int(min(max(belief.rest, enough), max(float(LONGEST_REST), enough)) + 0.5)


def class_of(chance: float) -> int:
    place = 0
    while place < CLASSES - 1 and LIKELY[place] <= chance:
        place += 1
    return place


def _sum_up(costs: Costs, belief: Belief, draft: DraftCost) -> None:
    """The estimates behind a choice: a draft, the window's pass and a plain step in ms, tokens expected, chances of a window's
    first draft and of the next one."""
    scale = math.exp(costs.scale) * MS
    told = belief.told
    told[4] = draft.line[EACH] * scale
    told[5] = costs.passes[belief.most] * scale
    told[6] = (costs.passes[1] + _host(costs, 1.0)) * scale
    told[7] = belief.expected
    told[8] = belief.chances[0]
    told[9] = belief.following


def more(
    costs: Costs, belief: Belief, calibration: Calibration, draft: DraftCost, drafted: int, confidence: float
) -> bool:
    """After the `drafted`-th token of this confidence: whether one more is worth its cost."""
    worth = _worth(costs, belief, calibration, draft, drafted, confidence)
    _sum_up(costs, belief, draft)
    return worth


def _worth(
    costs: Costs, belief: Belief, calibration: Calibration, draft: DraftCost, drafted: int, confidence: float
) -> bool:
    belief.asks = True
    if drafted == belief.stored + 1:
        belief.confidences[drafted - 1], belief.stored = confidence, drafted
    chance = calibrating.rate_of(calibration, confidence)
    kept = belief.kept_all * chance
    belief.kept_all = kept
    belief.expected += kept
    follow = belief.chances[1 + class_of(chance)]
    belief.following = follow
    passes, base, each = costs.passes, costs.passes[drafted + 1], draft.line[EACH]
    # Of each token's worth the host takes its part.
    price = belief.rate / max(1.0 - belief.rate * costs.host[EACH], LEAST_WORTH)
    chance, gain = kept, 0.0
    for ahead in range(1, max(belief.most - drafted, 2)):
        chance *= follow
        gain += chance
        spent = price * (each * ahead + passes[drafted + ahead + 1] - base)
        if gain > spent and drafted + 1 < belief.most:
            return True
        if ahead == 1:
            belief.told[1], belief.told[2], belief.told[3] = float(drafted), gain, spent
        if chance < NEGLIGIBLE:
            break
    belief.told[0] = float(STOPPED)
    return False


def observe(
    costs: Costs, belief: Belief, calibration: Calibration, draft: DraftCost, window: int, accepted: int, tested: int,
    last_confidence: float, draft_ns: float, verify_ns: float, host_ns: float,
) -> bool:  # fmt: skip
    """A step is over whose drafts, if any, are of one source: all that follows, in one call. `draft_ns` is negative where it
    says nothing about a draft's cost, since what was missed was read first. False, and nothing is done, where confidences of
    more than the last draft are to be remembered first."""
    drafts = window - 1
    if belief.stored < drafts - 1:
        return False
    costing.observe_pass(costs, window, verify_ns)
    costing.observe_host(costs, accepted + 1, host_ns)
    drafted = costing.cost_of(draft, drafts)
    if drafts > 0:
        belief.confidences[drafts - 1] = last_confidence
        if draft_ns >= 0.0:
            costing.observe_draft(costs, draft, drafts, 0.0, draft_ns)
        elif belief.probing:
            costing.observe_draft_behind_rest(costs, draft, -draft_ns)
        learn(belief, calibration, 0, tested, accepted)
    settle(costs, belief, draft, window, accepted, drafted)
    return True


def remember(belief: Belief, place: int, confidence: float) -> None:
    """The confidence of the draft at `place`, which `more` was not told."""
    belief.confidences[place] = confidence
    belief.stored = max(belief.stored, place + 1)


def learn(belief: Belief, calibration: Calibration, begin: int, end: int, accepted: int) -> None:
    """The tests of drafts `begin` … `end` of a window, all of one source, of which the first `accepted` were kept. In order:
    a draft's chance depends on the one before it."""
    if begin == 0:
        belief.behind = 0
    while calibration.doubts < belief.doubts:
        calibrating.doubt(calibration)
    for place in range(begin, end):
        kept = 1.0 if place < accepted else 0.0
        memory = FIRST_MEMORY if belief.behind == 0 else FOLLOW_MEMORY
        belief.tests[belief.behind] += 1
        rate = max(1.0 - memory, 1.0 / belief.tests[belief.behind])
        belief.chances[belief.behind] += rate * (kept - belief.chances[belief.behind])
        chance = calibrating.take_in(calibration, belief.confidences[place], kept)
        belief.behind = 1 + class_of(chance)
    calibrating.read(calibration)


def settle(
    costs: Costs, belief: Belief, draft: DraftCost, window: int, accepted: int, drafted: float
) -> None:
    """A step of `window` rows is over, whose drafts cost `drafted` plain passes."""
    belief.tokens = belief.tokens * RATE_MEMORY + accepted + 1
    belief.cost = belief.cost * RATE_MEMORY + costs.passes[window] + drafted + _host(costs, accepted + 1.0)
    if window > 2 and belief.expected == 1.0:
        # A window drawn in one go: its length is settled before the first token is known.
        belief.asks = False
    if not belief.probing or window == 1:
        return
    if accepted > 0:
        # A draft that was kept is followed by the next try at once, so that an easy text is heard within a few steps.
        belief.rest, belief.until_probe = float(SHORTEST_REST), 0
    else:
        belief.rest = min(belief.rest * BACKOFF, float(LONGEST_REST))
        belief.until_probe = _rest(costs, belief, draft)


ARITHMETIC = (
    _host,
    _plain_due,
    class_of,
    _tell,
    _doubt,
    _promise,
    _rest,
    _planned,
    _sum_up,
    plan,
    nap,
    _worth,
    more,
    observe,
    remember,
    learn,
    settle,
)
