"""Reads what a safetensors file says of itself, with the standard library alone.

The format: eight bytes, little endian, the length of a JSON header; the header, a map from tensor name to dtype, shape
and byte range; the bytes. A person who asks which models there are should not wait for torch. This module must not know
architectures or pairs.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.domain.errors import WeightsDamaged

HEADER_LENGTH = struct.Struct("<Q")
LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own reader."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file: `parameters` counts numbers, `dtypes` are safetensors words such as `F32`, sorted."""

    path: Path
    size_bytes: int
    parameters: int
    dtypes: tuple[str, ...]


def read_weight_file(path: Path) -> WeightFile:
    """The header of one safetensors file, checked against the file's length. Raises `WeightsDamaged`."""
    try:
        size = path.stat().st_size
        header, data_start = _read_header(path, size)
    except OSError as error:
        raise WeightsDamaged(f"{path} cannot be read: {error.strerror}.") from error
    tensors = [_tensor(path, name, entry) for name, entry in header.items() if name != "__metadata__"]
    expected = data_start + max((tensor.end for tensor in tensors), default=0)
    if size != expected:
        raise _damaged(path, f"it has {size:,} bytes where its header speaks of {expected:,}")
    dtypes = sorted({tensor.dtype for tensor in tensors})
    return WeightFile(path, size, sum(tensor.parameters for tensor in tensors), tuple(dtypes))


@dataclass(frozen=True, slots=True)
class _Tensor:
    dtype: str
    parameters: int
    end: int


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header, and the offset in bytes at which the tensors begin."""
    with path.open("rb") as file:
        start = file.read(HEADER_LENGTH.size)
        if len(start) < HEADER_LENGTH.size:
            raise _damaged(path, f"it has {size} bytes and no header")
        (length,) = HEADER_LENGTH.unpack(start)
        if length > min(LONGEST_HEADER, size - HEADER_LENGTH.size):
            raise _damaged(path, "its header is longer than the file")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no table of tensors")
    return header, HEADER_LENGTH.size + length


def _tensor(path: Path, name: str, entry: Any) -> _Tensor:
    try:
        _, end = entry["data_offsets"]
        return _Tensor(str(entry["dtype"]), math.prod(int(length) for length in entry["shape"]), int(end))
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"the entry of {name!r} is no tensor") from error


def _damaged(path: Path, why: str) -> WeightsDamaged:
    return WeightsDamaged(f"{path} is damaged: {why}.", remedy="Copy or download the file again.")
