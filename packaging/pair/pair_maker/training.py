"""The training loop, shared by target and draft.

One step: take a batch, let the objective compute the losses of its tokens, update, count the time.  Time is
counted per step and long pauses are not: a run that was stopped for a while goes on where it was.  A checkpoint
holds everything that the next step depends on, so that a resumed run takes the same steps as an unbroken one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pair_maker.batches import Batch, Batches, Place
from pair_maker.corpus import Corpus
from pair_maker.growth import grow
from pair_maker.kinds import KINDS
from pair_maker.model import Llama, Shape
from pair_maker.optimisers import Optimisers
from pair_maker.progress import Clock, Log, StopSignal, save_whole
from pair_maker.schedule import Schedule

SAVE_EVERY_S = 180.0
SAY_EVERY_S = 20.0
LONGEST_STEP = 4.0


class Objective(Protocol):
    """What a model is trained for."""

    def __call__(self, model: Llama, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss to descend (a scalar) and, for the log, the cross-entropy per token ``[rows, length]``."""
        ...


@dataclass
class State:
    """Where a run stands, apart from weights and optimisers."""

    steps: int = 0
    tokens: int = 0
    trained_s: float = 0.0
    usual_step_s: float = 0.0
    grown_at: int = 0
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class Plan:
    """How one model is trained."""

    name: str
    shape: Shape
    minutes: float
    batch_tokens: int
    schedule: Schedule
    rate_scale: float = 1.0


class Meter:
    """Weighted cross-entropy of spoken tokens, per kind, since it was last read."""

    def __init__(self) -> None:
        self._sums = torch.zeros(len(KINDS), 2)

    def add(self, losses: Tensor, batch: Batch) -> None:
        spoken = (batch.weights == 1.0).float()
        per_row = torch.stack(((losses * spoken).sum(dim=1), spoken.sum(dim=1)), dim=1).cpu()
        self._sums.index_add_(0, batch.kinds.cpu(), per_row)

    def read(self) -> dict[str, float]:
        """Nats per token of each kind seen, and of all under ``all``."""
        sums = {kind.KIND: row for kind, row in zip(KINDS, self._sums.tolist(), strict=True) if row[1]}
        whole = self._sums.sum(dim=0).tolist()
        self._sums.zero_()
        return {name: round(total / count, 4) for name, (total, count) in [*sums.items(), ("all", whole)] if count}


class Trainer:
    """Trains one model to the end of its time, from wherever its checkpoint stands."""

    def __init__(self, plan: Plan, corpus: Corpus, pad: int, objective: Objective, checkpoint: Path, log: Log,
                 clock: Clock, device: torch.device) -> None:
        self.plan, self.objective, self.checkpoint = plan, objective, checkpoint
        self._log, self._clock, self._device = log, clock, device
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            self.model = Llama(plan.shape, saved["layers"]).to(device)
            self.model.load_state_dict(saved["model"])
            self.optimisers = Optimisers(self.model, plan.rate_scale)
            self.optimisers.load(saved["optimisers"])
            self.state = State(**{**saved["state"], "place": Place(**saved["state"]["place"])})
        else:
            depth = plan.schedule.depth(0.0, plan.shape.layers)
            self.model = Llama(plan.shape, depth).to(device)
            self.optimisers = Optimisers(self.model, plan.rate_scale)
            self.state = State()
        self._batches = Batches(corpus, pad, plan.batch_tokens, self.state.place)
        self._meter = Meter()

    @property
    def progress(self) -> float:
        """The share of the time that is used, 0..1."""
        return min(1.0, self.state.trained_s / (60.0 * self.plan.minutes))

    def save(self) -> None:
        """Write the checkpoint."""
        self.state.place = self._batches.place
        save_whole(
            {
                "model": self.model.state_dict(),
                "layers": self.model.depth,
                "shape": self.plan.shape.as_dict(),
                "optimisers": self.optimisers.state(),
                "state": asdict(self.state),
            },
            self.checkpoint,
        )

    def run(self, stop: StopSignal, most_steps: int | None = None) -> bool:
        """Train until the time is up (true) or until stopped (false); the checkpoint is written either way."""
        source: Iterator[Batch] = iter(self._batches)
        said = saved = self._clock()
        end = None if most_steps is None else self.state.steps + most_steps
        self.model.train()
        while self.progress < 1.0 and not stop.raised and (end is None or self.state.steps < end):
            self._deepen()
            batch = next(source)
            began = self._clock()
            self._step(batch.to(self._device))
            now = self._clock()
            self._count(batch, now - began)
            if now - said >= SAY_EVERY_S:
                self._say(now)
                said = now
            if now - saved >= SAVE_EVERY_S:
                self.save()
                saved = now
        self.save()
        return self.progress >= 1.0

    def _step(self, batch: Batch) -> None:
        with torch.autocast(self._device.type, torch.bfloat16):
            loss, losses = self.objective(self.model, batch)
        torch.autograd.backward(loss)
        self.optimisers.step(self.plan.schedule.rate(self.progress, self.state.steps - self.state.grown_at))
        self._meter.add(losses.detach(), batch)

    def _count(self, batch: Batch, took_s: float) -> None:
        state = self.state
        usual = state.usual_step_s or took_s
        counted = min(took_s, LONGEST_STEP * usual)
        state.usual_step_s = 0.95 * usual + 0.05 * counted
        state.trained_s += counted
        state.tokens += batch.tokens
        state.steps += 1

    def _deepen(self) -> None:
        due = self.plan.schedule.depth(self.progress, self.plan.shape.layers)
        if self.model.depth >= due:
            return
        old = self.optimisers
        self.model = grow(self.model, due)
        self.optimisers = Optimisers(self.model, self.plan.rate_scale)
        self.optimisers.adopt(old)
        self.state.grown_at = self.state.steps
        self._log.write("grow", f"{self.plan.name}: grown to {due} layers", layers=due, step=self.state.steps)

    def _say(self, now: float) -> None:
        state, losses = self.state, self._meter.read()
        per_second = state.tokens / max(state.trained_s, 1e-9)
        self._log.write(
            "train",
            f"{self.plan.name} {self.progress:6.1%}  step {state.steps}  {state.tokens / 1e6:.2f}M tokens  "
            + "  ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items()),
            model=self.plan.name, step=state.steps, tokens=state.tokens, trained_s=round(state.trained_s, 1),
            progress=round(self.progress, 4), tokens_per_s=round(per_second), layers=self.model.depth, loss=losses,
        )


def next_token_losses(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy per token ``[rows, length]`` of ``logits [rows, length, vocabulary]``."""
    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch.targets.flatten(), reduction="none")
    return flat.view(batch.targets.shape)


def language_objective(model: Llama, batch: Batch) -> tuple[Tensor, Tensor]:
    """Plain next-token prediction, weighted by who speaks."""
    losses = next_token_losses(model(batch.ids), batch)
    return (losses * batch.weights).sum() / batch.weights.sum(), losses
