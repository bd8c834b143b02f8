"""What the engine tells while a reply runs. A run is the sequence

    RunStarted, Prefilled("target"), StepCommitted(0), Prefilled("draft")?, StepCommitted(1), …, RunEnded

with `Notice` and `PrefillProgress` anywhere between. Exactly one `RunEnded` closes it, whatever happens. All values are
plain Python; all `*_ns` are nanoseconds on the engine's monotonic clock **since the request was submitted**, stamped on
the engine thread, so that a slow screen never enters a metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from chatapp.domain.request import GenerationRequest
from chatapp.domain.tokens import CommittedToken, DraftedToken


class EndReason(str, Enum):
    END_OF_TEXT = "end_of_text"
    STOP_STRING = "stop_string"
    MAX_TOKENS = "max_tokens"
    CONTEXT_FULL = "context_full"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One side of a pair as it is loaded. `weights_sha256` is of the weight files in name order; may be empty for toys.

    `runs_on` says for people which code computes it, and why: "fast path, bfloat16, rows exact".
    """

    name: str
    architecture: str
    parameters: int
    dtype: str
    weights_sha256: str
    runs_on: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run happened: everything needed to say what its numbers mean.

    `versions` are `(package, version)`. `simulated` is True when any latency was not the device's own. `bandwidth` is how
    many bytes per second the device read from memory when that was measured at start-up; 0 where it was not.
    """

    backend: str
    device: str
    threads: int
    target: ModelInfo
    draft: ModelInfo | None
    context_limit: int
    vocabulary: int
    versions: tuple[tuple[str, str], ...]
    platform: str
    simulated: bool = False
    bandwidth: float = 0.0


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The request was accepted by the engine. `started_at` is ISO 8601 UTC. `acceptor`, `drafter` and `policy` are those
    really used (`greedy` at temperature 0, no drafter without a draft); the last two are empty in old records."""

    run_id: str
    started_at: str
    request: GenerationRequest
    acceptor: str
    lossless: bool
    environment: Environment
    prompt_tokens: int
    drafter: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`done` of `total` positions of the target's prefill are computed."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Prefilled:
    """`model` ("target" or "draft") computed `positions` prompt positions and reused `reused` from the last turn."""

    model: str
    positions: int
    reused: int
    duration_ns: int


Estimates = tuple[tuple[str, float], ...]


class WindowChoice:
    """What a window policy decided for one step, and from what. `reason` is one sentence for people. `estimates` are named
    figures, in ms, tokens, or probabilities as the name says (`draft_ms`, `verify_ms`, `expected_tokens`); policies choose
    their own. Compares by what it says; not to be changed."""

    __slots__ = ("_said", "policy")

    def __init__(self, policy: str, reason: str, estimates: Estimates = ()) -> None:
        self.policy = policy
        self._said: tuple[str, Estimates] | Callable[[], tuple[str, Estimates]] = (reason, estimates)

    @classmethod
    def told_when_asked(cls, policy: str, tell: Callable[[], tuple[str, Estimates]]) -> WindowChoice:
        """`tell` gives reason and estimates, always the same. Hardly any step is ever asked for its reason, and putting it
        into words takes longer than deciding."""
        choice = cls(policy, "")
        choice._said = tell
        return choice

    def _told(self) -> tuple[str, Estimates]:
        said = self._said  # looked at once: the window's thread and the store's may ask at the same time
        if not isinstance(said, tuple):
            said = self._said = said()
        return said

    @property
    def reason(self) -> str:
        return self._told()[0]

    @property
    def estimates(self) -> Estimates:
        return self._told()[1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WindowChoice):
            return NotImplemented
        return (self.policy, self._told()) == (other.policy, other._told())

    def __hash__(self) -> int:
        return hash((self.policy, self._told()))

    def __reduce__(self) -> tuple[type[WindowChoice], tuple[str, str, Estimates]]:
        return WindowChoice, (self.policy, self.reason, self.estimates)

    def __repr__(self) -> str:
        return f"WindowChoice({self.policy!r}, {self.reason!r}, {self.estimates!r})"


@dataclass(frozen=True, slots=True)
class StepCommitted:
    """One verify step (step 0: the target's prefill, which yields the first token).

    `window` is the k that was used, `window_asked` the slider's value at the start of the step, `speculation` the
    toggle. `window` < `window_asked` near the end of the reply or of the context, or when speculation is off (then 1).
    `drafted` are all proposals; `tokens` the committed ones: accepted ones in order, then one of another kind (absent
    when the reply ended inside the window). `draft_ns` + `verify_ns` + `sample_ns` + `host_ns` = `ended_ns` −
    `started_ns`. `visible_chars` is the number of characters of the reply that may be shown: less than the text so far
    while its tail might become a stop string. `residual_fallbacks` counts residuals of (near) zero mass. `choice` is the
    window policy's, None in old records and in step 0; `acceptor` the rule of this step (it can change in mid-run), empty
    in old records, and `lossless` whether that rule leaves the target's distribution as it is. `draft_bytes` and
    `verify_bytes` are the least that the passes of this step had to read from memory (weights and KV); 0 where the
    backend cannot say.
    """

    index: int
    window: int
    window_asked: int
    speculation: bool
    drafted: tuple[DraftedToken, ...]
    tokens: tuple[CommittedToken, ...]
    accepted: int
    started_ns: int
    ended_ns: int
    draft_ns: int
    verify_ns: int
    sample_ns: int
    host_ns: int
    visible_chars: int
    residual_fallbacks: int = 0
    choice: WindowChoice | None = None
    draft_bytes: int = 0
    verify_bytes: int = 0
    acceptor: str = ""
    lossless: bool = True


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should see while the run goes on (the draft failed, say). `code` is stable, for tests and UI."""

    code: str
    message: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over.

    `tail_text` is what the decoder still held (an incomplete character, shown as U+FFFD); it belongs to the last token.
    `visible_chars` is the final length of the reply's text: what stands behind it is a stop string and not part of it.
    `target_cached` and `draft_cached` are the positions whose KV stays for the next turn. `error` is set when failed.
    """

    reason: EndReason
    ended_ns: int
    tail_text: str
    visible_chars: int
    target_cached: int
    draft_cached: int
    error: str = ""


RunEvent = RunStarted | PrefillProgress | Prefilled | StepCommitted | Notice | RunEnded
