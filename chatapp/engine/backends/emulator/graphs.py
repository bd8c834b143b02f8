"""Compiled graphs: programs with a name of their own, the kernels that hold them, and the decoders that choose among them.

A decoder stands for all graphs of one kind and row count, one per bucket and batch size. All share weights and KV with the
token decoder. Knows no checkpoint and no sampling.

Source: transformers_neuronx 0.13, decoder.py:248-463,1990-2260, base.py:766-797; neuron-contract.md §§1.5, 2.2.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chatapp.engine.backends.emulator.arithmetic import Arithmetic, KeyValues, LayerWeights, Rows
from chatapp.engine.backends.emulator.device import Device, log
from chatapp.engine.backends.emulator.launch_log import Launch, LaunchKind, LaunchLog

NO_MATCHING_NEFF = (
    "Could not find a matching NEFF for your HLO in this directory. Ensure that the model you are trying to load is the "
    'same type and has the same parameters as the one you saved or call "save" on this model to reserialize it.'
)
HASH_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Program:
    """What was traced: shapes and options, and no weights."""

    text: str

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's spelling
        return self.text.encode()


def hash_hlo(hlo_module: Program) -> str:
    """The file name of a compiled program."""
    return hashlib.sha256(hlo_module.SerializeToString()).hexdigest()[:HASH_DIGITS] + ".neff"


class Kernel:
    """One program, compiled or not."""

    def __init__(self, program: Program, tag: str, device: Device, cores: range) -> None:
        self.hlo_module = program
        self.tag = tag
        self.neff_bytes: bytes | None = None
        self._device = device
        self._cores = cores

    def compile(self) -> bytes:
        """The bytes of a NEFF. Takes a while, and calls the hook, as the simulated instance says."""
        behaviour = self._device.behaviour
        if behaviour.compile_hook is not None:
            behaviour.compile_hook(self.tag, hash_hlo(self.hlo_module))
        if behaviour.compile_seconds:
            time.sleep(behaviour.compile_seconds)
        return b"emulated NEFF\n" + self.hlo_module.SerializeToString()

    def load(self) -> None:
        self._device.load_graph(self._cores)


@dataclass(slots=True)
class Shared:
    """What all decoders of a model have in common; `caches` by batch size."""

    model: object
    device: Device
    launches: LaunchLog
    arithmetic: Arithmetic
    cores: range
    traced: dict[str, Any]
    two_dimensional_ids: bool
    on_device: bool = True
    """False while compiling on a machine without devices."""
    caches: dict[int, KeyValues] = field(default_factory=dict)


class DecoderLayer:
    """One layer on its way to the cores."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def to_neuron(self, weights: LayerWeights, size: int) -> None:
        """Upload weights and a KV per batch size, `size` bytes per core together. Raises `RuntimeError`."""
        shared = self._shared
        if shared.on_device:
            shared.device.allocate_tensor(shared.cores, size)
        shared.arithmetic.layers.append(weights)
        for cache in shared.caches.values():
            cache.add_layer()


class DecoderProgram:
    """The kernels of one decoder. Loaded by `setup`; running before that is a `KeyError`, there being no memories."""

    def __init__(self, decoder: Decoder, layers: int) -> None:
        self.n_positions_list = decoder.n_positions_list
        self.kernels: dict[tuple[int, int], Kernel] = {}
        self.ln_lm_head_kernels: list[Kernel] = []
        self.memories: set[tuple[int, int]] = set()
        shared = decoder.shared
        if layers % decoder.unroll:
            raise ValueError(f"unroll={decoder.unroll} does not divide num_layers={layers}")
        for positions, batch in itertools.product(decoder.n_positions_list, decoder.batch_size):
            traced = shared.traced | {
                "kind": decoder.kind,
                "rows": decoder.n_active_tokens,
                "positions": positions,
                "batch": batch,
                "layers": layers,
                "unroll": decoder.unroll,
                "all_outputs": decoder.return_all_outputs,
            }
            program = Program(json.dumps(traced, sort_keys=True))
            tag = f"{decoder.tag}-seqlen{positions}-batch{batch}"
            self.kernels[positions, batch] = Kernel(program, tag, shared.device, shared.cores)
        if decoder.unroll != layers:
            for batch in decoder.batch_size:
                traced = shared.traced | {
                    "kind": "ln_lm_head",
                    "rows": decoder.n_active_tokens,
                    "batch": batch,
                }
                program = Program(json.dumps(traced, sort_keys=True))
                kernel = Kernel(
                    program, f"{decoder.tag}-ln_lm_head-batch{batch}", shared.device, shared.cores
                )
                self.ln_lm_head_kernels.append(kernel)

    def get_kernels(self) -> list[Kernel]:
        return [*self.kernels.values(), *self.ln_lm_head_kernels]

    def setup(self) -> None:
        for kernel in self.get_kernels():
            kernel.load()
        self.memories = set(self.kernels)

    def find_bucket_id(self, length: int) -> int:
        """Raises a bare `StopIteration` past the last bucket, as the library's `next` over a generator does."""
        return next(place for place, size in enumerate(self.n_positions_list) if size >= length + 1)


