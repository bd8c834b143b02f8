"""The emulator's submodels: each pads a call to one of its compiled shapes and runs it on the device.

Source: neuronx-distributed-inference 0.9, models/model_wrapper.py and the traced `NeuronBaseModel.forward` of
models/model_base.py. Must not know which submodel a call is for: the application routes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.engine.backends.emulator.launch_log import Launch, LaunchKind
from chatapp.engine.backends.emulator.nxdi.buckets import target_bucket
from chatapp.engine.backends.emulator.nxdi.config import NeuronConfig
from chatapp.engine.backends.emulator.nxdi.llama import Llama

CONTEXT_ENCODING_MODEL_TAG = "context_encoding_model"
TOKEN_GENERATION_MODEL_TAG = "token_generation_model"
SPECULATION_MODEL_TAG = "speculation_model"


KINDS: dict[str, LaunchKind] = {
    CONTEXT_ENCODING_MODEL_TAG: "context",
    TOKEN_GENERATION_MODEL_TAG: "token",
    SPECULATION_MODEL_TAG: "spec",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the submodels of one application share once it is loaded: weights with their KV, and what surrounds a launch."""

    llama: Llama
    launched: Callable[[Launch], AbstractContextManager[None]]


class ModelWrapper(torch.nn.Module):
    """One submodel. `rows` is the number of ids that its graphs take, 0 for a prompt of its bucket's length."""

    def __init__(
        self, tag: str, buckets: list[int], rows: int, config: NeuronConfig, pad_token_id: int
    ) -> None:
        super().__init__()
        self.tag = tag
        self.buckets = buckets
        self.rows = rows
        self.neuron_config = config
        self.pad_token_id = pad_token_id
        self.model: Loaded | None = None
        self.compiled: set[tuple[int, int]] = set()
        """(rows, bucket) of the graphs that were found in the compiled directory."""
        self.traced_window = 0
        """The speculation length that they were traced with, whatever the config says now."""

    @property
    def shapes(self) -> set[tuple[int, int]]:
        """(rows, bucket) of every graph to be compiled."""
        return {(self.rows or bucket, bucket) for bucket in self.buckets}

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits `(1, n, V) float32`; of a prompt those behind its last position alone."""
        if self.model is None:
            raise RuntimeError(
                "Forward called before load. Run load() or load_state_dict() making calling forward"
            )
        bucket = self._bucket(attention_mask)
        # Missing ends are padded, and where `bucket` is shorter, F.pad cuts.
        mask = F.pad(attention_mask, (0, bucket - attention_mask.shape[1]))
        if self.tag == CONTEXT_ENCODING_MODEL_TAG:
            missing = bucket - input_ids.shape[1]
            input_ids = F.pad(input_ids, (0, missing), value=self.pad_token_id)
            position_ids = F.pad(position_ids, (0, bucket - position_ids.shape[1]), value=1)
        self._check(input_ids, position_ids, bucket)
        launch = Launch(KINDS[self.tag], input_ids.shape[1], bucket)
        with self.model.launched(launch), torch.inference_mode():
            return self.run(self.model.llama, input_ids[0], mask[0], position_ids[0], bucket)[None]

    def _bucket(self, mask: torch.Tensor) -> int:
        speculation = self.neuron_config.speculation_length if self.tag == SPECULATION_MODEL_TAG else 0
        try:
            return target_bucket(self.buckets, mask.shape[1], speculation, self.tag)
        except ValueError:
            if self.neuron_config.allow_input_truncation:
                return self.buckets[-1]
            raise

    def _check(self, ids: torch.Tensor, positions: torch.Tensor, bucket: int) -> None:
        assert self.model is not None
        if (ids.shape[1], bucket) not in self.compiled or ids.shape[0] != 1 or ids.shape != positions.shape:
            # Nothing public says how the runtime words this.
            raise RuntimeError(
                f"emulator: {self.tag} has no graph for input_ids {tuple(ids.shape)}, position_ids "
                f"{tuple(positions.shape)} and a KV of {bucket} positions"
            )
        if int(positions.max()) >= self.model.llama.kv.shape[3]:
            # aws-neuron-sdk, neuron-runtime/nrt-troubleshoot.rst: a scatter index that is out of range.
            raise RuntimeError('nrt_execute status=1006 message="out-of-bound access"')

    def run(
        self, llama: Llama, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, bucket: int
    ) -> torch.Tensor:
        """What a traced graph computes, `[rows, V]`; `mask` is `[bucket]`."""
        if len(ids) > 1 and len(ids) != self.traced_window:
            # A prompt: every row sees those before it, whatever the mask says, and slots 0 … bucket are written.
            nothing = torch.zeros(0, dtype=torch.bool)
            states = llama.states(ids, positions, nothing, torch.arange(bucket))
            last = int(torch.max(positions, dim=0).indices)
            return llama.logits(states[last : last + 1])
        # The graph tells prompts from windows by their length alone: a context bucket of `speculation_length` comes here too.
        return llama.logits(llama.states(ids, positions, mask.bool(), positions.long()))
