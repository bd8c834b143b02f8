"""The peer: Hugging Face `generate`, with and without `assistant_model`, timed the way our own replies are.

Used by the benchmark alone. Same weights, device, dtype and thread count; the library's own best path is left to it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.synthetic import SURE


@dataclass
class _StampedChunks:
    """A streamer that notes when how many tokens came. The prompt is the first thing that `generate` puts."""

    stamps_ns: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    _prompt_seen: bool = False

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self.stamps_ns.append(time.perf_counter_ns())
        self.counts.append(int(value.numel()))

    def end(self) -> None:
        """Part of the streamer protocol; nothing is buffered here."""


@dataclass(frozen=True, slots=True)
class PeerReply:
    """Times as in `chatapp.bench.measure.Reply`: the first chunk, however many tokens it holds, is no decode time."""

    ttft_ns: int
    decode_ns: int
    decode_tokens: int
    tokens: tuple[int, ...]


class TransformersPeer:
    """Target and draft as plain transformers models."""

    def __init__(self, target: Path, draft: Path | None, *, device: str, dtypes: tuple[str, str]) -> None:
        """`device` and `dtypes` (target's, draft's; torch's names) are those that our own side runs with."""
        self._take(
            load_peer(target, device, dtypes[0]),
            load_peer(draft, device, dtypes[1]) if draft is not None else None,
        )

    @classmethod
    def of_models(cls, target: Any, draft: Any | None) -> TransformersPeer:
        """Of models that are there already."""
        peer = cls.__new__(cls)
        peer._take(target, draft)
        return peer

    def _take(self, target: Any, draft: Any | None) -> None:
        self._target, self._draft = target, draft
        self.target_passes = 0
        """Forward passes of the target so far."""
        self._target.register_forward_pre_hook(self._count_pass)

    def _count_pass(self, *_: Any) -> None:
        self.target_passes += 1

    def rig(self, story: Sequence[int]) -> None:
        """From here on the draft pays its forwards and then proposes `story` (prompt and reply, from position 0), as
        `synthetic.RiggedModel` does on our side. Raises `ValueError` without a draft."""
        if self._draft is None:
            raise ValueError("there is no draft to rig")

        def say(module: Any, args: Any, output: Any) -> None:  # noqa: ARG001 - the signature of torch's hooks
            rows = output.logits.shape[1]
            first = output.past_key_values.get_seq_length() - rows
            for row in range(rows):
                if first + row + 1 < len(story):
                    output.logits[0, row, story[first + row + 1]] = SURE

        self._draft.register_forward_hook(say)

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: SamplingSettings,
        eos_ids: Sequence[int],
        assistant_tokens: int | None,
    ) -> PeerReply:
        """`assistant_tokens` None: the target alone; 0: assisted with the library's defaults; n: a constant n per window."""
        options: dict[str, Any] = {
            "max_new_tokens": sampling.max_tokens,
            "do_sample": not sampling.greedy,
            "eos_token_id": list(eos_ids) or None,
            "pad_token_id": next(iter(eos_ids), 0),
            "repetition_penalty": sampling.repetition_penalty,
        }
        if not sampling.greedy:
            options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
            if sampling.min_p:
                options["min_p"] = sampling.min_p
        if assistant_tokens is not None and self._draft is not None:
            options["assistant_model"] = self._draft
            config = self._draft.generation_config
            defaults = type(config)()
            config.num_assistant_tokens = assistant_tokens or defaults.num_assistant_tokens
            schedule = "constant" if assistant_tokens else defaults.num_assistant_tokens_schedule
            config.num_assistant_tokens_schedule = schedule
            config.assistant_confidence_threshold = (
                0.0 if assistant_tokens else defaults.assistant_confidence_threshold
            )
        streamer = _StampedChunks()
        torch.manual_seed(sampling.seed)  # generate() has no generator argument of its own
        ids = torch.tensor([list(prompt_ids)], device=self._target.device)
        begin_ns = time.perf_counter_ns()
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = self._target.generate(
                ids, attention_mask=torch.ones_like(ids), streamer=streamer, **options
            )
        tokens = tuple(int(token) for token in output[0, len(prompt_ids) :])
        stamps = streamer.stamps_ns
        return PeerReply(
            ttft_ns=stamps[0] - begin_ns,
            decode_ns=stamps[-1] - stamps[0],
            decode_tokens=len(tokens) - streamer.counts[0],
            tokens=tokens,
        )


def load_peer(directory: Path, device: str, dtype: str) -> Any:
    """The plain transformers model. Progress bars and hints of the library would fall between a benchmark's lines."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()

    name = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        str(directory), local_files_only=True, **{name: getattr(torch, dtype)}
    )
    return model.to(device).eval()
