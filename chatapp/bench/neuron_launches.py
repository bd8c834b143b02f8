"""How many launches of which compiled graphs a reply should take, worked out from its events alone.

What is counted on the device (or its emulator) is held against this. The rule: one launch of the target per verify step, of
the smallest compiled window that holds it; one launch of the draft per drafted token, and one more behind a step whose drafts
were all kept, since the draft lacks the last of them. Only what has to be caught up with (a prompt, steps without drafts) is
left to the plan of `backends.neuron.launches`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chatapp.domain.events import Prefilled, RunEvent, StepCommitted
from chatapp.engine.backends.neuron.launches import Graphs, plan

Launches = Counter[tuple[str, int]]
"""By kind and size."""


@dataclass
class ExpectedLaunches:
    """Follows one reply. `length` is the text's, its pending token included, `draft_length` what the draft has read of it."""

    target: Graphs
    draft: Graphs
    of_target: Launches = field(default_factory=Counter)
    of_draft: Launches = field(default_factory=Counter)
    length: int = 0
    draft_length: int = 0

    def see(self, event: RunEvent, draft_length: int) -> None:
        """Every event in order; `draft_length` is the draft's when the event came (it counts at the prefill's end)."""
        if isinstance(event, Prefilled) and event.model == "target":
            self.length = event.reused + event.positions
            self.draft_length = draft_length
            _add_text(self.of_target, self.target, event)
        elif isinstance(event, Prefilled):
            self.draft_length = event.reused + event.positions
            _add_text(self.of_draft, self.draft, event)
        elif isinstance(event, StepCommitted):
            if event.index:
                self._add_step(event.window, len(event.drafted))
            self.length += len(event.tokens)
            # Both know all but the pending token; what was drafted beyond it is rewound.
            self.draft_length = min(self.draft_length, self.length - 1)

    def _add_step(self, window: int, drafts: int) -> None:
        compiled = next(size for size in (1, *self.target.windows) if size >= window)
        self.of_target["window" if compiled > 1 else "token", compiled] += 1
        if drafts:
            lacking = self.length - self.draft_length
            self.of_draft["token", 1] += lacking + drafts - 1
            self.draft_length = self.length + drafts - 1


def _add_text(launches: Launches, graphs: Graphs, read: Prefilled) -> None:
    for launch in plan(read.reused, read.positions, 1, graphs):
        launches[launch.kind, launch.size] += 1
