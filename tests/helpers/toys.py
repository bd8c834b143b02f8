"""An engine over toy models and a tokenizer of one character per token: no weights, no files, exact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatapp.domain.ports import PairLocation
from chatapp.domain.request import Message
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.prompt import Prompt
from chatapp.engine.session import Engine, assemble

LETTERS = "abcdefghijklmnopqrstuvwxyz .,!?\n"


class LetterPrompt(Prompt):
    """One letter, one token; ids past the letters decode to nothing. `eos` is a letter's id, or none."""

    def __init__(self, eos_ids: Sequence[int] = ()) -> None:  # no tokenizer behind it, so no super().__init__
        self.eos_ids = frozenset(eos_ids)

    def vocabulary(self) -> dict[str, int]:
        return {letter: index for index, letter in enumerate(LETTERS)}

    def encode(self, messages: Sequence[Message]) -> list[int]:
        known = self.vocabulary()
        return [known.get(letter, 0) for message in messages for letter in message.content.lower()]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(LETTERS[token] for token in ids if token < len(LETTERS) and token not in self.eos_ids)

    def piece(self, token: int) -> str:
        return LETTERS[token] if token < len(LETTERS) else f"<{token}>"


class ToyEngine(Engine):
    """An engine that was never loaded from files."""

    def __init__(self, target: ToyModel, draft: ToyModel | None, eos_ids: Sequence[int] = ()) -> None:
        super().__init__()
        location = PairLocation("toy", Path("toy-target"), Path("toy-draft"))
        self._pair = assemble(location, target, draft, LetterPrompt(eos_ids), "cpu")


def toy_engine(*, noise: float = 0.5, seed: int = 1, eos_ids: Sequence[int] = ()) -> ToyEngine:
    """Target and draft that agree to a degree."""
    size = len(LETTERS)
    return ToyEngine(ToyModel(size, seed=seed), ToyModel(size, seed=seed, noise=noise), eos_ids)
