"""Look-up first, draft model where the look-up does not know: each window's tokens come from whoever is likelier right.

A looked-up token costs nothing to draft, and one that fails takes the rest of its window with it. So the look-up speaks
where its record in this reply is about as good as the draft model's, and the model continues where a match ends. What was
looked up is fed to the model, in one pass, when it is asked next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatapp.engine.contracts import Budget, Proposal
from chatapp.engine.distribution import Row, one_hot
from chatapp.engine.drafters import model, ngram
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.drafters.ngram import Guesser

FORGIVEN = 0.04
"""How much likelier wrong than the model's a looked-up token may be: it saves a draft pass."""
PRIOR_RATE, PRIOR_WEIGHT = 0.75, 10.0
MEMORY = 0.98
"""What is left of the model's record at each new test: some 50 count."""


class ModelAndNgramDrafter:
    """Implements `contracts.Drafter` with both."""

    def __init__(self, draft: ModelDrafter, vocabulary: int, ends: frozenset[int] = frozenset()) -> None:
        """A proposal ends with an id of `ends`."""
        self._draft = draft
        self._vocabulary = vocabulary
        self._ends = ends
        self._guesser = Guesser()
        self._sources: list[str] = []
        self._right, self._tested = PRIOR_RATE * PRIOR_WEIGHT, PRIOR_WEIGHT

    @property
    def bytes_read(self) -> int:
        return self._draft.bytes_read

    def begin(self, prompt: list[int]) -> None:
        self._guesser = Guesser()
        self._sources = []
        self._draft.begin(prompt)

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        """Only a long way: what ids the model lacks otherwise go into its next pass, if there is one."""
        return self._draft.catch_up(prefix, cancelled) if self._draft.is_far_behind(prefix) else 0

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        self._learn(self._guesser.follow(prefix))
        ids: list[int] = []
        rows: list[Row] = []
        confidences: list[float] = []
        sources = self._sources = []
        while len(ids) < budget.count and not budget.cancelled:
            found = self._next(prefix, ids)
            if found is None:
                break
            token, row, confidence, source = found
            self._guesser.drafted(token)
            ids.append(token)
            rows.append(row)
            confidences.append(confidence)
            sources.append(source)
            if token in self._ends or not budget.more(confidence, source):
                break
        return Proposal(tuple(ids), tuple(rows), tuple(sources), tuple(confidences))

    def _next(self, prefix: Sequence[int], ids: Sequence[int]) -> tuple[int, Row, float, str] | None:
        """Token, its row, its confidence and its source."""
        room = self._draft.has_room(len(prefix) + len(ids))
        needed = self._right / self._tested - FORGIVEN if room else ngram.FLOOR
        guess = self._guesser.guess()
        if guess is not None and guess[1] >= needed:
            return guess[0], one_hot(guess[0], self._vocabulary), guess[1], ngram.SOURCE
        if not room:
            return None
        token, row = self._draft.draw(prefix, ids)
        return token, row, row.prob(token), model.SOURCE

    def _learn(self, kept: Sequence[bool]) -> None:
        """The model's own record, of the tokens that it proposed."""
        for right, source in zip(kept, self._sources, strict=False):
            if source == model.SOURCE:
                self._right = self._right * MEMORY + right
                self._tested = self._tested * MEMORY + 1.0

    def exhausted(self, prefix: Sequence[int]) -> bool:  # noqa: ARG002 - the contract's signature
        """Where the draft's context is full, the look-up goes on."""
        return False

    def rewind(self, length: int) -> None:
        self._guesser.rewind(length)
        self._draft.rewind(length)
