"""A run is a record: the fold of its events. Text, colours, plot, numbers and export are projections of it.

Nothing here knows a screen, a file or a clock. `RunRecord.apply` is the only way a record changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from typing_extensions import assert_never

from chatapp.domain.events import (
    EndReason,
    Notice,
    Prefilled,
    PrefillProgress,
    RunEnded,
    RunEvent,
    RunStarted,
    StepCommitted,
)
from chatapp.domain.request import chooses_by_itself
from chatapp.domain.tokens import CommittedToken, DraftedToken, DraftOutcome, TokenKind


@dataclass(frozen=True, slots=True)
class TokenView:
    """A committed token in its place. `index` counts tokens of the reply, `position` its place in the window (0-based);
    `start`:`end` are character offsets in `RunRecord.text`; `rejected` is the draft that this correction replaced."""

    index: int
    step: int
    position: int
    start: int
    end: int
    token: CommittedToken
    rejected: DraftedToken | None

    @property
    def kind(self) -> TokenKind:
        return self.token.kind


@dataclass(frozen=True, slots=True)
class WindowChange:
    """Before character `offset` (step `step`) the asked window, the toggle, the window policy or the acceptor changed.
    `lossless_after` is the acceptor's from here on."""

    step: int
    offset: int
    window_before: int
    window_after: int
    speculation_before: bool
    speculation_after: bool
    policy_before: str = ""
    policy_after: str = ""
    acceptor_before: str = ""
    acceptor_after: str = ""
    lossless_after: bool = True

    @property
    def label(self) -> str:
        """Short text for the mark: `k 5 → 8`, `speculation off`, `speculation on, k 8`, `auto on`, `k up to 8`,
        `acceptor typical (lossy)`; several changes at once are joined by commas."""
        if self.speculation_before and not self.speculation_after:
            return "speculation off"
        window = (
            f"k up to {self.window_after}"
            if chooses_by_itself(self.policy_after)
            else f"k {self.window_after}"
        )
        if self.speculation_after and not self.speculation_before:
            return f"speculation on, {window}"
        parts = [self._policy_words(window), self._acceptor_words()]
        return ", ".join(part for part in parts if part)

    def _policy_words(self, window: str) -> str:
        moved = self.window_before != self.window_after
        if self.policy_before == self.policy_after:
            if not moved:
                return ""
            return (
                window
                if chooses_by_itself(self.policy_after)
                else f"k {self.window_before} → {self.window_after}"
            )
        if not chooses_by_itself(self.policy_after):
            return f"auto off, {window}"
        switch = "policy " + self.policy_after if chooses_by_itself(self.policy_before) else "auto on"
        return f"{switch}, {window}" if moved else switch

    def _acceptor_words(self) -> str:
        if self.acceptor_before == self.acceptor_after:
            return ""
        return f"acceptor {self.acceptor_after}" + ("" if self.lossless_after else " (lossy)")


