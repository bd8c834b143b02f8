"""What a run is made of, and a verify step while it is under way. The loop's own values; nothing here runs a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatapp.domain.events import StepCommitted, WindowChoice
from chatapp.domain.tokens import DraftOutcome
from chatapp.engine.contracts import (
    Acceptor,
    Clock,
    Control,
    Drafter,
    FusedWindow,
    Proposal,
    StepOutcome,
    WindowPolicy,
)
from chatapp.engine.distribution import Row
from chatapp.engine.reply import Text
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of. `acceptor` and `policy` give the part of a name, the same one each time: both may change while
    the reply runs. `drafter` None: the target alone."""

    target: CachedSequence
    drafter: Drafter | None
    acceptor: Callable[[str], Acceptor]
    policy: Callable[[str], WindowPolicy]
    processor: Processor
    text: Text
    clock: Clock
    draft_cached: Callable[[], int] = lambda: 0
    fused: FusedWindow | None = None
    """Windows in one go, for the rules that it serves."""
    after_step: Callable[[StepOutcome], str | None] = lambda _: None
    """Told of every verify step; what it answers goes out as a notice `threads`: the governor changed their number."""
    troubles: Callable[[], Sequence[str]] = lambda: ()
    """Asked after every verify step: what went wrong in a plugin's part that the reply can do without. Each goes out as a
    notice `plugin_failed`."""
    remark: Callable[[], str] = lambda: ""
    """Asked when the reply has ended: what is to be said of its device. Goes out as a notice `device`."""


@dataclass(slots=True)
class Step:
    """A verify step under way."""

    started_ns: int
    asked: int
    speculation: bool
    acceptor: Acceptor
    policy_name: str
    policy: WindowPolicy | None = None
    proposal: Proposal = field(default_factory=Proposal)
    rows: dict[int, Row] = field(default_factory=dict)
    choice: WindowChoice | None = None
    draft_ns: int = 0
    verify_ns: int = 0
    sample_ns: int = 0
    draft_bytes: int = 0
    verify_bytes: int = 0


class StepBudget:
    """Implements `contracts.Budget` for one proposal."""

    __slots__ = ("_control", "_drafted", "_policy", "count")

    def __init__(self, count: int, policy: WindowPolicy, control: Control) -> None:
        self.count = count
        self._policy = policy
        self._control = control
        self._drafted = 0

    @property
    def cancelled(self) -> bool:
        return self._control.cancelled

    def more(self, confidence: float, source: str) -> bool:
        self._drafted += 1
        return self._drafted < self.count and self._policy.more(self._drafted, confidence, source)


def outcome_of(step: StepCommitted, proposal: Proposal) -> StepOutcome:
    """What window policies are told of a committed step. A drafter need not say what it thinks of its tokens; what it drew
    them with is as good a guess."""
    tested = sum(draft.outcome is not DraftOutcome.UNTESTED for draft in step.drafted)
    return StepOutcome(
        window=step.window,
        sources=proposal.sources or ("",) * len(proposal.ids),
        confidences=proposal.confidences or tuple(map(Row.prob, proposal.rows, proposal.ids)),
        accepted=step.accepted,
        tested=tested,
        draft_ns=step.draft_ns,
        verify_ns=step.verify_ns,
        other_ns=step.sample_ns + step.host_ns,
    )
