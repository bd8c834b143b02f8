"""The slider's k, at every step."""

from __future__ import annotations

from chatapp.domain.events import WindowChoice
from chatapp.engine.contracts import StepOutcome


class FixedWindow:
    """Implements `contracts.WindowPolicy`."""

    name = "fixed"
    description = "Every window is as long as the slider says."

    def __init__(self) -> None:
        self._window = 1

    def begin(self, drafter: str, acceptor: str) -> None:
        """Nothing depends on them."""

    def plan(self, most: int) -> int:
        self._window = most
        return most

    def more(self, drafted: int, confidence: float, source: str) -> bool:  # noqa: ARG002 - the contract's signature
        return True

    def choice(self) -> WindowChoice:
        return WindowChoice(self.name, f"k {self._window}, as asked")

    def observe(self, outcome: StepOutcome) -> None:
        """Nothing is learnt."""
