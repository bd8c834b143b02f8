"""The loop: prefill → draft → verify → accept → commit → rewind, as a generator of events.

Plain decoding is k = 1 in the same loop. Between steps the caches hold the committed tokens less the pending one (the
last, which the target has not read yet). A verify step feeds the target the pending token and g ≤ k − 1 drafts, and gets
g + 1 distributions back: one to test each draft with, one more for the bonus.

This module must not know any backend, tokenizer library, thread or screen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

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
    WindowChoice,
)
from chatapp.domain.tokens import TokenKind
from chatapp.engine.contracts import (
    MODEL_FAILURES,
    Control,
    FusedDraftFailed,
    FusedWindow,
    PartFailed,
    Proposal,
    TargetRows,
    Verdict,
    WindowPolicy,
)
from chatapp.engine.distribution import Row
from chatapp.engine.reply import Reply, Text
from chatapp.engine.sampling import NotFinite
from chatapp.engine.step import Parts, Step, StepBudget, outcome_of

__all__ = ["MODEL_FAILURES", "Parts", "SpeculativeRun", "Text"]


class SpeculativeRun:
    """One reply. Iterate `events()` once; leaving the iteration early leaves valid caches."""

    def __init__(
        self,
        *,
        started: RunStarted,
        prompt_ids: Sequence[int],
        parts: Parts,
        control: Control,
        submitted_ns: int,
    ) -> None:
        self._started = started
        self._parts = parts
        self._target = parts.target
        self._drafter = parts.drafter
        self._drafter_name = started.drafter or started.request.drafter
        self._control = control
        self._clock = parts.clock
        self._submitted_ns = submitted_ns
        self._reply = Reply(
            prompt_ids, parts.text, started.request.sampling, parts.target.model.context_limit
        )
        self._ids = self._reply.ids
        self._steps = 0
        self._begun: dict[str, str] = {}
        self._policy: WindowPolicy | None = None
        self._policy_for = "", ""
        """The name and the acceptor that `_policy` was last asked for with."""

    def events(self) -> Iterator[RunEvent]:
        """The run's story. Always ends in exactly one `RunEnded`, unless the consumer leaves before."""
        error = ""
        yield self._started
        try:
            yield from self._prefill()
            while self._reply.end is None:
                yield from self._verify_step()
        except GenerationFailed as failure:
            self._reply.end, error = EndReason.FAILED, str(failure)
        except MODEL_FAILURES as failure:
            self._reply.end, error = EndReason.FAILED, f"The target model failed: {failure}"
        finally:
            self._rewind()
        if error:
            # What a model wrote into its KV before it failed is not to be trusted in the next turn.
            self._target.rewind(0)
        if remark := self._parts.remark():
            yield Notice("device", remark, self._now())
        yield self._ended(error)

    # -- prefill ------------------------------------------------------------------------------------------------

    def _prefill(self) -> Iterator[RunEvent]:
        """Target first, and its first token goes out before the draft reads the prompt."""
        step = self._begin_step()
        reused = self._target.keep_common_prefix(self._ids, len(self._ids) - 1)
        if self._drafter is not None:
            self._drafter.begin(self._ids)
        missing = self._ids[reused:]
        read_before = self._target.bytes_read
        yield from self._prefill_chunks(missing)
        if self._reply.end is not None:
            return
        step.verify_ns = self._now() - step.started_ns
        step.verify_bytes = self._target.bytes_read - read_before
        yield Prefilled("target", len(missing), reused, step.verify_ns)
        sampling_ns = self._now()
        row = step.rows[0] = self._target_row(self._first_logits, ())
        verdict = Verdict(0, step.acceptor.draw_target(row, len(self._ids)), ())
        step.sample_ns = self._now() - sampling_ns
        yield self._commit(step, verdict, TokenKind.TARGET)

    def _prefill_chunks(self, missing: Sequence[int]) -> Iterator[RunEvent]:
        done = 0
        while done < len(missing):
            if self._cancelled():
                self._reply.end = EndReason.CANCELLED
                return
            size = self._target.next_chunk(len(missing) - done)
            self._first_logits = self._target.advance(missing[done : done + size], rows=1)[0]
            done += size
            if size < len(missing):
                yield PrefillProgress(done, len(missing))

    # -- one verify step ----------------------------------------------------------------------------------------

    def _begin_step(self) -> Step:
        """The one place where the switches are read, so that a step is of one piece."""
        control = self._control
        acceptor = self._parts.acceptor(control.acceptor)
        return Step(self._now(), control.window, control.speculation, acceptor, control.policy)

    def _verify_step(self) -> Iterator[RunEvent]:
        if self._cancelled():
            self._reply.end = EndReason.CANCELLED
            return
        step = self._begin_step()
        count = self._plan(step) - 1
        fused = (
            self._parts.fused if self._parts.fused and self._parts.fused.serves(step.acceptor.name) else None
        )
        if count > 0:
            yield from self._draft(step, count, propose=fused is None)
        if self._cancelled():
            self._reply.end = EndReason.CANCELLED
            return
        if fused is None:
            verdict, kind = self._window(step)
        else:
            verdict, kind = yield from self._fused_window(step, fused, count)
        committed = self._commit(step, verdict, kind)
        yield committed
        outcome = outcome_of(committed, step.proposal)
        if step.policy is not None:
            step.policy.observe(outcome)
        change = self._parts.after_step(outcome)
        if change is not None:
            yield Notice("threads", change, self._now())
        for trouble in self._parts.troubles():
            yield Notice("plugin_failed", trouble, self._now())

    def _window(self, step: Step) -> tuple[Verdict, TokenKind]:
        """Verify and accept the step's proposal, one by one."""
        drafted_ns = self._now()
        step.draft_ns = drafted_ns - step.started_ns
        read_before = self._target.bytes_read
        proposal = step.proposal
        logits = self._target.advance([self._ids[-1], *proposal.ids], rows=len(proposal.ids) + 1)
        verified_ns = self._now()
        step.verify_ns = verified_ns - drafted_ns
        step.verify_bytes = self._target.bytes_read - read_before

        def target_row(index: int) -> Row:
            if index not in step.rows:
                step.rows[index] = self._target_row(logits[index], proposal.ids[:index])
            return step.rows[index]

        verdict, kind = self._accept(step, target_row)
        step.sample_ns = self._now() - verified_ns
        return verdict, kind

    def _fused_window(
        self, step: Step, fused: FusedWindow, count: int
    ) -> Generator[RunEvent, None, tuple[Verdict, TokenKind]]:
        """Draft, verify and accept where the models live; events and failures are those of the steps one by one."""
        drafter = self._drafter
        begin_ns = self._now()
        target_before, draft_before = (
            self._target.bytes_read,
            drafter.bytes_read if drafter is not None else 0,
        )
        try:
            result = fused.step(step.acceptor.name, self._ids, count if drafter is not None else 0)
        except FusedDraftFailed as failure:
            yield self._drop_draft(step, failure)
            return (yield from self._fused_window(step, fused, 0))
        except NotFinite as error:
            raise _target_not_finite(error) from error
        step.proposal = result.proposal
        step.rows.update(result.rows)
        # The device's clock divides the time; ours says how much there was.
        whole_ns = self._now() - begin_ns
        draft_ns, verify_ns, accept_ns = result.timings_ns
        scale = whole_ns / max(whole_ns, draft_ns + verify_ns + accept_ns, 1)
        step.draft_ns = begin_ns - step.started_ns + int(draft_ns * scale)
        step.sample_ns = int(accept_ns * scale)
        step.verify_ns = whole_ns - int(draft_ns * scale) - step.sample_ns
        step.verify_bytes = self._target.bytes_read - target_before
        step.draft_bytes += drafter.bytes_read - draft_before if drafter is not None else 0
        return result.verdict, _final_kind(result.verdict, len(result.proposal.ids))

    def _plan(self, step: Step) -> int:
        """k of this step: the policy's, under what is asked and what the reply's or the context's end leaves room for."""
        if self._drafter is None or not step.speculation:
            reason = "speculation is off" if not step.speculation else "there is no drafter"
            step.choice = WindowChoice(step.policy_name, reason)
            return 1
        asked_for = step.policy_name, step.acceptor.name
        if self._policy is None or self._policy_for != asked_for:
            self._policy, self._policy_for = self._begun_policy(*asked_for), asked_for
        step.policy = self._policy
        return self._policy.plan(min(step.asked, self._reply.room))

    def _begun_policy(self, name: str, rule: str) -> WindowPolicy:
        policy = self._parts.policy(name)
        if self._begun.get(policy.name) != rule:
            self._begun[policy.name] = rule
            policy.begin(self._drafter_name, rule)
        return policy

    def _accept(self, step: Step, target_row: TargetRows) -> tuple[Verdict, TokenKind]:
        drafts = len(step.proposal.ids)
        if not drafts:
            token = step.acceptor.draw_target(target_row(0), len(self._ids))
            return Verdict(0, token, ()), TokenKind.TARGET
        verdict = step.acceptor.verify(step.proposal, target_row, len(self._ids))
        return verdict, _final_kind(verdict, drafts)

    def _draft(self, step: Step, count: int, *, propose: bool) -> Iterator[RunEvent]:
        """Up to `count` drafts into `step`; without `propose`, all but the drafts themselves. A failing draft ends
        speculation for this run."""
        drafter, policy = self._drafter, step.policy
        assert drafter is not None
        assert policy is not None
        budget = StepBudget(count, policy, self._control)
        read_before = drafter.bytes_read
        notices: list[RunEvent] = []
        try:
            begin_ns = self._now()
            computed = drafter.catch_up(self._ids, self._cancelled)
            if computed and not budget.cancelled:
                reused = len(self._ids) - 1 - computed
                notices.append(Prefilled("draft", computed, reused, self._now() - begin_ns))
            if propose and not budget.cancelled:
                step.proposal = drafter.propose(self._ids, budget)
            if not step.proposal.ids and drafter.exhausted(self._ids):
                self._drafter = None
                message = "The draft model's context is full: from here the target answers alone."
                notices.append(Notice("draft_context_full", message, self._now()))
        except MODEL_FAILURES as failure:
            notices.append(self._drop_draft(step, failure))
        step.draft_bytes = drafter.bytes_read - read_before
        step.choice = policy.choice()
        yield from notices

    def _drop_draft(self, step: Step, failure: Exception) -> Notice:
        assert self._drafter is not None
        # What a model wrote into its KV before it failed is not to be trusted in the next turn either.
        self._drafter.rewind(0)
        self._drafter = None
        step.proposal = Proposal()
        # A plugin's failure names itself.
        what = str(failure) if isinstance(failure, PartFailed) else f"The draft model failed ({failure})"
        return Notice("draft_failed", f"{what}: from here the target answers alone.", self._now())

    def _cancelled(self) -> bool:
        return self._control.cancelled

    def _target_row(self, logits: torch.Tensor, drafts: Sequence[int]) -> Row:
        try:
            return self._parts.processor.row(logits, self._ids, drafts)
        except NotFinite as error:
            raise _target_not_finite(error) from error

    # -- commit -------------------------------------------------------------------------------------------------

    def _commit(self, step: Step, verdict: Verdict, final: TokenKind) -> StepCommitted:
        reply, proposal = self._reply, step.proposal
        if step.choice is None and step.policy is not None:
            step.choice = step.policy.choice()
        tokens = reply.append(proposal, verdict, step.rows, final)
        self._rewind()
        accepted = sum(token.kind is TokenKind.ACCEPTED for token in tokens)
        index, self._steps = self._steps, self._steps + 1
        drafted = reply.drafted(proposal, verdict, step.rows, accepted, len(tokens))
        ended_ns = self._now()
        known_ns = step.draft_ns + step.verify_ns + step.sample_ns
        return StepCommitted(
            index=index,
            window=len(proposal.ids) + 1,
            window_asked=step.asked,
            speculation=step.speculation,
            drafted=drafted,
            tokens=tuple(tokens),
            accepted=accepted,
            started_ns=step.started_ns,
            ended_ns=ended_ns,
            draft_ns=step.draft_ns,
            verify_ns=step.verify_ns,
            sample_ns=step.sample_ns,
            host_ns=ended_ns - step.started_ns - known_ns,
            visible_chars=reply.visible,
            residual_fallbacks=verdict.residual_fallbacks,
            choice=step.choice,
            draft_bytes=step.draft_bytes,
            verify_bytes=step.verify_bytes,
            acceptor=step.acceptor.name,
            lossless=step.acceptor.lossless,
        )

    def _rewind(self) -> None:
        """Caches keep the committed tokens less the pending one, on every way out."""
        self._target.rewind(len(self._ids) - 1)
        if self._drafter is not None:
            self._drafter.rewind(len(self._ids) - 1)

    def _ended(self, error: str) -> RunEnded:
        tail = self._reply.finish()
        assert self._reply.end is not None
        return RunEnded(
            reason=self._reply.end,
            ended_ns=self._now(),
            tail_text=tail,
            visible_chars=self._reply.visible,
            target_cached=self._target.length,
            draft_cached=self._parts.draft_cached(),
            error=error,
        )

    def _now(self) -> int:
        return self._clock.now_ns() - self._submitted_ns


def _final_kind(verdict: Verdict, drafts: int) -> TokenKind:
    if not drafts:
        return TokenKind.TARGET
    return TokenKind.BONUS if verdict.accepted == drafts else TokenKind.CORRECTION


def _target_not_finite(error: NotFinite) -> GenerationFailed:
    return GenerationFailed(
        f"The target model gave {error}.",
        kept="The reply up to here is kept.",
        remedy="Its weights may be damaged, or its dtype too narrow.",
    )