@dataclass
class RunRecord:
    """One run. Raises `ValueError` from `apply` when events come out of order: that is a defect of the sender."""

    started: RunStarted | None = None
    prefills: list[Prefilled] = field(default_factory=list)
    steps: list[StepCommitted] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    ended: RunEnded | None = None
    progress: PrefillProgress | None = None
    _views: list[TokenView] = field(default_factory=list, repr=False, compare=False)
    _pieces: list[str] = field(default_factory=list, repr=False, compare=False)
    _step_offsets: list[int] = field(default_factory=list, repr=False, compare=False)
    _chars: int = field(default=0, repr=False, compare=False)

    def apply(self, event: RunEvent) -> None:
        if self.ended is not None:
            raise ValueError("event after the end of the run")
        if self.started is None and not isinstance(event, RunStarted):
            raise ValueError("first event of a run must be RunStarted")
        if isinstance(event, RunStarted):
            if self.started is not None:
                raise ValueError("run started twice")
            self.started = event
        elif isinstance(event, PrefillProgress):
            self.progress = event
        elif isinstance(event, Prefilled):
            self.prefills.append(event)
        elif isinstance(event, StepCommitted):
            self._append_step(event)
        elif isinstance(event, Notice):
            self.notices.append(event)
        elif isinstance(event, RunEnded):
            self._close(event)
        else:
            assert_never(event)

    @property
    def simulated(self) -> bool:
        """At least one latency of this run was not the device's own."""
        return self.started is not None and self.started.environment.simulated

    def _append_step(self, step: StepCommitted) -> None:
        if step.index != len(self.steps):
            raise ValueError(f"step {step.index} where {len(self.steps)} was due")
        self.steps.append(step)
        self._step_offsets.append(self._chars)
        for position, token in enumerate(step.tokens):
            rejected: DraftedToken | None = None
            if token.kind is TokenKind.CORRECTION and position < len(step.drafted):
                candidate = step.drafted[position]
                rejected = candidate if candidate.outcome is DraftOutcome.REJECTED else None
            end = self._chars + len(token.text)
            self._views.append(
                TokenView(len(self._views), step.index, position, self._chars, end, token, rejected)
            )
            self._pieces.append(token.text)
            self._chars = end

    def _close(self, event: RunEnded) -> None:
        self.ended = event
        if event.tail_text and self._views:
            last = self._views[-1]
            self._views[-1] = TokenView(
                last.index,
                last.step,
                last.position,
                last.start,
                last.end + len(event.tail_text),
                last.token,
                last.rejected,
            )
            self._pieces.append(event.tail_text)
            self._chars += len(event.tail_text)

    @property
    def visible_chars(self) -> int:
        if self.ended is not None:
            return self.ended.visible_chars
        return self.steps[-1].visible_chars if self.steps else 0

    @property
    def full_text(self) -> str:
        """All decoded characters, a stop string included."""
        return "".join(self._pieces)

    @property
    def text(self) -> str:
        """The reply as it is shown, sent back as history and exported."""
        return self.full_text[: self.visible_chars]

    def text_between(self, start: int, end: int) -> str:
        return self.full_text[start:end]

    def tokens(self, since: int = 0) -> Sequence[TokenView]:
        """Committed tokens from index `since` on, in order; offsets refer to `full_text` and may pass `visible_chars`."""
        return self._views[since:]

    @property
    def token_count(self) -> int:
        return len(self._views)

    def token_at(self, offset: int) -> TokenView | None:
        """The token that owns character `offset` of the text, None outside it."""
        low, high = 0, len(self._views)
        while low < high:
            middle = (low + high) // 2
            if self._views[middle].end <= offset:
                low = middle + 1
            else:
                high = middle
        if offset < 0 or low == len(self._views) or offset >= self.visible_chars:
            return None
        return self._views[low]

    def window_changes(self, since_step: int = 0) -> Iterator[WindowChange]:
        """Every place, from step `since_step` on, where what was asked of the window differs from the step before: its
        size, the toggle, the policy, the acceptor."""
        for index in range(max(since_step, 1), len(self.steps)):
            previous, step = self.steps[index - 1], self.steps[index]
            before, after = self._asked(previous), self._asked(step)
            toggled = previous.speculation != step.speculation
            if toggled or (before != after and step.speculation):
                yield WindowChange(
                    step=step.index,
                    offset=self._step_offsets[index],
                    window_before=previous.window_asked,
                    window_after=step.window_asked,
                    speculation_before=previous.speculation,
                    speculation_after=step.speculation,
                    policy_before=before[1],
                    policy_after=after[1],
                    acceptor_before=before[2],
                    acceptor_after=after[2],
                    lossless_after=step.lossless,
                )

    def _asked(self, step: StepCommitted) -> tuple[int, str, str]:
        """k, policy and acceptor of a step; step 0, which no policy planned, has those that the run started with."""
        policy, acceptor = "", step.acceptor
        if self.started is not None:
            policy, acceptor = self.started.policy, acceptor or self.started.acceptor
        return step.window_asked, step.choice.policy if step.choice else policy, acceptor

    @property
    def lossless(self) -> bool:
        """Whether the text is distributed as the target alone would have it: no draft was judged by a lossy rule. Old steps
        do not name theirs; it was the run's."""
        started = self.started is None or self.started.lossless
        return all(step.lossless if step.acceptor else started for step in self.steps if step.drafted)

    @property
    def running(self) -> bool:
        return self.started is not None and self.ended is None

    @property
    def partial(self) -> bool:
        """The reply was cut short by a person, a failure, or by a limit."""
        whole = (EndReason.END_OF_TEXT, EndReason.STOP_STRING)
        return self.ended is not None and self.ended.reason not in whole


@dataclass
class Turn:
    """A user's message and the run that answered it."""

    prompt: str
    record: RunRecord


@dataclass
class Conversation:
    """Turns in order. `id` is a UUID, `created_at` ISO 8601 UTC."""

    id: str
    title: str
    created_at: str
    turns: list[Turn] = field(default_factory=list)
