"""The loop: prefill → draft → verify → accept → commit → rewind, as a generator of events.

Plain decoding is k = 1 in the same loop. Between steps the caches hold the committed tokens less the pending one (the
last, which the target has not read yet). A verify step feeds the target the pending token and g ≤ k − 1 drafts, and gets
g + 1 distributions back: one to test each draft with, one more for the bonus.

This module must not know any backend, tokenizer library, thread or screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from chatapp.domain.errors import GenerationFailed
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
from chatapp.domain.request import GenerationRequest
from chatapp.domain.tokens import CommittedToken, DraftedToken, DraftOutcome, TokenKind
from chatapp.engine.contracts import Acceptor, Clock, Control, Drafter, Proposal, Row, Verdict
from chatapp.engine.detokenizer import Detokenizer, StopMatcher
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence

MODEL_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, OSError)
"""What a model can die of (torch raises RuntimeError for out of memory too). In the draft it ends speculation, in the
target the reply."""


@dataclass(frozen=True, slots=True)
class Text:
    """The tokenizer as the loop needs it."""

    decode: Callable[[Sequence[int]], str]
    piece: Callable[[int], str]
    eos_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Timings:
    started_ns: int
    draft_ns: int
    verify_ns: int
    sample_ns: int


class SpeculativeRun:
    """One reply. Iterate `events()` once; leaving the iteration early leaves valid caches."""

    def __init__(
        self,
        *,
        started: RunStarted,
        prompt_ids: Sequence[int],
        target: CachedSequence,
        drafter: Drafter | None,
        acceptor: Acceptor,
        processor: Processor,
        control: Control,
        text: Text,
        clock: Clock,
        submitted_ns: int,
        draft_cached: Callable[[], int] = lambda: 0,
    ) -> None:
        self._started = started
        self._request: GenerationRequest = started.request
        self._target = target
        self._drafter = drafter
        self._acceptor = acceptor
        self._processor = processor
        self._control = control
        self._text = text
        self._clock = clock
        self._submitted_ns = submitted_ns
        self._draft_cached = draft_cached
        self._ids = list(prompt_ids)
        self._prompt_length = len(prompt_ids)
        self._steps = 0
        self._detokenizer = Detokenizer(text.decode)
        self._stops = StopMatcher(self._request.sampling.stop)
        self._visible = 0
        self._end: EndReason | None = None

    def events(self) -> Iterator[RunEvent]:
        """The run's story. Always ends in exactly one `RunEnded`, unless the consumer leaves before."""
        error = ""
        yield self._started
        try:
            yield from self._prefill()
            while self._end is None:
                yield from self._verify_step()
        except GenerationFailed as failure:
            self._end, error = EndReason.FAILED, str(failure)
        except MODEL_FAILURES as failure:
            self._end, error = EndReason.FAILED, f"The target model failed: {failure}"
        finally:
            self._rewind()
        if error:
            # What a model wrote into its KV before it failed is not to be trusted in the next turn.
            self._target.rewind(0)
        yield self._ended(error)

    # -- prefill ------------------------------------------------------------------------------------------------

    def _prefill(self) -> Iterator[RunEvent]:
        """Target first, and its first token goes out before the draft reads the prompt."""
        started_ns = self._now()
        reused = self._target.keep_common_prefix(self._ids, len(self._ids) - 1)
        if self._drafter is not None:
            self._drafter.begin(self._ids)
        missing = self._ids[reused:]
        yield from self._prefill_chunks(missing)
        if self._end is not None:
            return
        verify_ns = self._now() - started_ns
        yield Prefilled("target", len(missing), reused, verify_ns)
        sampling_ns = self._now()
        row = self._target_row(self._first_logits, ())
        token = self._acceptor.draw_target(row, len(self._ids))
        timings = Timings(started_ns, 0, verify_ns, self._now() - sampling_ns)
        yield self._commit(timings, 1, Proposal((), ()), Verdict(0, token, ()), {0: row}, TokenKind.TARGET)

    def _prefill_chunks(self, missing: Sequence[int]) -> Iterator[RunEvent]:
        step = self._target.model.prefill_rows
        for begin in range(0, len(missing), step):
            if self._cancelled():
                self._end = EndReason.CANCELLED
                return
            self._first_logits = self._target.advance(missing[begin : begin + step], rows=1)[0]
            if len(missing) > step:
                yield PrefillProgress(min(begin + step, len(missing)), len(missing))

    # -- one verify step ----------------------------------------------------------------------------------------

    def _verify_step(self) -> Iterator[RunEvent]:
        control = self._control
        if self._cancelled():
            self._end = EndReason.CANCELLED
            return
        started_ns = self._now()
        asked, speculation = control.window, control.speculation
        window = self._window(asked) if speculation and self._drafter is not None else 1
        proposal = Proposal((), ())
        if window > 1:
            proposal, notices = self._draft(window - 1)
            yield from notices
        if self._cancelled():
            self._end = EndReason.CANCELLED
            return
        drafted_ns = self._now()
        logits = self._target.advance([self._ids[-1], *proposal.ids], rows=len(proposal.ids) + 1)
        verified_ns = self._now()
        rows: dict[int, Row] = {}

        def target_row(index: int) -> Row:
            if index not in rows:
                rows[index] = self._target_row(logits[index], proposal.ids[:index])
            return rows[index]

        if proposal.ids:
            verdict = self._acceptor.verify(proposal, target_row, len(self._ids))
            kind = TokenKind.BONUS if verdict.accepted == len(proposal.ids) else TokenKind.CORRECTION
        else:
            verdict = Verdict(0, self._acceptor.draw_target(target_row(0), len(self._ids)), ())
            kind = TokenKind.TARGET
        timings = Timings(
            started_ns, drafted_ns - started_ns, verified_ns - drafted_ns, self._now() - verified_ns
        )
        yield self._commit(timings, len(proposal.ids) + 1, proposal, verdict, rows, kind, asked, speculation)

    def _window(self, asked: int) -> int:
        """k for this step: what is asked, less what the reply's or the context's end leaves no room for."""
        left = self._request.sampling.max_tokens - (len(self._ids) - self._prompt_length)
        room = self._target.model.context_limit - len(self._ids) + 1
        return max(1, min(asked, left, room))

    def _draft(self, count: int) -> tuple[Proposal, list[RunEvent]]:
        """Up to `count` drafts, and the events that go with it. A failing draft ends speculation for this run."""
        drafter = self._drafter
        assert drafter is not None
        notices: list[RunEvent] = []
        cancelled = self._cancelled
        try:
            begin_ns = self._now()
            computed = drafter.catch_up(self._ids, cancelled)
            if computed and not cancelled():
                reused = len(self._ids) - 1 - computed
                notices.append(Prefilled("draft", computed, reused, self._now() - begin_ns))
            proposal = Proposal((), ())
            if not cancelled():
                proposal = drafter.propose(self._ids, count, cancelled)
            if not proposal.ids and not cancelled():
                self._drafter = None
                message = "The draft model's context is full: from here the target answers alone."
                notices.append(Notice("draft_context_full", message, self._now()))
            return proposal, notices
        except MODEL_FAILURES as failure:
            # What a model wrote into its KV before it failed is not to be trusted in the next turn either.
            drafter.rewind(0)
            self._drafter = None
            message = f"The draft model failed ({failure}): from here the target answers alone."
            notices.append(Notice("draft_failed", message, self._now()))
            return Proposal((), ()), notices

    def _cancelled(self) -> bool:
        return self._control.cancelled

    def _target_row(self, logits: torch.Tensor, drafts: Sequence[int]) -> Row:
        if not bool(torch.isfinite(logits.max())):
            raise GenerationFailed(
                "The target model gave logits that are not finite.",
                kept="The reply up to here is kept.",
                remedy="Its weights may be damaged, or its dtype too narrow.",
            )
        return self._processor.row(logits, [*self._ids, *drafts])

    # -- commit -------------------------------------------------------------------------------------------------

    def _commit(
        self,
        timings: Timings,
        window: int,
        proposal: Proposal,
        verdict: Verdict,
        rows: dict[int, Row],
        final_kind: TokenKind,
        asked: int | None = None,
        speculation: bool | None = None,
    ) -> StepCommitted:
        """Append what the verdict keeps, up to the end of the reply; the rest of the window is dropped and not counted."""
        candidates = [(token, TokenKind.ACCEPTED) for token in proposal.ids[: verdict.accepted]]
        candidates.append((verdict.final_id, final_kind))
        tokens: list[CommittedToken] = []
        for index, (token, kind) in enumerate(candidates):
            draft_prob = float(proposal.rows[index].probs[token]) if index < len(proposal.rows) else None
            piece = self._detokenizer.push(token)
            tokens.append(CommittedToken(token, piece, kind, float(rows[index].probs[token]), draft_prob))
            self._ids.append(token)
            stopped, self._visible = self._stops.push(piece)
            self._end = self._end_after(token, stopped)
            if self._end is not None:
                break
        self._rewind()
        accepted = sum(token.kind is TokenKind.ACCEPTED for token in tokens)
        index, self._steps = self._steps, self._steps + 1
        drafted = self._drafted(proposal, verdict, rows, accepted, len(tokens))
        ended_ns = self._now()
        known_ns = timings.draft_ns + timings.verify_ns + timings.sample_ns
        return StepCommitted(
            index=index,
            window=window,
            window_asked=self._control.window if asked is None else asked,
            speculation=self._control.speculation if speculation is None else speculation,
            drafted=drafted,
            tokens=tuple(tokens),
            accepted=accepted,
            started_ns=timings.started_ns,
            ended_ns=ended_ns,
            draft_ns=timings.draft_ns,
            verify_ns=timings.verify_ns,
            sample_ns=timings.sample_ns,
            host_ns=ended_ns - timings.started_ns - known_ns,
            visible_chars=self._visible,
            residual_fallbacks=verdict.residual_fallbacks,
        )

    def _end_after(self, token: int, stopped: bool) -> EndReason | None:
        if token in self._text.eos_ids:
            return EndReason.END_OF_TEXT
        if stopped:
            return EndReason.STOP_STRING
        if len(self._ids) - self._prompt_length >= self._request.sampling.max_tokens:
            return EndReason.MAX_TOKENS
        if len(self._ids) > self._target.model.context_limit:
            return EndReason.CONTEXT_FULL
        return None

    def _drafted(
        self, proposal: Proposal, verdict: Verdict, rows: dict[int, Row], accepted: int, committed: int
    ) -> tuple[DraftedToken, ...]:
        result: list[DraftedToken] = []
        for index, (token, row) in enumerate(zip(proposal.ids, proposal.rows, strict=True)):
            if index < accepted:
                outcome = DraftOutcome.ACCEPTED
            elif index == verdict.accepted and index < committed:
                outcome = DraftOutcome.REJECTED
            else:
                outcome = DraftOutcome.UNTESTED
            tested = outcome is not DraftOutcome.UNTESTED
            result.append(
                DraftedToken(
                    id=token,
                    text=self._text.piece(token),
                    draft_prob=float(row.probs[token]),
                    target_prob=float(rows[index].probs[token]) if tested else None,
                    draw=verdict.draws[index] if tested else None,
                    outcome=outcome,
                )
            )
        return tuple(result)

    def _rewind(self) -> None:
        """Caches keep the committed tokens less the pending one, on every way out."""
        self._target.rewind(len(self._ids) - 1)
        if self._drafter is not None:
            self._drafter.rewind(len(self._ids) - 1)

    def _ended(self, error: str) -> RunEnded:
        tail = self._detokenizer.finish()
        if self._end is EndReason.STOP_STRING:
            visible = self._visible
        else:
            # Held text that only might have become a stop string is part of the reply after all.
            visible = self._detokenizer.emitted + len(tail)
        assert self._end is not None
        return RunEnded(
            reason=self._end,
            ended_ns=self._now(),
            tail_text=tail,
            visible_chars=visible,
            target_cached=self._target.length,
            draft_cached=self._draft_cached(),
            error=error,
        )

    def _now(self) -> int:
        return self._clock.now_ns() - self._submitted_ns
