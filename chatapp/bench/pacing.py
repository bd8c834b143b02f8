"""The real engine at a fixed pace: every verify step takes as long as it is told to, and a reply ends at its token limit only.

So that two sides stream the same text at the same speed on any machine. Token times then measure the pace and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from chatapp.domain.events import RunEvent, StepCommitted
from chatapp.domain.request import GenerationRequest
from chatapp.engine.contracts import Control
from chatapp.engine.session import Engine, PreparedRun

NEVER = -100.0


class PacedEngine(Engine):
    """Hands over one verify step per `step_s`, and bans the tokens that end a text."""

    def __init__(self, step_s: float) -> None:
        super().__init__(threads=1)  # and nobody who changes their number, which the window would tell of
        self._step_s = step_s

    def prepare(self, request: GenerationRequest) -> PreparedRun:
        ban = tuple((token, NEVER) for token in sorted(self.pair.prompt.eos_ids))
        return super().prepare(replace(request, sampling=replace(request.sampling, logit_bias=ban)))

    def run(self, prepared: PreparedRun, control: Control) -> Iterator[RunEvent]:
        due = time.perf_counter()
        for event in super().run(prepared, control):
            if isinstance(event, StepCommitted):
                due += self._step_s
                time.sleep(max(due - time.perf_counter(), 0.0))
            yield event
