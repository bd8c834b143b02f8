"""The peer's single forward passes: transformers' own model and cache, called the way `generate` calls them.

Used by benchmarks alone. What is timed is the model's call; taking the pass back is left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chatapp.engine.backends.hf_generate import load_peer


class PeerPasses:
    """A decoder that has read a context, and then reads a few tokens over and over."""

    def __init__(self, directory: Path, dtype: str) -> None:
        """`dtype` is torch's name; on the CPU."""
        self._model = load_peer(directory, "cpu", dtype)
        self._cache: Any = None

    def read(self, ids: Sequence[int]) -> None:
        """The context, replacing the one before."""
        from transformers import DynamicCache

        self._cache = DynamicCache()
        with torch.inference_mode():
            self._model(
                torch.tensor([list(ids)]), past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )

    def timed(self, ids: Sequence[int]) -> int:
        """Nanoseconds of one pass over `ids` behind the context, logits of all of them; the context stays as it was."""
        assert self._cache is not None, "read a context first"
        with torch.inference_mode():
            begin_ns = time.perf_counter_ns()
            self._model(torch.tensor([list(ids)]), past_key_values=self._cache, use_cache=True)
            took_ns = time.perf_counter_ns() - begin_ns
            # As a number to take off: not every version takes the length to keep.
            self._cache.crop(-len(ids))
        return took_ns
