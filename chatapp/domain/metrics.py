"""Numbers projected from records. Definitions are the glossary's; None where a number does not exist (yet).

TTFT: submit → first committed token, s. TPOT: (t_last − t_first) / (n − 1), s per token. Acceptance rate: accepted /
drafted, drafts behind the end of the reply left out. Tested acceptance: accepted / (accepted + rejected at test). Mean acceptance length: committed tokens per
verify step, step 0 (prefill) left out, since it is no verify step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from chatapp.domain.events import StepCommitted
from chatapp.domain.record import RunRecord
from chatapp.domain.tokens import DraftedToken, DraftOutcome, TokenKind

NS_PER_S = 1e9


class Provenance(str, Enum):
    """Where times come from. Those of a rehearsal and measured ones are never put into one figure."""

    NONE = "none"
    MEASURED = "measured"
    SIMULATED = "simulated"
    MIXED = "mixed"

    def joined(self, other: Provenance) -> Provenance:
        """That of both together."""
        if self is other or other is Provenance.NONE:
            return self
        return other if self is Provenance.NONE else Provenance.MIXED


@dataclass(frozen=True, slots=True)
class StepTiming:
    """One verify step as the plot shows it: `tpot_s` = duration / committed tokens; a bar `tokens` wide from `first_token`."""

    index: int
    first_token: int
    tokens: int
    tpot_s: float
    window: int
    speculation: bool
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Metrics:
    """Sums over one or more runs, and the ratios made from the sums (never averages of ratios).

    Where `provenance` is mixed there are counts and no times: a time that is half simulated means nothing.
    """

    tokens: int = 0
    ttft_s: float | None = None
    decode_ns: int = 0
    decode_tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    tested: int = 0
    verify_steps: int = 0
    verify_tokens: int = 0
    counts: tuple[tuple[TokenKind, int], ...] = tuple((kind, 0) for kind in TokenKind)
    provenance: Provenance = Provenance.NONE

    @property
    def tpot_s(self) -> float | None:
        return self.decode_ns / NS_PER_S / self.decode_tokens if self.decode_tokens else None

    @property
    def tokens_per_s(self) -> float | None:
        """Decode speed: the inverse of TPOT; prefill is not in it."""
        return self.decode_tokens / (self.decode_ns / NS_PER_S) if self.decode_ns else None

    @property
    def acceptance_rate(self) -> float | None:
        return self.accepted / self.drafted if self.drafted else None

    @property
    def tested_acceptance(self) -> float | None:
        return self.accepted / self.tested if self.tested else None

    @property
    def mean_acceptance_length(self) -> float | None:
        return self.verify_tokens / self.verify_steps if self.verify_steps else None

    def share(self, kind: TokenKind) -> float | None:
        return dict(self.counts)[kind] / self.tokens if self.tokens else None


def run_metrics(record: RunRecord) -> Metrics:
    """Metrics of one run, finished or not."""
    steps = record.steps
    if not steps:
        return Metrics()
    counts = dict.fromkeys(TokenKind, 0)
    drafted = accepted = tested = verify_steps = verify_tokens = 0
    for step in steps:
        for token in step.tokens:
            counts[token.kind] += 1
        counted = _counted_drafts(step)
        drafted += len(counted)
        for draft in counted:
            accepted += draft.outcome is DraftOutcome.ACCEPTED
            tested += draft.outcome is not DraftOutcome.UNTESTED
        if step.index > 0:
            verify_steps += 1
            verify_tokens += len(step.tokens)
    tokens = sum(counts.values())
    first_ns = steps[0].ended_ns
    return Metrics(
        tokens=tokens,
        ttft_s=first_ns / NS_PER_S if tokens else None,
        decode_ns=steps[-1].ended_ns - first_ns,
        decode_tokens=max(tokens - len(steps[0].tokens), 0),
        drafted=drafted,
        accepted=accepted,
        tested=tested,
        verify_steps=verify_steps,
        verify_tokens=verify_tokens,
        counts=tuple(counts.items()),
        provenance=Provenance.SIMULATED if record.simulated else Provenance.MEASURED,
    )


def _counted_drafts(step: StepCommitted) -> Sequence[DraftedToken]:
    """The step's drafts, less those behind the end of the reply: a window that an accepted token ended has no rest."""
    ended_inside = bool(step.drafted) and len(step.tokens) == step.accepted
    return step.drafted[: step.accepted] if ended_inside else step.drafted


