"""Products with a weight matrix, `x [rows, in] → [rows, out]`: which kernels there are and which one a matrix gets.

Every product takes float32 or bfloat16 rows; a bfloat16 matrix gives bfloat16, the others float32. What is said about speed
here was measured on one and two threads of processors with AVX-512.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

Product = Callable[[torch.Tensor], torch.Tensor]
Kind = Literal["packed", "plain", "int8 dynamic", "int8 per row"]

PACKED_FOR_ROWS = 16
"""oneDNN lays a matrix out for a number of rows; what suits 16 is as fast for one and no slower in between."""
SMALL = 1 << 19
"""Elements. Calling oneDNN costs 8 µs: a float32 matrix below this size is read sooner by a plain product of one row."""
SMALL_FOR_INT8 = 200_000
"""Elements. The same for int8, which costs 8 µs and then reads a quarter."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A product, what it is, and the bytes of weights that it reads."""

    product: Product
    kind: Kind
    bytes_read: int


def onednn_available() -> bool:
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def bfloat16_available() -> bool:
    """oneDNN multiplies bfloat16 on this processor, by its own instructions or not."""
    return onednn_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def int8_available() -> bool:
    return bool(set(torch.backends.quantized.supported_engines) & {"fbgemm", "x86"})


def target_linear(weight: torch.Tensor, bias: torch.Tensor | None, *, int8: bool) -> Linear:
    """Kernels whose rows do not depend on one another, as far as `exactness` finds them so."""
    return int8_per_row(weight, bias) if int8 else packed(weight, bias)


def draft_linear(weight: torch.Tensor, bias: torch.Tensor | None, *, int8: bool) -> Linear:
    """The fastest for one row; chosen by size and not by clock, so that a seed gives the same text after every start."""
    if int8 and weight.numel() >= SMALL_FOR_INT8:
        return int8_dynamic(weight, bias)
    if weight.dtype == torch.float32 and weight.numel() < SMALL:
        return plain(weight, bias)
    return packed(weight, bias)


def plain(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """What torch does with an unprepared matrix."""
    weight = weight.contiguous()
    return Linear(lambda x: F.linear(x, weight, bias), "plain", _bytes(weight, bias))


def packed(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """The matrix laid out once for oneDNN; plain where torch was built without it."""
    if not onednn_available():
        return plain(weight, bias)
    operators = torch.ops.mkldnn
    laid_out = operators._reorder_linear_weight(weight.contiguous(), PACKED_FOR_ROWS)
    product = operators._linear_pointwise.default

    def of_float32(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = product(x, laid_out, bias, "none", [], "")
        return result

    def of_bfloat16(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = product(x.bfloat16(), laid_out, bias, "none", [], "")
        return result

    chosen = of_bfloat16 if weight.dtype == torch.bfloat16 else of_float32
    return Linear(chosen, "packed", _bytes(weight, bias))


def int8_dynamic(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """Int8 by output channel; activations in 8 bits over the range of all rows of a pass. So a row's result depends on its
    neighbours: good for a draft, whose errors cost acceptance only, never for a target."""
    matrix = _int8_matrix(weight, bias)
    product = torch.ops.quantized.linear_dynamic.default

    def of_all_rows(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = product(x.float(), matrix, not _has_vnni())
        return result

    return Linear(of_all_rows, "int8 dynamic", weight.numel())


def int8_per_row(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """Int8 by output channel; every activation row is first scaled to a largest magnitude of 1, and a row that holds both 1
    and -1 goes along, so that the range of a pass is the same whatever rows it has. Sums are whole numbers: exact."""
    matrix = _int8_matrix(weight, None)
    product = torch.ops.quantized.linear_dynamic.default
    sentinel = torch.zeros(1, weight.shape[1])
    sentinel[0, 0], sentinel[0, -1] = 1.0, -1.0
    float_bias = bias.float() if bias is not None else None

    def of_each_row(x: torch.Tensor) -> torch.Tensor:
        # The least normal number keeps a row of zeros from being divided by zero.
        size = torch.linalg.vector_norm(x.float(), math.inf, -1, True).clamp_min_(1.2e-38)
        scaled = torch.cat([x / size, sentinel])
        result: torch.Tensor = product(scaled, matrix, not _has_vnni())[:-1] * size
        return result if float_bias is None else result.add_(float_bias)

    return Linear(of_each_row, "int8 per row", weight.numel())


def _int8_matrix(weight: torch.Tensor, bias: torch.Tensor | None) -> object:
    weight = weight.float()
    scales = weight.abs().amax(dim=1).clamp_min(1e-12).double() / 127
    zero_points = torch.zeros(weight.shape[0], dtype=torch.long)
    with warnings.catch_warnings():
        # torch means to drop this tensor type in a release to come; pyproject.toml names the one release that is used.
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        quantised = torch.quantize_per_channel(weight, scales, zero_points, 0, torch.qint8)
    matrix: object = torch.ops.quantized.linear_prepack(quantised, None if bias is None else bias.float())
    return matrix


def _has_vnni() -> bool:
    """Without these instructions 8-bit products can overflow their 16-bit sums, and activations get 7 bits."""
    return torch.cpu._is_vnni_supported()


def _bytes(weight: torch.Tensor, bias: torch.Tensor | None) -> int:
    return weight.nbytes + (0 if bias is None else bias.nbytes)