class Decoder:
    """Graphs of one kind. `program` is None until the model is traced."""

    def __init__(
        self,
        shared: Shared,
        kind: LaunchKind,
        n_positions_list: list[int],
        n_active_tokens: int,
        batch_size: list[int],
        unroll: int,
        *,
        return_all_outputs: bool,
        tag: str,
    ) -> None:
        self.shared = shared
        self.kind = kind
        self.n_positions_list = n_positions_list
        self.n_active_tokens = n_active_tokens
        self.batch_size = batch_size
        self.unroll = unroll
        self.return_all_outputs = return_all_outputs
        self.tag = tag
        # A `DecoderProgram` and a tuple once traced; using them before fails as it does in the library.
        self.program: Any = None
        self.inputs_sdim: Any = None

    def new_layer(self, *, is_unit_scale: bool = False) -> DecoderLayer:
        """The next layer, empty: called once per layer while weights are loaded."""
        del is_unit_scale  # quantisation alone asks for it
        return DecoderLayer(self.shared)

    def trace(self) -> None:
        """Build the program of every bucket, over the layers that were loaded so far."""
        self.program = DecoderProgram(self, len(self.shared.arithmetic.layers))
        self.inputs_sdim = (1, 0, None, None)

    def get_all_kernels(self) -> list[Kernel]:
        kernels: list[Kernel] = self.program.get_kernels()
        return kernels

    def save_compiler_artifacts(self, directory: Path) -> None:
        for kernel in self.get_all_kernels():
            assert kernel.neff_bytes is not None, (
                "cannot save a model which has not been successfully compiled"
            )
            (directory / hash_hlo(kernel.hlo_module)).write_bytes(kernel.neff_bytes)

    def set_neff_bytes(self, directory: Path) -> None:
        for kernel in self.get_all_kernels():
            try:
                kernel.neff_bytes = (directory / hash_hlo(kernel.hlo_module)).read_bytes()
            except FileNotFoundError:
                raise FileNotFoundError(NO_MATCHING_NEFF) from None

    def setup(self) -> None:
        """Load every graph. The library then runs each once on buffers of zeros, which leaves zeros at position 0."""
        self.program.setup()

    def reset(self) -> None:
        for cache in self.shared.caches.values():
            cache.zero()

    def __call__(
        self,
        hidden: torch.Tensor,
        cache_ids: torch.Tensor,
        start_ids: torch.Tensor,
        last_token_id: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits `[padded vocabulary, rows, batch]` of `hidden [hidden, rows, batch]`: all rows, or the last real one."""
        sequence_dim, *_ = self.inputs_sdim
        batch = start_ids.shape[0]
        length = hidden.shape[sequence_dim]
        if length == 1:
            highest = cache_ids.max() if self.shared.two_dimensional_ids else cache_ids
            if self.shared.two_dimensional_ids:
                batch, _ = cache_ids.shape
            bucket_id = self.program.find_bucket_id(int(highest.item()))
            return self._launch(bucket_id, batch, hidden, cache_ids, start_ids, last_token_id)
        starts: Any = range(0, length, self.n_active_tokens)
        if self.n_active_tokens > 1 and self.return_all_outputs:
            starts = [0]
        logits = torch.empty(0)
        for start in starts:
            part = slice(start, start + self.n_active_tokens)
            # The bucket is that of the highest position asked for, also when its row is cut away.
            bucket_id = self.program.find_bucket_id(int(cache_ids.max().item()))
            logits = self._launch(
                bucket_id, batch, hidden[:, part], cache_ids[..., part], start_ids, last_token_id
            )
        return logits

    def _launch(
        self,
        bucket_id: int,
        batch: int,
        hidden: torch.Tensor,
        cache_ids: torch.Tensor,
        start_ids: torch.Tensor,
        last_token_id: torch.Tensor | None,
    ) -> torch.Tensor:
        bucket = self.n_positions_list[bucket_id]
        if (bucket, batch) not in self.program.memories:
            raise KeyError((bucket, batch))
        self._check_shapes(batch, hidden, cache_ids, start_ids)
        shared = self.shared
        with shared.launches.launched(shared.model, Launch(self.kind, self.n_active_tokens, bucket)):
            if shared.device.behaviour.executions_hang:
                log("NRT:nrt_execute", "Execution timed out (NEURON_RT_EXEC_TIMEOUT)")
                raise RuntimeError('nrt_execute status=5 message="Timeout"')
            positions = cache_ids.to(torch.int32).long()
            if int(positions.min()) < 0:
                log(
                    "TDRV:exec_consume_infer_status_notifications",
                    "scatter/gather (indirect memory copy) with out-of-bound access",
                )
                raise RuntimeError('nrt_execute status=1006 message="Out of bound access"')
            wanted = slice(None)
            if not self.return_all_outputs:
                last = self.n_active_tokens - 1 if last_token_id is None else int(last_token_id.max())
                wanted = slice(last, last + 1)
            logits = shared.arithmetic.run(
                Rows(
                    hidden.permute(2, 1, 0),
                    positions if positions.ndim == 2 else positions.expand(batch, -1),
                    start_ids.long(),
                    reads_stored=self.kind != "context",
                ),
                shared.caches[batch],
                wanted,
            )
        if bool(logits.isnan().any()):
            raise RuntimeError('nrt_execute status=1003 message="Numerical Error"')
        return logits

    def _check_shapes(
        self, batch: int, hidden: torch.Tensor, cache_ids: torch.Tensor, start_ids: torch.Tensor
    ) -> None:
        rows = self.n_active_tokens
        ids = (batch, rows) if self.shared.two_dimensional_ids else (rows,)
        buffers = ((self.shared.arithmetic.config.hidden_size, rows, batch), ids, (batch,))
        for buffer, tensor in zip(buffers, (hidden, cache_ids, start_ids), strict=True):
            assert buffer == tuple(tensor.shape), (
                f"Copying tensor from host to device: buffer ({torch.Size(buffer)}) and tensor ({tensor.shape}) have different shapes!"
            )