def combined_metrics(parts: Iterable[Metrics]) -> Metrics:
    """The session's metrics: sums of the parts, ratios from the sums; TTFT is the mean of the parts' TTFT. Times of parts
    that were measured and of others that were simulated give none."""
    total = Metrics()
    ttfts: list[float] = []
    for part in parts:
        counts = dict(part.counts)
        if part.ttft_s is not None:
            ttfts.append(part.ttft_s)
        total = Metrics(
            tokens=total.tokens + part.tokens,
            decode_ns=total.decode_ns + part.decode_ns,
            decode_tokens=total.decode_tokens + part.decode_tokens,
            drafted=total.drafted + part.drafted,
            accepted=total.accepted + part.accepted,
            tested=total.tested + part.tested,
            verify_steps=total.verify_steps + part.verify_steps,
            verify_tokens=total.verify_tokens + part.verify_tokens,
            counts=tuple((kind, count + counts[kind]) for kind, count in total.counts),
            ttft_s=sum(ttfts) / len(ttfts) if ttfts else None,
            provenance=total.provenance.joined(part.provenance),
        )
    if total.provenance is Provenance.MIXED:
        return replace(total, ttft_s=None, decode_ns=0, decode_tokens=0)
    return total


def step_timings(record: RunRecord, since_step: int = 0) -> list[StepTiming]:
    """One entry per verify step from `since_step` on (step 0 is TTFT, not TPOT, and is left out)."""
    timings: list[StepTiming] = []
    first_token = sum(len(step.tokens) for step in record.steps[:since_step])
    for step in record.steps[since_step:]:
        count = len(step.tokens)
        if step.index > 0 and count:
            duration_s = (step.ended_ns - step.started_ns) / NS_PER_S
            timings.append(
                StepTiming(
                    step.index,
                    first_token,
                    count,
                    duration_s / count,
                    step.window,
                    step.speculation,
                    record.simulated,
                )
            )
        first_token += count
    return timings


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the passes read from memory at the least, and the time they took; prefill is left out, since it is bound by
    arithmetic. Steps whose bytes the backend could not tell count in neither sum."""

    draft_bytes: int = 0
    draft_ns: int = 0
    verify_bytes: int = 0
    verify_ns: int = 0

    @property
    def draft_rate(self) -> float | None:
        """Bytes per second of the drafter's passes."""
        return self.draft_bytes * NS_PER_S / self.draft_ns if self.draft_ns else None

    @property
    def verify_rate(self) -> float | None:
        """Bytes per second of the target's passes."""
        return self.verify_bytes * NS_PER_S / self.verify_ns if self.verify_ns else None

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.draft_bytes + other.draft_bytes,
            self.draft_ns + other.draft_ns,
            self.verify_bytes + other.verify_bytes,
            self.verify_ns + other.verify_ns,
        )


def run_traffic(record: RunRecord, last_steps: int | None = None) -> Traffic:
    """Memory traffic of a run's verify steps, of the last few alone where `last_steps` says so; none of a simulated run, whose
    bytes are one model's and whose times another's."""
    if record.simulated:
        return Traffic()
    steps = record.steps if last_steps is None else record.steps[-last_steps:]
    decoding = [step for step in steps if step.index > 0]
    drafting = [step for step in decoding if step.draft_bytes]
    verifying = [step for step in decoding if step.verify_bytes]
    return Traffic(
        draft_bytes=sum(step.draft_bytes for step in drafting),
        draft_ns=sum(step.draft_ns for step in drafting),
        verify_bytes=sum(step.verify_bytes for step in verifying),
        verify_ns=sum(step.verify_ns for step in verifying),
    )


def recent_windows(record: RunRecord, last_steps: int = 8) -> float | None:
    """The mean k really used by the last few verify steps that speculated."""
    used = [step.window for step in record.steps[-last_steps:] if step.index > 0 and step.speculation]
    return sum(used) / len(used) if used else None


def current_tpot_s(record: RunRecord, last_steps: int = 8) -> float | None:
    """TPOT over the last few verify steps: the "now" figure, long enough not to flicker."""
    recent = [step for step in record.steps[-last_steps:] if step.index > 0 and step.tokens]
    tokens = sum(len(step.tokens) for step in recent)
    if not tokens:
        return None
    return sum(step.ended_ns - step.started_ns for step in recent) / NS_PER_S / tokens
