"""The nouns of the engine as Protocols. The loop knows these and no implementation's name.

Shapes: V is the vocabulary that target and draft share, n a number of rows. Logits and probabilities are CPU tensors,
float32 (float64 for the `toy` backend, so that tests can be exact).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from chatapp.domain.events import ModelInfo


class CausalModel(Protocol):
    """A decoder whose KV is addressed by position: rewinding is simply starting at a smaller position."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def vocabulary(self) -> int:
        """V of the logits it returns."""
        ...

    @property
    def context_limit(self) -> int:
        """Positions that its KV can hold."""
        ...

    @property
    def prefill_rows(self) -> int:
        """The most ids that one `forward` should get, so that a cancel is heard between calls."""
        ...

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """Compute KV for `ids` at positions `start`, `start`+1, … and return the logits of the last `rows` of them.

        Positions below `start` must have been computed before; KV at `start` and above is overwritten or dropped.
        Returns `[rows, V]`.
        """
        ...


class Clock(Protocol):
    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...


class Control(Protocol):
    """What a person may change while a reply runs. Read once at the start of each verify step; `cancelled` between calls."""

    @property
    def window(self) -> int: ...

    @property
    def speculation(self) -> bool: ...

    @property
    def cancelled(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One position's processed distribution. `scores` are the logits after penalties (all V, temperature not yet applied);
    `probs` `[V]` sums to 1 and is what tokens are drawn from and tested with (at temperature 0: of temperature 1, for the
    record only)."""

    scores: torch.Tensor
    probs: torch.Tensor


@dataclass(frozen=True, slots=True)
class Proposal:
    """A drafter's window: `ids[i]` was drawn from exactly `rows[i]` — same tensor, same dtype."""

    ids: tuple[int, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an acceptor decided: the first `accepted` drafts are kept, then comes `final_id`, a correction if a draft was
    rejected and a bonus if none was. `draws[i]` is the uniform number that tested draft i, None where none is drawn."""

    accepted: int
    final_id: int
    draws: tuple[float | None, ...]
    residual_fallbacks: int = 0


TargetRows = Callable[[int], Row]
"""`target_rows(i)`: the target's row at window position i, processed when first asked for (rows behind a rejection never are)."""


class Acceptor(Protocol):
    """A rule that keeps or corrects drafts. One instance serves one run.

    `position` is the absolute position of the token that is drawn (prompt included), the same whatever the window.
    """

    @property
    def name(self) -> str: ...

    @property
    def lossless(self) -> bool:
        """The output's distribution is the target's."""
        ...

    def draw_draft(self, row: Row, position: int) -> int:
        """Draw the drafter's token."""
        ...

    def draw_target(self, row: Row, position: int) -> int:
        """Draw a token from the target alone (after prefill, and for k = 1)."""
        ...

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        """Test the drafts in order; `position` is the first draft's. `target_rows` has len(proposal.ids) + 1 rows."""
        ...


class Drafter(Protocol):
    """Anything that proposes tokens for the window after `prefix` (prompt and reply, the pending token included)."""

    def begin(self, prompt: list[int]) -> None:
        """A new reply: forget everything that is not a beginning of its prompt."""
        ...

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        """Bring the drafter's own state to `prefix` less its last token, as far as it lags; returns positions computed."""
        ...

    def propose(self, prefix: Sequence[int], count: int, cancelled: Callable[[], bool]) -> Proposal:
        """At most `count` tokens (fewer when cancelled or out of context)."""
        ...

    def rewind(self, length: int) -> None:
        """Forget everything behind the first `length` tokens of the prefix."""
        ...
