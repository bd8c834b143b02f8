"""Any causal decoder that transformers can run, over a cache that can be rewound. CPU or CUDA.

The fast path (`decoder`) covers the Llama shape; everything else comes here.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chatapp.domain.errors import LoadFailed, UnsupportedModel, WeightsDamaged
from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.checkpoint import Checkpoint, read_checkpoint

REWIND_TOLERANCE = 0.05
"""Of the largest logit: far above bfloat16's rounding, far below what a token more or less in the context changes."""


class TransformersModel:
    """Implements `contracts.CausalModel` over `AutoModelForCausalLM` and a `DynamicCache`."""

    prefill_rows = 64

    def __init__(self, model: Any, info: ModelInfo, context_limit: int) -> None:
        self.info = info
        self.context_limit = context_limit
        self._model = model
        self._cache = _empty_cache()
        self._weight_bytes: int = sum(p.numel() * p.element_size() for p in model.parameters())
        parameters = inspect.signature(model.forward).parameters
        # The argument was renamed in transformers 4.48.
        names = ("logits_to_keep", "num_logits_to_keep")
        self._rows_argument = next((name for name in names if name in parameters), None)
        head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
        self.vocabulary = int(head.shape[0])
        self._embedding_apart = head is not embedding
        self._embedding_row = embedding[0].nbytes
        self._weight_bytes = sum(parameter.nbytes for parameter in model.parameters())
        if self._embedding_apart:
            self._weight_bytes -= embedding.nbytes
        self._position_bytes = 0

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: str, dtype: torch.dtype, words: str) -> TransformersModel:
        """`words` say for people what it runs in and why it runs here. Raises `WeightsDamaged`, `LoadFailed` with
        transformers' own words, `UnsupportedModel` when its cache cannot be rewound."""
        import transformers

        # The argument was renamed in transformers 5.
        dtype_argument = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
        checkpoint.check_files()
        model: Any
        report: Any
        options: dict[str, Any] = {dtype_argument: dtype}
        # Reported and looked at below, with the weight's name.
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        try:
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                str(checkpoint.directory), local_files_only=True, **options
            )
            model, report = loaded
            model.to(device).eval()
        except Exception as error:  # each architecture has its own code and its own ways to fail
            raise LoadFailed(f"transformers cannot load {checkpoint.directory}: {error}") from error
        # transformers fills both with random numbers and says so in its log only.
        for key, what in (
            ("missing_keys", "lacks the weight"),
            ("mismatched_keys", "does not fit its config.json in"),
        ):
            if report[key]:
                raise WeightsDamaged(
                    f"{checkpoint.directory} {what} {min(map(str, report[key]))}.",
                    remedy="Download or copy the model again.",
                )
        limit = int(getattr(model.config, "max_position_embeddings", 0) or 2048)
        info = ModelInfo(
            checkpoint.name,
            checkpoint.architecture,
            sum(parameter.numel() for parameter in model.parameters()),
            str(dtype).removeprefix("torch."),
            checkpoint.weights_sha256(),
            runs_on=f"transformers, {words}",
        )
        usable = cls(model, info, limit)
        usable._check_rewinding(checkpoint)
        return usable

    @classmethod
    def reference(cls, directory: Path) -> TransformersModel:
        """In float32 on the processor whatever the checkpoint is in: what others are held against. Raises as `load` does."""
        return cls.load(read_checkpoint(directory), "cpu", torch.float32, "float32, as a reference")

    def _check_rewinding(self, checkpoint: Checkpoint) -> None:
        """Compute a position, rewind, compute it again. Recurrent models do not fail at it: they give something else."""
        what = f"{checkpoint.architecture} keeps a cache that cannot be rewound"
        remedy = "Choose a model with ordinary attention."
        try:
            first = self.forward([0, 1, 2], 0, 3)[1]
            self._position_bytes = _bytes(self._cache) // 3
            again = self.forward([1], 1, 1)[0]
        except Exception as error:  # as above: each architecture's own code
            raise UnsupportedModel(f"{what} ({error}).", remedy=remedy) from error
        if not bool(torch.isfinite(first).all()):
            raise WeightsDamaged(
                f"{checkpoint.directory} gives logits that are not finite: its weights are damaged.",
                remedy="Download or copy the model again.",
            )
        if float((first - again).abs().max()) > REWIND_TOLERANCE * float(first.abs().max()):
            raise UnsupportedModel(f"{what}.", remedy=remedy)

    def traffic(self, count: int, start: int) -> int:
        """Of embeddings only the rows that are looked up, unless they are the head too."""
        looked_up = count * self._embedding_row if self._embedding_apart else 0
        return self._weight_bytes + looked_up + self._position_bytes * (start + count)

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        surplus = self._cache.get_seq_length() - start
        if start == 0:
            # A pass that failed half-way leaves layers of different lengths, which no crop puts right.
            self._cache = _empty_cache()
        elif surplus > 0:
            # As a number to take off: transformers 5 refuses the length to keep, and 4.47 knows both.
            self._cache.crop(-surplus)
        options: dict[str, Any] = {self._rows_argument: rows} if self._rows_argument else {}
        output = self._model(
            input_ids=torch.tensor([list(ids)], device=self._model.device),
            past_key_values=self._cache,
            use_cache=True,
            **options,
        )
        # One copy to the host per pass: everything behind this line is on the CPU.
        logits: torch.Tensor = output.logits[0, -rows:].float().cpu()
        return logits


def _bytes(cache: Any) -> int:
    """Of its keys and values; 0 where the library keeps them in another way than it does now."""
    # Attributes of transformers 5, and of 4 before its caches had layers.
    pairs = [(layer.keys, layer.values) for layer in getattr(cache, "layers", ())]
    pairs = pairs or list(
        zip(getattr(cache, "key_cache", ()), getattr(cache, "value_cache", ()), strict=True)
    )
    return sum(tensor.nbytes for pair in pairs for tensor in pair if isinstance(tensor, torch.Tensor))


def _empty_cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()
