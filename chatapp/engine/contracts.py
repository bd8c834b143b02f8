"""The nouns of the engine as Protocols. The loop knows these and no implementation's name.

Shapes: V is the vocabulary that target and draft share, n a number of rows. Logits are CPU tensors, distributions
(`distribution.Row`) numpy arrays, both float32 (float64 for the `toy` backend, so that tests can be exact).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from chatapp.domain.events import ModelInfo, WindowChoice
from chatapp.domain.request import SamplingSettings
from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams

if TYPE_CHECKING:
    from chatapp.engine.sequence import CachedSequence

MODEL_FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    OSError,
    AttributeError,
    AssertionError,
)
"""What a model can die of, other people's code included (torch raises RuntimeError for out of memory too). In the draft it
ends speculation, in the target the reply."""


class PartFailed(RuntimeError):
    """A plugin's drafter or model failed; the message names it and says how."""


class CausalModel(Protocol):
    """A decoder whose KV is addressed by position: rewinding is simply starting at a smaller position."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def vocabulary(self) -> int:
        """V of the logits it returns."""
        ...

    @property
    def context_limit(self) -> int:
        """Positions that its KV can hold."""
        ...

    @property
    def prefill_rows(self) -> int:
        """The most ids that one `forward` should get, so that a cancel is heard between calls."""
        ...

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """Compute KV for `ids` at positions `start`, `start`+1, … and return the logits of the last `rows` of them.

        Positions below `start` must have been computed before; KV at `start` and above is overwritten or dropped.
        Returns `[rows, V]`, which belong to the caller: a later call must not write into them, since rows are looked at lazily,
        and the caller may.
        """
        ...

    def traffic(self, count: int, start: int) -> int:
        """Bytes that a forward of `count` ids at `start` must read from memory at least: every weight once, and the KV in
        front. 0 where that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a record says of where the models run. `words` is what a person would call the device; `versions` are
    `(package, version)` of what computes there. `watch` is called when a reply begins, and what it gave when it ends: what
    the record should say of the device meanwhile, empty for nothing."""

    words: str
    simulated: bool = False
    versions: tuple[tuple[str, str], ...] = ()
    watch: Callable[[], Callable[[], str]] = lambda: lambda: ""


@runtime_checkable
class ChunkingModel(Protocol):
    """A model whose passes have compiled sizes: it knows best how a long piece of text is cut, and what reading it costs."""

    @property
    def compiled_windows(self) -> tuple[int, ...]:
        """Rows that a pass was compiled for, ascending: one of another length is padded to the next of them."""
        ...

    def next_chunk(self, count: int, start: int) -> int:
        """How many of `count` ids at `start` the next `forward` should get, 1 … `count`, so that it is one launch and a
        cancel is heard behind it."""
        ...

    def worth_keeping(self, common: int, total: int) -> int:
        """How many of `common` computed positions a text of `total` ids should build on: `common`, or 0 where reading it
        all afresh costs less."""
        ...


class Clock(Protocol):
    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...


class Control(Protocol):
    """What a person may change while a reply runs. Read once at the start of each verify step; `cancelled` between calls."""

    @property
    def window(self) -> int: ...

    @property
    def speculation(self) -> bool: ...

    @property
    def acceptor(self) -> str: ...

    @property
    def policy(self) -> str: ...

    @property
    def cancelled(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """A drafter's window: `ids[i]` was drawn from exactly `rows[i]` — same numbers, same dtype; a token that was not sampled
    comes with `one_hot`. `sources[i]` names who proposed it, `confidences[i]` is what its drafter thought of it, in 0..1: a
    guess for window policies, which plays no part in acceptance. Each may be left out."""

    ids: tuple[int, ...] = ()
    rows: tuple[Row, ...] = ()
    sources: tuple[str, ...] = ()
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an acceptor decided: the first `accepted` drafts are kept, then comes `final_id`, a correction if a draft was
    rejected and a bonus if none was. `draws[i]` is the uniform number that tested draft i, None where none is drawn."""

    accepted: int
    final_id: int
    draws: tuple[float | None, ...]
    residual_fallbacks: int = 0


TargetRows = Callable[[int], Row]
"""`target_rows(i)`: the target's row at window position i, processed when first asked for (rows behind a rejection never are)."""


class Acceptor(Protocol):
    """A rule that keeps or corrects drafts. One instance serves one run.

    `position` is the absolute position of the token that is drawn (prompt included), the same whatever the window.
    """

    @property
    def name(self) -> str: ...

    @property
    def lossless(self) -> bool:
        """The output's distribution is the target's."""
        ...

    def draw_draft(self, row: Row, position: int) -> int:
        """Draw the drafter's token."""
        ...

    def draw_target(self, row: Row, position: int) -> int:
        """Draw a token from the target alone (after prefill, and for k = 1)."""
        ...

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        """Test the drafts in order; `position` is the first draft's. `target_rows` has len(proposal.ids) + 1 rows."""
        ...


