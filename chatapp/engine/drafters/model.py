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
        ids: list[int] = []
        rows: list[Row] = []
        confidences: list[float] = []
        while len(ids) < budget.count and self.has_room(len(prefix) + len(ids)) and not budget.cancelled:
            token, row = self.draw(prefix, ids)
            ids.append(token)
            rows.append(row)
            confidences.append(row.prob(token))
            if token in self._ends or not budget.more(confidences[-1], SOURCE):
                break
        return Proposal(tuple(ids), tuple(rows), (SOURCE,) * len(ids), tuple(confidences))

    def has_room(self, length: int) -> bool:
        """Whether a token can be drawn behind `length` others: the draft's context holds them all."""
        return length <= self._sequence.model.context_limit

    def draw(self, prefix: Sequence[int], drafts: Sequence[int]) -> tuple[int, Row]:
        """One token behind `prefix` and `drafts`, and what it was drawn from.

        What the model lacks of them is fed in this one call: the pending token, after a full window the last draft of it,
        and whatever others proposed. The token itself is not fed, since it may never be needed. Raises `DraftFailed`.
        """
        known = self._sequence.length
        feed = [*prefix[known:], *drafts[max(known - len(prefix), 0) :]]
        logits = self._sequence.advance(feed, rows=1)[0]
        try:
            row = self._processor.row(logits, prefix, drafts)
        except NotFinite as error:
            raise DraftFailed(f"the draft model gave {error}") from error
        return self._acceptor().draw_draft(row, len(prefix) + len(drafts)), row

    def is_far_behind(self, prefix: Sequence[int]) -> bool:
        """The model lacks more of `prefix` than one pass can take in."""
        return len(prefix) - self._sequence.length > self._sequence.model.prefill_rows

    def exhausted(self, prefix: Sequence[int]) -> bool:
        return not self.has_room(len(prefix))

    def rewind(self, length: int) -> None:
        self._sequence.rewind(length)
