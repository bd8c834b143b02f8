"""The growing reply: ids, text, where it ends; and what a verify step says about its drafts. Nothing here runs a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatapp.domain.events import EndReason
from chatapp.domain.request import SamplingSettings
from chatapp.domain.tokens import CommittedToken, DraftedToken, DraftOutcome, TokenKind
from chatapp.engine.contracts import Proposal, Verdict
from chatapp.engine.detokenizer import Detokenizer, StopMatcher
from chatapp.engine.distribution import Row


@dataclass(frozen=True, slots=True)
class Text:
    """The tokenizer as the loop needs it."""

    decode: Callable[[Sequence[int]], str]
    piece: Callable[[int], str]
    eos_ids: frozenset[int]


class Reply:
    """`ids` are prompt and reply; the last one is pending: the target has not read it yet."""

    def __init__(
        self, prompt_ids: Sequence[int], text: Text, sampling: SamplingSettings, context_limit: int
    ) -> None:
        self.ids = list(prompt_ids)
        self.end: EndReason | None = None
        self.visible = 0
        """Characters that may be shown: less than all while the tail might become a stop string."""
        self._text = text
        self._max_tokens = sampling.max_tokens
        self._context_limit = context_limit
        self._prompt_length = len(prompt_ids)
        self._detokenizer = Detokenizer(text.decode)
        self._stops = StopMatcher(sampling.stop)

    @property
    def room(self) -> int:
        """The largest window that the reply's or the context's end leaves room for, at least 1."""
        left = self._max_tokens - (len(self.ids) - self._prompt_length)
        return max(1, min(left, self._context_limit - len(self.ids) + 1))

    def append(
        self, proposal: Proposal, verdict: Verdict, rows: dict[int, Row], final: TokenKind
    ) -> list[CommittedToken]:
        """What the verdict keeps, up to the end of the reply; the rest of the window is dropped and not counted."""
        candidates = [(token, TokenKind.ACCEPTED) for token in proposal.ids[: verdict.accepted]]
        candidates.append((verdict.final_id, final))
        tokens: list[CommittedToken] = []
        for index, (token, kind) in enumerate(candidates):
            draft_prob = proposal.rows[index].prob(token) if index < len(proposal.rows) else None
            piece = self._detokenizer.push(token)
            tokens.append(CommittedToken(token, piece, kind, rows[index].prob(token), draft_prob))
            self.ids.append(token)
            stopped, self.visible = self._stops.push(piece)
            self.end = self._end_after(token, stopped)
            if self.end is not None:
                break
        return tokens

    def _end_after(self, token: int, stopped: bool) -> EndReason | None:
        if token in self._text.eos_ids:
            return EndReason.END_OF_TEXT
        if stopped:
            return EndReason.STOP_STRING
        if len(self.ids) - self._prompt_length >= self._max_tokens:
            return EndReason.MAX_TOKENS
        if len(self.ids) > self._context_limit:
            return EndReason.CONTEXT_FULL
        return None

    def drafted(
        self, proposal: Proposal, verdict: Verdict, rows: dict[int, Row], accepted: int, committed: int
    ) -> tuple[DraftedToken, ...]:
        """What became of every proposal. `accepted` and `committed` are those of the step, after the reply's end cut it."""
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
                    draft_prob=row.prob(token),
                    target_prob=rows[index].prob(token) if tested else None,
                    draw=verdict.draws[index] if tested else None,
                    outcome=outcome,
                    source=proposal.sources[index] if proposal.sources else "",
                )
            )
        return tuple(result)

    def finish(self) -> str:
        """What the decoder still held; settles how much of the text belongs to the reply."""
        tail = self._detokenizer.finish()
        if self.end is not EndReason.STOP_STRING:
            # Held text that only might have become a stop string is part of the reply after all.
            self.visible = self._detokenizer.emitted + len(tail)
        return tail