class Budget(Protocol):
    """How far a proposal may go. `more` is asked after every proposed token that others could follow."""

    @property
    def count(self) -> int:
        """The most tokens that may be proposed."""
        ...

    @property
    def cancelled(self) -> bool: ...

    def more(self, confidence: float, source: str) -> bool:
        """Whether one more is worth its cost, after a token of this confidence. That token itself stays in the proposal and
        is tested: to drop it for what it turned out to be would bias the output."""
        ...


class Drafter(Protocol):
    """Anything that proposes tokens for the window after `prefix` (prompt and reply, the pending token included)."""

    @property
    def bytes_read(self) -> int:
        """Bytes that all its passes had to read so far (`CausalModel.traffic`); 0 for drafters without a model."""
        ...

    def begin(self, prompt: list[int]) -> None:
        """A new reply: forget everything that is not a beginning of its prompt."""
        ...

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        """Bring the drafter's own state to `prefix` less its last token, as far as it lags; returns positions computed."""
        ...

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        """At most `budget.count` tokens, ending early when the budget says so; none where it has nothing to propose."""
        ...

    def exhausted(self, prefix: Sequence[int]) -> bool:
        """No proposal can come any more in this reply (the draft's context is full, say)."""
        ...

    def rewind(self, length: int) -> None:
        """Forget everything behind the first `length` tokens of the prefix."""
        ...


@dataclass(frozen=True, slots=True)
class FusedStep:
    """A whole window at once. `rows[i]` knows the probability of every token that the record asks of row i, and may know no
    other. `timings_ns` are those of drafting, verifying and accepting as the device saw them."""

    proposal: Proposal
    verdict: Verdict
    rows: Mapping[int, Row]
    timings_ns: tuple[int, int, int]


class FusedDraftFailed(RuntimeError):
    """The draft's part of a fused window failed. The target's part can be had alone, with a window of no drafts."""


class FusedWindow(Protocol):
    """Draft, verify and accept in one go where the models live, for one reply. Means the same as the steps one by one."""

    def serves(self, acceptor: str) -> bool:
        """Whether windows of this rule can be had here. Asked at every step: the rule may change."""
        ...

    def step(self, acceptor: str, prefix: Sequence[int], count: int) -> FusedStep:
        """At most `count` drafts behind `prefix`, of which the target lacks the last token and the draft at most two; they
        are tested, and a token follows. The sequences' lengths grow by what was computed, and on an exception not at all.

        Raises `FusedDraftFailed`, and `sampling.NotFinite` for the target's logits.
        """
        ...


@dataclass(frozen=True, slots=True)
class FusingContext:
    """What a fused window is made of. `draft` None: its windows have no drafts; `vocabulary` is what both sides share."""

    target: CachedSequence
    draft: CachedSequence | None
    settings: SamplingSettings
    streams: Streams
    ends: frozenset[int]
    vocabulary: int


@runtime_checkable
class FusingModel(Protocol):
    """A target that may be able to fuse windows."""

    def fuse(self, context: FusingContext) -> FusedWindow | None:
        """None where this draft or these settings need the steps one by one."""
        ...


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a verify step cost and gave, for window policies. `window` is the k that was verified (drafts + 1); `tested` of
    the drafts had a test of their own, the first `accepted` of them were kept. `sources` and `confidences` have one of each
    draft. `draft_ns` includes catching up; `other_ns` is sampling and host work."""

    window: int
    sources: tuple[str, ...]
    confidences: tuple[float, ...]
    accepted: int
    tested: int
    draft_ns: int
    verify_ns: int
    other_ns: int


class WindowPolicy(Protocol):
    """Chooses each step's window. One instance lives as long as its pair is loaded, so what it learnt serves the next reply;
    calls come in the order `begin`, then per step `plan`, `more`…, `choice`, `observe`.

    It may look at distributions and at tokens already proposed, never at anything that follows from a token's test before
    that test is over: then any acceptor stays lossless.
    """

    @property
    def name(self) -> str: ...

    def begin(self, drafter: str, acceptor: str) -> None:
        """A new reply, with these."""
        ...

    def plan(self, most: int) -> int:
        """k of the next step, 1 … `most` (what the slider, the reply's and the context's end leave)."""
        ...

    def more(self, drafted: int, confidence: float, source: str) -> bool:
        """After the `drafted`-th proposed token: whether to draft one more. See `Budget.more`."""
        ...

    def choice(self) -> WindowChoice:
        """What was decided for this step, and why."""
        ...

    def observe(self, outcome: StepOutcome) -> None:
        """The step is over."""
        ...
