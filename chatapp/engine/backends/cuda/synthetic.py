"""Pairs of random weights made on the device, for measuring: the shapes of real models, and a draft whose acceptance is set.

Speed does not depend on what the weights are. The draft pays its own forwards and then proposes what it was told: the
target's own continuation, with other ids at some places. Every weight is drawn from a seed of its own, so that the peer's
model gets the same ones without a second copy of all of them. Used by the benchmark alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.cuda.decoder import StaticDecoder
from chatapp.engine.backends.cuda.device import DeviceModel
from chatapp.engine.backends.cuda.launch import launcher_for
from chatapp.engine.backends.decoder.rotary import RotaryPositions
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import expected_shapes
from chatapp.engine.backends.hf_generate import TransformersPeer
from chatapp.engine.backends.synthetic import SPREAD, SURE

CONTEXT = 1024
DTYPE = torch.bfloat16


def _llama(
    vocabulary: int, hidden: int, layers: int, heads: int, kv_heads: int, inner: int, *, tied: bool
) -> DecoderShape:
    return DecoderShape(
        vocabulary=vocabulary,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        intermediate=inner,
        context_limit=CONTEXT,
        norm_eps=1e-5,
        rotary=RotaryPositions(500_000.0),
        tied=tied,
    )


SHAPES = {
    "8B": _llama(128_256, 4096, 32, 32, 8, 14_336, tied=False),  # Llama 3.1 8B
    "1B": _llama(128_256, 2048, 16, 32, 8, 8192, tied=True),  # Llama 3.2 1B
    "0.1B": _llama(128_256, 512, 12, 8, 4, 1536, tied=True),
    "1M": _llama(2000, 128, 4, 4, 2, 384, tied=True),
    "0.1M": _llama(2000, 32, 1, 2, 1, 64, tied=True),
}
PAIRS = {"8B+1B": ("8B", "1B"), "1B+0.1B": ("1B", "0.1B"), "tiny": ("1M", "0.1M")}


class RiggedDecoder(StaticDecoder):
    """Computes everything and then wants `story[p]` behind position p."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.story = torch.zeros_like(self._places)

    def rows(self, ids: torch.Tensor, start: torch.Tensor, reach: int) -> torch.Tensor:
        self._read = start + self._places[: ids.shape[0]]
        return super().rows(ids, start, reach)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        said = self.story.index_select(0, self._read[-states.shape[0] :])
        return super().logits(states).scatter(1, said[:, None], SURE)


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """Our two models and the peer's two, of the same random weights."""

    target: DeviceModel
    draft: DeviceModel
    peer: TransformersPeer

    def rig(self, ours: Sequence[int], theirs: Sequence[int]) -> None:
        """What each side's draft wants: prompt and reply, from position 0."""
        decoder = self.draft.decoder
        assert isinstance(decoder, RiggedDecoder)
        with torch.inference_mode():
            decoder.story[: len(ours) - 1] = torch.tensor(ours[1:])
        self.peer.rig(theirs)


def make_pair(name: str, device: str) -> SyntheticPair:
    """Raises `KeyError` for an unknown pair, torch's own `RuntimeError` where memory does not suffice after all."""
    target, draft = PAIRS[name]
    return SyntheticPair(
        _model(target, device, rigged=False),
        _model(draft, device, rigged=True),
        TransformersPeer.of_models(_peer(target, device), _peer(draft, device)),
    )


def needed_bytes(name: str) -> int:
    """What a pair takes on the device: ours and the peer's weights, and a fifth for what is computed with them."""
    weights = sum(_parameters(SHAPES[side]) for side in PAIRS[name]) * DTYPE.itemsize
    return int(2 * weights * 1.2)


def free_bytes(device: str) -> int:
    """Memory that is free on the device; on the CPU as Linux tells, and half a gigabyte where it does not."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 1 << 29
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 1 << 29)


def _parameters(shape: DecoderShape) -> int:
    return sum(torch.Size(size).numel() for size in expected_shapes(shape).values())


def _weight(name: str, size: tuple[int, ...], device: str) -> torch.Tensor:
    if len(size) == 1:
        return torch.ones(size, dtype=DTYPE, device=device)
    generator = torch.Generator(device).manual_seed(zlib.crc32(f"{name} {size}".encode()))
    return torch.empty(size, dtype=DTYPE, device=device).normal_(0.0, SPREAD, generator=generator)


@torch.inference_mode()
def _model(name: str, device: str, *, rigged: bool) -> DeviceModel:
    shape = SHAPES[name]
    weights = {one: _weight(one, size, device) for one, size in expected_shapes(shape).items()}
    info = ModelInfo(f"random {name}", "LlamaForCausalLM", _parameters(shape), "bfloat16", "")
    make = RiggedDecoder if rigged else StaticDecoder
    launcher = launcher_for(torch.device(device))
    return DeviceModel(shape, weights, info, launcher, exact=not rigged, make_decoder=make)


def _peer(name: str, device: str) -> Any:
    """transformers' model of the same weights."""
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()  # its hints would fall between the benchmark's lines
    shape = SHAPES[name]
    newer = int(transformers.__version__.split(".")[0]) >= 5
    theta = shape.rotary.theta
    positions: dict[str, Any] = {"rope_theta": theta}
    if newer:
        positions = {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context_limit,
        rms_norm_eps=shape.norm_eps,
        tie_word_embeddings=shape.tied,
        # Random text has no end.
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **positions,
    )
    options: dict[str, Any] = {"dtype" if newer else "torch_dtype": DTYPE}
    with torch.device(device):
        model: Any = transformers.AutoModelForCausalLM.from_config(config, **options)
    with torch.no_grad():
        for long, parameter in model.named_parameters():
            parameter.copy_(_weight(long.removeprefix("model."), tuple(parameter.shape), device))
    return model.eval()
