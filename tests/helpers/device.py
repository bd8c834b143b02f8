"""Pairs on the device path, run on the CPU: real tensors of tiny sizes, and replies through the loop, fused or step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from chatapp.domain.events import ModelInfo, RunEvent, RunStarted
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.cuda.device import DeviceModel
from chatapp.engine.backends.cuda.launch import Launcher, PlainLauncher
from chatapp.engine.backends.decoder.rotary import RotaryPositions
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import expected_shapes
from chatapp.engine.contracts import Control, FusedWindow, FusingContext, WindowPolicy
from chatapp.engine.control import RunControl
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.windows.fixed import FixedWindow
from tests.helpers.engine import TickClock
from tests.helpers.records import environment

PROMPT = (3, 4, 5)


def tiny_shape(vocabulary: int = 40, context_limit: int = 300) -> DecoderShape:
    return DecoderShape(
        vocabulary=vocabulary,
        hidden=16,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=4,
        intermediate=24,
        context_limit=context_limit,
        norm_eps=1e-6,
        rotary=RotaryPositions(10_000.0),
        tied=False,
    )


def tiny_weights(
    shape: DecoderShape, *, noise: float = 0.0, noise_seed: int = 1, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Random matrices, all of one seed; `noise` away from them a draft agrees with its target to a degree."""
    weights = {}
    generator, others = torch.Generator().manual_seed(0), torch.Generator().manual_seed(noise_seed)
    for name, size in expected_shapes(shape).items():
        if len(size) == 1:
            weights[name] = torch.ones(size, dtype=dtype)
            continue
        matrix = torch.randn(size, generator=generator)
        matrix = matrix + noise * torch.randn(size, generator=others)
        weights[name] = (matrix * (1.5 if name == "lm_head.weight" else 0.3)).to(dtype)
    return weights


def device_model(
    shape: DecoderShape,
    *,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
    launcher: Launcher | None = None,
    exact: bool = True,
) -> DeviceModel:
    weights = tiny_weights(shape, noise=noise, dtype=dtype)
    info = ModelInfo("tiny", "LlamaForCausalLM", 0, str(dtype), "")
    with torch.inference_mode():
        return DeviceModel(shape, weights, info, launcher or PlainLauncher(torch.device("cpu")), exact=exact)


@dataclass
class DevicePair:
    """Two device models whose caches live over many replies."""

    target_model: DeviceModel
    draft_model: DeviceModel | None
    target: CachedSequence = field(init=False)
    draft: CachedSequence | None = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.target = CachedSequence(self.target_model)
        self.draft = CachedSequence(self.draft_model) if self.draft_model is not None else None

    def fused(self, settings: SamplingSettings, streams: Streams, ends: frozenset[int]) -> FusedWindow | None:
        context = FusingContext(
            self.target, self.draft, settings, streams, ends, self.target_model.vocabulary
        )
        return self.target_model.fuse(context)

    def events(
        self,
        settings: SamplingSettings,
        *,
        fuse: bool = True,
        acceptor: str = "rejection",
        window: int = 5,
        control: Control | None = None,
        eos: Sequence[int] = (),
        prompt: Sequence[int] = PROMPT,
        wrap: Callable[[FusedWindow], FusedWindow] = lambda fused: fused,
        policy: WindowPolicy | None = None,
    ) -> list[RunEvent]:
        """One reply from empty caches."""
        self.forget()
        streams, ends = Streams(settings.seed), frozenset(eos)
        acceptors = RunAcceptors(streams, greedy=settings.greedy)
        control = control or RunControl(window, True, acceptor)
        rule, processor = acceptors(control.acceptor), Processor(settings, len(prompt))
        fused = self.fused(settings, streams, ends) if fuse else None
        draft, chosen = self.draft, policy or FixedWindow()
        drafter = ModelDrafter(draft, processor, acceptors.current, ends) if draft is not None else None
        request = GenerationRequest((Message(Role.USER, "x"),), sampling=settings, window=window)
        started = RunStarted(
            "device", "2026-01-01T00:00:00Z", request, rule.name, rule.lossless, environment(), len(prompt)
        )
        run = SpeculativeRun(
            started=started,
            prompt_ids=prompt,
            parts=Parts(
                target=self.target,
                drafter=drafter,
                acceptor=acceptors,
                policy=lambda _: chosen,
                processor=processor,
                text=Text(_letters, lambda token: _letters([token]), ends),
                clock=TickClock(),
                draft_cached=(lambda: draft.length) if draft is not None else (lambda: 0),
                fused=wrap(fused) if fused is not None else None,
            ),
            control=control,
            submitted_ns=1_000,
        )
        return list(run.events())


def _letters(ids: Sequence[int]) -> str:
    return "".join(chr(0x4E00 + token) for token in ids)


@lru_cache(maxsize=8)
def tiny_pair(noise: float = 0.25, context_limit: int = 300, vocabulary: int = 40) -> DevicePair:
    shape = tiny_shape(vocabulary, context_limit)
    return DevicePair(device_model(shape), device_model(shape, noise=noise, exact=False))
