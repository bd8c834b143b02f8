"""The draft model as a drafter: samples its own processed distribution and hands over exactly what it drew from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from chatapp.engine.contracts import Acceptor, Proposal, Row
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence


class DraftFailed(RuntimeError):
    """The draft gave logits that are not finite."""


class ModelDrafter:
    """Implements `contracts.Drafter` over a cached draft model.

    A proposal ends with a token of `ends` (end of text): nothing behind it could be kept. The token itself is proposed and
    tested like any other, so the distribution of the output stays what it is.
    """

    def __init__(
        self,
        sequence: CachedSequence,
        processor: Processor,
        acceptor: Acceptor,
        ends: frozenset[int] = frozenset(),
    ) -> None:
        self._ends = ends
        self._sequence = sequence
        self._processor = processor
        self._acceptor = acceptor

    def begin(self, prompt: list[int]) -> None:
        self._sequence.keep_common_prefix(prompt, len(prompt) - 1)

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        start = self._sequence.keep_common_prefix(prefix, len(prefix) - 1)
        if len(prefix) > self._sequence.model.context_limit:
            return 0  # there is no room for a proposal, so `propose` will give none
        missing = prefix[start:-1]
        if len(missing) > 1:
            self._sequence.feed(missing, cancelled)
        return self._sequence.length - start

    def propose(self, prefix: Sequence[int], count: int, cancelled: Callable[[], bool]) -> Proposal:
        """The pending token, and the accepted draft that the draft model still lacks after a full window, are fed in the
        first call; the last proposal is not fed at all, since it may never be needed."""
        room = self._sequence.model.context_limit - len(prefix) + 1
        ids: list[int] = []
        rows: list[Row] = []
        context = list(prefix)
        feed: Sequence[int] = prefix[self._sequence.length :]
        for _ in range(min(count, room)):
            if cancelled():
                break
            logits = self._sequence.advance(feed, rows=1)[0]
            if not bool(torch.isfinite(logits.max())):
                raise DraftFailed("the draft model gave logits that are not finite")
            row = self._processor.row(logits, context)
            token = self._acceptor.draw_draft(row, len(context))
            ids.append(token)
            rows.append(row)
            context.append(token)
            if token in self._ends:
                break
            feed = (token,)
        return Proposal(tuple(ids), tuple(rows))

    def rewind(self, length: int) -> None:
        self._sequence.rewind(length)
