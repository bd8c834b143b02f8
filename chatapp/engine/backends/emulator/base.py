"""From a constructed model to one that runs: `to_neuron`, compiling ahead of time, saving and loading what was compiled.

Knows decoders and kernels, and no architecture. Source: transformers_neuronx 0.13, base.py:39-132,286-318,690-797.
"""

from __future__ import annotations

import concurrent.futures
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from chatapp.engine.backends.emulator import buckets
from chatapp.engine.backends.emulator.graphs import Decoder, Kernel, Shared, hash_hlo
from chatapp.engine.backends.emulator.neuron_config import NeuronConfig

KILLED = "A process in the process pool was terminated abruptly while the future was running or pending."


class NeuronModelBase(torch.nn.Module):
    """Subclasses make the token and context decoders and load weights."""

    neuron_config: NeuronConfig
    token_buckets: list[int]
    context_buckets: list[int]
    batch_sizes: list[int]
    unroll: int

    def __init__(self) -> None:
        super().__init__()
        self.nbs_objs: list[Decoder] = []
        self.window_context_buckets: list[int] = []
        self.decoder_lm_head_for_context: dict[tuple[int, int], Decoder] = {}
        self.decoder_lm_head_for_speculation: dict[tuple[int, int], Decoder] = {}
        self.decoder_lm_head_for_window_context: dict[int, Decoder] = {}
        self.decoder_lm_head: Decoder
        self._shared: Shared
        self._compiled_artifacts_directory: Path | None = None

    def load_weights(self) -> None:
        raise NotImplementedError

    def to_neuron(self) -> None:
        """Cores, weights, programs, compilation, loading: in this order, so that compile errors come last. Works once: a
        second call appends every layer again."""
        self._shared.device.initialize()
        self.load_weights()
        if self._compiled_artifacts_directory is None:
            self.compile()
        else:
            self._load_compiled_artifacts(self._compiled_artifacts_directory)
        self.setup()

    def cpu_compile(self) -> None:
        """Compile without a device; `save` then writes the artefacts. The model cannot run afterwards."""
        self._shared.on_device = False
        self.load_weights()
        self.compile()

    def compile(self, parallel_degree: int | None = None) -> None:
        """Every program, each once, in a pool of as many processes as there are kernels unless the config says otherwise."""
        kernels = {hash_hlo(kernel.hlo_module): kernel for kernel in self._get_all_kernels()}
        behaviour = self._shared.device.behaviour
        if behaviour.compiler_killed:
            raise BrokenProcessPool(KILLED)
        if behaviour.compile_in_processes:
            workers = parallel_degree or self.neuron_config.compilation_worker_count or len(kernels)
            with concurrent.futures.ProcessPoolExecutor(workers) as pool:
                futures = {name: pool.submit(kernel.compile) for name, kernel in kernels.items()}
                compiled = {name: future.result() for name, future in futures.items()}
        else:
            compiled = {name: kernel.compile() for name, kernel in kernels.items()}
        for kernel in self._get_all_kernels():
            kernel.neff_bytes = compiled[hash_hlo(kernel.hlo_module)]

    def setup(self) -> None:
        for decoder in self.nbs_objs:
            decoder.setup()

    def save(self, directory: str | Path, sharded_weights: bool = False) -> None:
        """One file per program, named by its hash. Raises `FileExistsError` where a file stands in the way."""
        if sharded_weights:
            raise NotImplementedError("the emulator of transformers_neuronx does not know sharded_weights")
        folder = Path(directory)
        if folder.is_file():
            raise FileExistsError(
                f"Artifacts should be saved to a directory. Found existing file: {directory}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for decoder in self.nbs_objs:
            decoder.save_compiler_artifacts(folder)

    def load(self, directory: str | Path) -> None:
        """Take compiled programs from here in `to_neuron`; nothing is looked at before."""
        self._compiled_artifacts_directory = Path(directory)

    def _load_compiled_artifacts(self, directory: Path) -> None:
        if not directory.is_dir():
            raise FileNotFoundError(f"Did not find directory: {directory}.")
        for decoder in self.nbs_objs:
            decoder.set_neff_bytes(directory)

    def is_compiled(self) -> bool:
        try:
            return all(kernel.neff_bytes is not None for kernel in self._get_all_kernels())
        except AttributeError:
            return False  # not traced yet

    def _get_all_kernels(self) -> list[Kernel]:
        return [kernel for decoder in self.nbs_objs for kernel in decoder.get_all_kernels()]

    def register_for_serialization(self, decoder: Decoder) -> None:
        self.nbs_objs.append(decoder)

    def enable_speculative_decoder(
        self,
        speculation_length: int | list[int],
        batch_sizes: int | list[int] | None = None,
        token_tree: Any = None,
    ) -> None:
        """A decoder per length and batch size, in the order given. After `to_neuron` it is never traced."""
        if token_tree is not None:
            raise NotImplementedError("the emulator of transformers_neuronx does not know token_tree")
        lengths = [speculation_length] if isinstance(speculation_length, int) else speculation_length
        batches = self.batch_sizes if batch_sizes is None else batch_sizes
        for length in lengths:
            for batch in [batches] if isinstance(batches, int) else batches:
                decoder = Decoder(
                    self._shared,
                    "spec",
                    self.token_buckets,
                    length,
                    [batch],
                    self.unroll,
                    return_all_outputs=True,
                    tag=f"speculation-k{length}",
                )
                self.decoder_lm_head_for_speculation[length, batch] = decoder
                self.register_for_serialization(decoder)

    def enable_window_context_decoder(
        self, window_context_length: int | list[int] | None, unroll: int | None = None
    ) -> None:
        """Wider steps for what a prefill has left over."""
        if isinstance(window_context_length, int):
            window_context_length = [window_context_length]
        self.window_context_buckets = buckets.context_sizes(window_context_length, self.token_buckets)
        for length in self.window_context_buckets:
            decoder = Decoder(
                self._shared,
                "window",
                self.token_buckets,
                length,
                self.batch_sizes,
                unroll or self.unroll,
                return_all_outputs=self.neuron_config.output_all_logits,
                tag=f"window-width{length}",
            )
            self.decoder_lm_head_for_window_context[length] = decoder
            self.register_for_serialization(decoder)

    def reset(self) -> None:
        """Zeros in the whole KV of every batch size."""
        self.decoder_lm_head.reset()

    def context(
        self,
        hidden: torch.Tensor,
        cache_ids: torch.Tensor,
        start_ids: torch.Tensor,
        last_token_id: torch.Tensor,
    ) -> torch.Tensor:
        """A prompt: one context launch, then what is left over by windows and by single tokens, always from position 0."""
        length = hidden.shape[1]
        current = 0
        logits = torch.empty(0)
        estimate = buckets.find(self.context_buckets, length)
        if estimate is not None:
            if length < estimate:
                raise ValueError(f"context_length ({length}) shouldn't be smaller than estimate ({estimate})")
            decoder = self.decoder_lm_head_for_context[estimate, start_ids.shape[0]]
            logits = decoder(hidden[:, :estimate], cache_ids[..., :estimate], start_ids, last_token_id)
            current = estimate
        while current < length:
            width = buckets.find(self.window_context_buckets, length - current)
            if width is None or length - current < width:
                for place in range(current, length):
                    ids = torch.tensor([place], dtype=torch.int32)
                    logits = self.decoder_lm_head(hidden[:, place : place + 1], ids, start_ids, last_token_id)
                break
            ids = torch.arange(current, current + width, dtype=torch.int32)
            window = self.decoder_lm_head_for_window_context[width]
            part = hidden[:, current : current + width]
            logits = window(part, ids, start_ids, torch.tensor(width - 1))
            current += width
        return logits

    def _preprocess(
        self, input_ids: torch.Tensor, cache_ids: torch.Tensor | None, start_ids: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A prompt from position 0 is padded with token 0 to its context bucket; what starts later is left as it is."""
        batch, length = input_ids.shape
        last = torch.tensor(0, dtype=torch.int32)
        estimate = buckets.find(self.context_buckets, length)
        if length > 1 and estimate is not None:
            last = torch.tensor(min(length, estimate) - 1, dtype=torch.int32)
            if self.neuron_config.vectorize_last_token_id and cache_ids is not None:
                last = cache_ids.max(dim=1).values
            from_zero = cache_ids is None or int(cache_ids.flatten()[0]) == 0
            if from_zero and length < estimate:
                input_ids = torch.nn.functional.pad(input_ids, (0, estimate - length))
                cache_ids = None
        if start_ids is None:
            start_ids = torch.zeros(batch, dtype=torch.int32)
        if cache_ids is None:
            cache_ids = torch.arange(input_ids.shape[1], dtype=torch.int32)
            if self.neuron_config.use_2d_cache_ids:
                cache_ids = cache_ids.expand(batch, -1)
        return input_ids, cache_ids, start_ids, last

    def _cast_logits(self, logits: torch.Tensor) -> torch.Tensor:
        dtype: torch.dtype = getattr(torch, self.neuron_config.cast_logits_dtype)
        return logits.to(dtype)
