"""Learning rate and depth as functions of the share of the time budget used."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP_STEPS = 60


@dataclass(frozen=True)
class Schedule:
    """Warm up, hold, then fall in a straight line to nothing; deepen once on the way."""

    decay_from: float = 0.5
    grow_at: float = 0.2
    shallow: int = 4

    def rate(self, progress: float, fresh_steps: int) -> float:
        """The factor on every learning rate, 0..1, ``fresh_steps`` steps after the start or the last growth.

        New layers are warmed up too: at full rate their first updates undo what the others have learnt.
        """
        warm = min(1.0, (fresh_steps + 1) / WARM_UP_STEPS)
        if progress <= self.decay_from:
            return warm
        return warm * max(0.0, (1.0 - progress) / (1.0 - self.decay_from))

    def depth(self, progress: float, layers: int) -> int:
        """Layers that a model meant for ``layers`` should have by now."""
        return layers if progress >= self.grow_at else min(self.shallow, layers)
