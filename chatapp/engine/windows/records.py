"""What the adaptive window remembers, as flat records of numbers: plain Python objects, or fields of one block of memory
where the arithmetic over them is compiled. Nothing is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chatapp.domain.request import MAX_WINDOW

PRIOR_DRAFT = 0.1
"""A drafted token of a source that was never timed, in plain passes."""
WEIGHT, COUNTS, SQUARES, COSTS, PRODUCTS, START, EACH = range(7)
"""A line: what n of something cost, `START + EACH · n` in plain passes, and the sums that it is drawn from."""
EDGES = (0.03, 0.08, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.84, 0.91, 0.95, 0.975, 0.99, 0.998)
"""Borders between bins of confidence."""
CENTRES = tuple((low + high) / 2 for low, high in zip((0.0, *EDGES), (*EDGES, 1.0), strict=True))
BINS = len(CENTRES)
PRIOR_WEIGHT = 1.5
LIKELY = (0.5, 0.8, 0.93, 0.98)
"""Borders between chances of a draft, for what they say of the next one: a sure token is often followed by another."""
CLASSES = len(LIKELY) + 1
PRIOR_KEPT, PRIOR_TESTS = 0.7, 4
TOLD = 10
SHORTEST_REST = 8
"""Plain steps between two tries of a drafter that does not pay, at least."""


def prior(confidence: float) -> float:
    """Kept with this chance, as long as nobody knows better."""
    return 0.2 + 0.78 * confidence


def _sizes() -> list[float]:
    return [0.0] * (MAX_WINDOW + 2)


def _counts() -> list[int]:
    return [0] * (MAX_WINDOW + 2)


def _bins() -> list[float]:
    return [0.0] * BINS


@dataclass(slots=True)
class Costs:
    """What passes cost. `scale` is the logarithm of a plain pass in ns, `relative[k]` that of a pass of k rows over it,
    `passes[k]` the curve drawn through them, in plain passes; the rest counts passes. Index 0 is unused. `host` is the line of
    sampling and host work over the tokens of a step."""

    known: bool = False
    scale: float = 0.0
    count: int = 0
    seen: list[int] = field(default_factory=_counts)
    latest: list[int] = field(default_factory=_counts)
    relative: list[float] = field(default_factory=_sizes)
    passes: list[float] = field(default_factory=_sizes)
    timed: int = 0
    host: list[float] = field(default_factory=lambda: [0.0] * 7)
    # While a curve is drawn: blocks of sizes that cost the same.
    values: list[float] = field(default_factory=_sizes)
    weights: list[float] = field(default_factory=_sizes)
    lasts: list[int] = field(default_factory=_counts)


@dataclass(slots=True)
class DraftCost:
    """What drafts of one source cost, by their number: to begin, and each."""

    timed: int = 0
    line: list[float] = field(default_factory=lambda: [0.0] * EACH + [PRIOR_DRAFT])
    behind_rest: float = 0.0
    """What the draft of a try took, which reads first what was written in the rest; 0: not known yet."""


@dataclass(slots=True)
class Calibration:
    """One source of drafts under one acceptance rule, by bins of confidence: weights of tests and of those kept, and the
    share drawn through them."""

    kept: list[float] = field(default_factory=lambda: [prior(centre) * PRIOR_WEIGHT for centre in CENTRES])
    tested: list[float] = field(default_factory=lambda: [PRIOR_WEIGHT] * BINS)
    rates: list[float] = field(default_factory=lambda: [prior(centre) for centre in CENTRES])
    young: bool = False
    unread: int = 0
    doubts: int = 0
    """How many changes of the text were heeded."""
    # While shares are drawn: neighbours that were pooled.
    pooled_kept: list[float] = field(default_factory=_bins)
    pooled_tested: list[float] = field(default_factory=_bins)
    widths: list[int] = field(default_factory=lambda: [0] * BINS)


@dataclass(slots=True)
class Belief:
    """What was learnt of drafts under one acceptance rule, and the step at hand.

    `chances[0]` is that of a window's first draft, `chances[1 + c]` of the one behind a draft of chance class c, given that
    it was kept. `tokens` over `cost` is the rate of the last steps, in tokens per plain step.
    """

    chances: list[float] = field(default_factory=lambda: [PRIOR_KEPT] * (1 + CLASSES))
    tests: list[int] = field(default_factory=lambda: [PRIOR_TESTS] * (1 + CLASSES))
    tokens: float = 0.0
    cost: float = 0.0
    off: bool = False
    rest: float = float(SHORTEST_REST)
    until_probe: int = 0
    asks: bool = True
    """The drafter asks after every token whether to go on; others draw a window in one go."""
    promise: float = 0.0
    """The most tokens per plain step that any window promises, and which that is, up to which size, and for how many steps."""
    widest: int = 1
    promised_for: int = 0
    promise_age: int = 0
    # The step at hand.
    most: int = 1
    rate: float = 1.0
    probing: bool = False
    kept_all: float = 1.0
    expected: float = 1.0
    following: float = PRIOR_KEPT
    behind: int = 0
    """The chance that the next test is of, while a window's tests are read."""
    stored: int = 0
    confidences: list[float] = field(default_factory=_sizes)
    """Of the drafts so far, `stored` of them."""
    told: list[float] = field(default_factory=lambda: [0.0] * TOLD)
    """What was decided, in `deciding`'s terms: a reason and three figures of it, then the estimates it was made of."""
    doubts: int = 0
    """How often the text has changed."""
