"""Directory → model: picks the backend and the numbers, and says why. Knows every backend; is known by the session only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Literal

import torch

from chatapp.domain.errors import UnsupportedModel
from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.cuda.loading import load_cuda
from chatapp.engine.backends.decoder.decoder import DecoderModel
from chatapp.engine.backends.decoder.exactness import FILLINGS, NOT_EXACT, look_exact, make_exact
from chatapp.engine.backends.decoder.fused import FusedDecoder, kernels
from chatapp.engine.backends.decoder.linears import (
    Linear,
    bfloat16_available,
    draft_linear,
    int8_available,
    target_linear,
)
from chatapp.engine.backends.decoder.shape import DecoderShape, obstacle, read_shape
from chatapp.engine.backends.decoder.weights import check_weights, expected_shapes, parameters
from chatapp.engine.backends.decoder.whole import WholeDecoder, comes_in_pairs, suits
from chatapp.engine.backends.tiny import LARGEST_HEAD, LARGEST_LAYERS, TinyDraft
from chatapp.engine.contracts import CausalModel

WEIGHTS = ("auto", "int8")
_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


@dataclass(frozen=True, slots=True)
class Numbers:
    """In which numbers a model runs: what its matrices are read in and its KV kept in, and words for people (`name`, and
    `why` where they are not the checkpoint's own)."""

    dtype: torch.dtype
    name: str
    why: str = ""

    @property
    def words(self) -> str:
        return f"{self.name} ({self.why})" if self.why else self.name


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_config(checkpoint: Checkpoint) -> None:
    """What can be said from config.json alone. Raises `NotAModel`."""
    if obstacle(checkpoint.config) is None:
        read_shape(checkpoint.directory, checkpoint.config)


def load_model(
    checkpoint: Checkpoint, device: str, *, role: Literal["target", "draft"], weights: str = "auto"
) -> CausalModel:
    """The fast path of the device where the shape allows it, transformers otherwise. `role` is `target` (rows exact where the machine
    allows it) or `draft` (as fast as can be); `weights` `auto` (the checkpoint's own numbers as far as the device has
    them) or `int8`. Raises `ModelError`."""
    if weights not in WEIGHTS:
        raise UnsupportedModel(
            f"{checkpoint.name} cannot run with weights {weights!r}.",
            remedy=f"Choose {' or '.join(WEIGHTS)}.",
        )
    why = obstacle(checkpoint.config)
    if why is None and device == "cpu":
        return _load_decoder(checkpoint, is_target=role == "target", int8=weights == "int8")
    if why is None and device.startswith("cuda") and weights == "auto":
        return load_cuda(checkpoint, device, role=role)
    why = why or f"the device is {device}"
    if weights == "int8":
        raise UnsupportedModel(
            f"{checkpoint.name} cannot run with int8 weights: it runs on transformers, because: {why}.",
            remedy="Choose its own weights instead of int8.",
        )
    from chatapp.engine.backends.hf import TransformersModel

    stored = checkpoint.dtype()
    numbers = cpu_numbers(stored) if device == "cpu" else Numbers(stored, _NAMES[stored])
    return TransformersModel.load(checkpoint, device, numbers.dtype, f"{numbers.words}, because: {why}")


def cpu_numbers(stored: torch.dtype) -> Numbers:
    """The checkpoint's own where a processor computes in them."""
    if stored == torch.float16:
        return Numbers(torch.float32, "float32", "processors are slow in the checkpoint's float16")
    if stored == torch.bfloat16 and not bfloat16_available():
        return Numbers(torch.float32, "float32", "this processor does not multiply the checkpoint's bfloat16")
    if stored == torch.bfloat16 and not _native_bfloat16():
        return Numbers(torch.bfloat16, "bfloat16", "by way of float32: the processor lacks the instructions")
    return Numbers(stored, _NAMES[stored])


def _native_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _load_decoder(checkpoint: Checkpoint, *, is_target: bool, int8: bool) -> CausalModel:
    if int8 and not int8_available():
        raise UnsupportedModel(
            "This build of torch has no int8 products for this processor.",
            remedy="Choose the checkpoint's own weights instead of int8.",
        )
    shape = read_shape(checkpoint.directory, checkpoint.config)
    compiled = kernels()
    if compiled is not None and not int8 and suits(shape, compiled):
        return _load_whole(checkpoint, shape, compiled, is_target=is_target)
    if not is_target and shape.plain and layer_parameters(shape) <= LARGEST_LAYERS:
        return _load_tiny(checkpoint, shape, int8=int8)
    numbers = cpu_numbers(checkpoint.dtype())
    weights = _checked_weights(checkpoint, shape, numbers.dtype)

    def linear(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        return (target_linear if is_target else draft_linear)(weight, bias, int8=int8)

    dtype = {(True, True): "int8 (per row)", (False, True): "int8"}.get((is_target, int8), numbers.name)
    make = FusedDecoder if compiled is not None else DecoderModel
    model = make(shape, weights, linear, numbers.dtype, _info(checkpoint, shape, dtype, ""))
    kept = make_exact(model) if is_target else ""
    products = _kernel_words(model.linears)
    numbers_and_products = (products, f"KV in {numbers.words}") if int8 else (numbers.words, products)
    between = "compiled kernels" if compiled is not None else "torch's kernels (numba is not installed)"
    words = ", ".join(filter(None, ("fast path", *numbers_and_products, between, kept)))
    model.info = replace(model.info, runs_on=words)
    return model


def _load_whole(
    checkpoint: Checkpoint, shape: DecoderShape, compiled: ModuleType, *, is_target: bool
) -> WholeDecoder:
    """In the checkpoint's own numbers on every processor: kernels widen bfloat16 where it has no instructions for it."""
    stored = checkpoint.dtype()
    numbers = cpu_numbers(stored) if stored == torch.float16 else Numbers(stored, _NAMES[stored])
    weights = _checked_weights(checkpoint, shape, numbers.dtype)
    words = f"fast path, {numbers.words}, one compiled call"
    model = WholeDecoder(shape, weights, _info(checkpoint, shape, numbers.name, words), compiled)
    if is_target:
        model.exact_rows = look_exact(model)
        found = FILLINGS[0].words if model.exact_rows else NOT_EXACT
        model.info = replace(model.info, runs_on=f"{words}, {found}")
    return model


def _load_tiny(checkpoint: Checkpoint, shape: DecoderShape, *, int8: bool) -> CausalModel:
    """Layers in the checkpoint's own numbers, or float32, whatever was asked for: that is the fastest for the smallest. A
    large head, which then is most of what is read, in int8 if asked and else in the checkpoint's own numbers."""
    compiled = kernels()
    own = cpu_numbers(checkpoint.dtype())
    # Compiled kernels widen bfloat16 as they read it, two numbers at a time, on any processor; numpy knows none.
    half = compiled is not None and checkpoint.dtype() == torch.bfloat16 and comes_in_pairs(shape)
    numbers = Numbers(torch.bfloat16, "bfloat16") if half else Numbers(torch.float32, "float32")
    weights = _checked_weights(checkpoint, shape, numbers.dtype)
    how = "one compiled call" if compiled is not None else "numpy products (numba is not installed)"
    words = f"fast path for the smallest drafts, {numbers.name}, {how}"
    product, product_bytes = None, 0
    if shape.hidden * shape.vocabulary <= LARGEST_HEAD:
        words += ", in place of the int8 that was asked for: faster at this size" if int8 else ""
    else:
        matrix = weights["embed_tokens.weight" if shape.tied else "lm_head.weight"].to(own.dtype)
        head = draft_linear(matrix, None, int8=int8)
        product, product_bytes = head.product, head.bytes_read
        words += f", the head in {'int8' if int8 else own.words}"
    info = _info(checkpoint, shape, numbers.name, words)
    if compiled is None:
        return TinyDraft(shape, weights, info, product=product, product_bytes=product_bytes)
    return WholeDecoder(shape, weights, info, compiled, product=product, product_bytes=product_bytes)


def layer_parameters(shape: DecoderShape) -> int:
    """Without embedding, head and final norm."""
    return parameters(shape) - shape.hidden * (1 + shape.vocabulary * (1 if shape.tied else 2))


def _checked_weights(
    checkpoint: Checkpoint, shape: DecoderShape, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Every weight by its name without `model.`, none that the shape does not know. Raises `WeightsDamaged`."""
    loaded = {name.removeprefix("model."): tensor for name, tensor in checkpoint.load_weights(dtype).items()}
    check_weights(checkpoint.directory, shape, loaded)
    return {name: loaded[name] for name in expected_shapes(shape)}


def _info(checkpoint: Checkpoint, shape: DecoderShape, dtype: str, runs_on: str) -> ModelInfo:
    sha256 = checkpoint.weights_sha256()
    return ModelInfo(
        checkpoint.name, checkpoint.architecture, parameters(shape), dtype, sha256, runs_on=runs_on
    )


def _kernel_words(linears: tuple[Linear, ...]) -> str:
    """Every kind of kernel that is used, the one that reads most first."""
    names = {
        "packed": "oneDNN-packed",
        "plain": "plain products",
        "int8 dynamic": "int8 matrices",
        "int8 per row": "int8 matrices (activations scaled by row)",
    }
    read = {kind: sum(linear.bytes_read for linear in linears if linear.kind == kind) for kind in names}
    return " and ".join(names[kind] for kind in sorted(read, key=lambda kind: -read[kind]) if read[kind])
