"""Engines for measuring: over models that were made or rigged here, and without an end of text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from chatapp.domain.ports import PairLocation
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.loading import load_model
from chatapp.engine.backends.synthetic import RiggedModel
from chatapp.engine.contracts import CausalModel
from chatapp.engine.control import RunControl
from chatapp.engine.prompt import Prompt
from chatapp.engine.session import Engine, PreparedRun, assemble

ANY_MESSAGE = (Message(Role.USER, "measured by ids"),)


class AssembledEngine(Engine):
    """An engine over models that were loaded in a way of their own."""

    def __init__(
        self, location: PairLocation, target: CausalModel, draft: CausalModel | None, device: str
    ) -> None:
        """The tokenizer is that of the location's target. Raises `ModelError`."""
        super().__init__(device=device)
        prompt = Prompt.load(location.target, read_checkpoint(location.target).eos_ids())
        self._pair = assemble(location, target, draft, prompt, device)


class SyntheticEngine(Engine):
    """An engine over a target and a draft that says what `rig` was given; ids in, no end of text."""

    def __init__(self, target: Path, draft: Path, *, draft_weights: str = "auto") -> None:
        """Random checkpoints of one vocabulary. Raises `ModelError`."""
        super().__init__(device="cpu")
        prompt = Prompt.load(target, ())
        prompt.eos_ids = frozenset()
        location = PairLocation("synthetic", target, draft, draft_weights=draft_weights)
        self.rigged = RiggedModel(
            load_model(read_checkpoint(draft), "cpu", role="draft", weights=draft_weights), ()
        )
        model = load_model(read_checkpoint(target), "cpu", role="target")
        self._pair = assemble(location, model, self.rigged, prompt, "cpu")

    def answer(self, ids: Sequence[int], *, window: int, tokens: int) -> RunRecord:
        """`tokens` greedy tokens behind the prompt `ids`; k = 1 means without speculation. The KV of the prompt is reused."""
        request = GenerationRequest(
            ANY_MESSAGE,
            SamplingSettings(temperature=0.0, max_tokens=tokens),
            window=window,
            speculation=window > 1,
        )
        prepared = PreparedRun(request, tuple(ids), time.perf_counter_ns())
        record = RunRecord()
        for event in self.run(prepared, RunControl.of(request)):
            record.apply(event)
        return record


def without_end(engine: Engine) -> Engine:
    """Replies of the loaded pair end at their length alone, so that all are equally long."""
    engine.pair.prompt.eos_ids = frozenset()
    return engine


def ids_of(record: RunRecord) -> list[int]:
    """The reply's ids."""
    return [view.token.id for view in record.tokens()]
