"""Look-up of what prompt and reply already said: no model, hardly any cost, strong where a text repeats itself.

Every proposal is certain (`one_hot`), so each lossless rule keeps it with the target's own probability of that id, and
`greedy` and `coupled` by equality: nothing here can change the distribution of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatapp.engine.contracts import Budget, Proposal
from chatapp.engine.distribution import one_hot
from chatapp.engine.drafters.ngram_index import Agreement, Guess, NgramIndex

SOURCE = "ngram"

LENGTHS = (3, 5, 8)
"""Borders between classes of match length: to 3, to 5, to 8, and longer."""
PRIOR = {
    Agreement.MIXED: (0.23, 0.26, 0.40, 0.84),
    Agreement.SOLE: (0.43, 0.58, 0.67, 0.97),
    Agreement.UNANIMOUS: (0.77, 0.93, 0.94, 0.98),
}
"""How often a guess of each class came true over chats, prose, source code and its revision: where learning starts from."""
PRIOR_WEIGHT = 6.0
MEMORY = 0.97
"""What is left of a class's experience at each new one: some 30 guesses count."""
FLOOR = 0.15
"""A guess that comes true less often is not worth the row that tests it, however cheap: nothing is proposed."""


class Experience:
    """How often guesses of each class came true in this reply."""

    def __init__(self) -> None:
        self._rates = {kind: [[rate * PRIOR_WEIGHT, PRIOR_WEIGHT] for rate in PRIOR[kind]] for kind in PRIOR}

    def confidence(self, guess: Guess) -> float:
        """The chance that the guess is right."""
        right, tried = self._rates[guess.agreement][_length_class(guess.length)]
        return right / tried

    def learn(self, guess: Guess, *, right: bool) -> None:
        rate = self._rates[guess.agreement][_length_class(guess.length)]
        rate[0] = rate[0] * MEMORY + right
        rate[1] = rate[1] * MEMORY + 1.0


def _length_class(length: int) -> int:
    return sum(length > border for border in LENGTHS)


class Guesser:
    """Index and experience together: guesses along a window, and what became of them.

    Guesses that were not proposed are remembered too, so that a class which stopped being trusted can win trust back.
    """

    def __init__(self) -> None:
        self._index = NgramIndex()
        self._experience = Experience()
        self._start = 0
        self._guesses: list[Guess | None] = []
        self._drafts: list[int] = []

    def rewind(self, length: int) -> None:
        self._index.rewind(length)

    def follow(self, prefix: Sequence[int]) -> list[bool]:
        """Take in what was committed; for each draft of the last window that was put to a test, whether it was kept."""
        kept = self._learn(prefix)
        self._index.follow(prefix)
        self._start = len(prefix)
        self._guesses, self._drafts = [], []
        return kept

    def _learn(self, prefix: Sequence[int]) -> list[bool]:
        kept: list[bool] = []
        for offset, guess in enumerate(self._guesses):
            if self._start + offset >= len(prefix):
                break
            committed = prefix[self._start + offset]
            if guess is not None:
                self._experience.learn(guess, right=guess.token == committed)
            if offset >= len(self._drafts):
                break
            kept.append(self._drafts[offset] == committed)
            if not kept[-1]:
                break  # what was guessed behind a wrong draft was guessed for another text
        return kept

    def guess(self) -> tuple[int, float] | None:
        """The next id and the chance that it is right, behind all that was `drafted`."""
        guess = self._index.guess(self._drafts)
        self._guesses.append(guess)
        return None if guess is None else (guess.token, self._experience.confidence(guess))

    def drafted(self, token: int) -> None:
        """What was proposed there, by whom ever."""
        self._drafts.append(token)


class NgramDrafter:
    """Implements `contracts.Drafter` without a model."""

    bytes_read = 0

    def __init__(self, vocabulary: int, ends: frozenset[int] = frozenset()) -> None:
        """`vocabulary` is V; a proposal ends with an id of `ends`."""
        self._vocabulary = vocabulary
        self._ends = ends
        self._guesser = Guesser()

    def begin(self, prompt: list[int]) -> None:  # noqa: ARG002 - the contract's signature; the index takes it in after the first token is shown
        self._guesser = Guesser()

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:  # noqa: ARG002 - the contract's signature
        """No positions to compute."""
        return 0

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        guesser = self._guesser
        guesser.follow(prefix)
        ids: list[int] = []
        confidences: list[float] = []
        while len(ids) < budget.count and not budget.cancelled:
            guess = guesser.guess()
            if guess is None or guess[1] < FLOOR:
                break
            token, confidence = guess
            guesser.drafted(token)
            ids.append(token)
            confidences.append(confidence)
            if token in self._ends or not budget.more(confidence, SOURCE):
                break
        rows = tuple(one_hot(token, self._vocabulary) for token in ids)
        return Proposal(tuple(ids), rows, (SOURCE,) * len(ids), tuple(confidences))

    def exhausted(self, prefix: Sequence[int]) -> bool:  # noqa: ARG002 - the contract's signature
        return False

    def rewind(self, length: int) -> None:
        self._guesser.rewind(length)
