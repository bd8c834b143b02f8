"""The draft model as a drafter: samples its own processed distribution and hands over exactly what it drew from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatapp.engine.contracts import Acceptor, Budget, Proposal
from chatapp.engine.distribution import Row
from chatapp.engine.sampling import NotFinite, Processor
from chatapp.engine.sequence import CachedSequence

SOURCE = "model"


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
        acceptor: Callable[[], Acceptor],
        ends: frozenset[int] = frozenset(),
    ) -> None:
        """`acceptor` gives the rule of the step at hand: it draws the draft's tokens too."""
        self._ends = ends
        self._sequence = sequence
        self._processor = processor
        self._acceptor = acceptor

    @property
    def bytes_read(self) -> int:
        return self._sequence.bytes_read

    def begin(self, prompt: list[int]) -> None:
        self._sequence.keep_common_prefix(prompt, len(prompt) - 1)

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        start = self._sequence.keep_common_prefix(prefix, len(prefix) - 1)
        if self.exhausted(prefix):
            return 0  # there is no room for a proposal, so `propose` will give none
        missing = prefix[start:-1]
        if len(missing) > 1:
            self._sequence.feed(missing, cancelled)
        return self._sequence.length - start

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        """The pending token, and the accepted draft that the draft model still lacks after a full window, are fed in the
        first call; the last proposal is not fed at all, since it may never be needed."""
        room = self._sequence.model.context_limit - len(prefix) + 1
        acceptor = self._acceptor()
        ids: list[int] = []
        rows: list[Row] = []
        confidences: list[float] = []
        feed: Sequence[int] = prefix[self._sequence.length :]
        for _ in range(min(budget.count, room)):
            if budget.cancelled:
                break
            logits = self._sequence.advance(feed, rows=1)[0]
            try:
                row = self._processor.row(logits, prefix, ids)
            except NotFinite as error:
                raise DraftFailed(f"the draft model gave {error}") from error
            token = acceptor.draw_draft(row, len(prefix) + len(ids))
            ids.append(token)
            rows.append(row)
            confidences.append(row.prob(token))
            if token in self._ends or not budget.more(confidences[-1], SOURCE):
                break
            feed = (token,)
        return Proposal(tuple(ids), tuple(rows), (SOURCE,) * len(ids), tuple(confidences))

    def exhausted(self, prefix: Sequence[int]) -> bool:
        return len(prefix) > self._sequence.model.context_limit

    def rewind(self, length: int) -> None:
        self._sequence.rewind(length)
