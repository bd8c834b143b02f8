"""The header reader agrees with the format's own writer, and names what is wrong with a damaged file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from chatapp.domain.errors import WeightsDamaged
from chatapp.library.weights import read_weight_file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    tensors: dict[str, NDArray[Any]] = {
        "a": np.zeros((3, 5), np.float32),
        "b": np.zeros(7, np.float16),
        "scalar": np.zeros((), np.int64),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def test_counts_what_the_writer_wrote(weights: Path) -> None:
    read = read_weight_file(weights)
    assert read.parameters == 3 * 5 + 7 + 1
    assert read.dtypes == ("F16", "F32", "I64")
    assert read.size_bytes == weights.stat().st_size


@pytest.mark.parametrize("lost", [1, 40, 200])
def test_truncated_file_is_damaged(weights: Path, lost: int) -> None:
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-lost])
    with pytest.raises(WeightsDamaged, match="damaged"):
        read_weight_file(weights)


def test_longer_file_is_damaged(weights: Path) -> None:
    whole = weights.read_bytes()
    weights.write_bytes(whole + b"\0")
    with pytest.raises(
        WeightsDamaged, match=f"{len(whole) + 1:,} bytes where its header speaks of {len(whole):,}"
    ):
        read_weight_file(weights)


def _file(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no header"),
        (b"\1\2\3", "no header"),
        (struct.pack("<Q", 2**63) + b"{}", "longer than the file"),
        (b"<!DOCTYPE html><title>404</title>", "longer than the file"),
        (_file(b"not json"), "not JSON"),
        (_file(b"\xff\xfe"), "not JSON"),
        (_file(b"[" * 5000), "not JSON"),
        (_file(b"[]"), "no table of tensors"),
        (_file(json.dumps({"a": 5}).encode()), "'a' is no tensor"),
        (_file(json.dumps({"a": {"shape": [2], "dtype": "F32"}}).encode()), "'a' is no tensor"),
        (
            _file(json.dumps({"a": {"shape": "x", "dtype": "F32", "data_offsets": [0, 8]}}).encode()),
            "'a' is no",
        ),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsDamaged, match=why):
        read_weight_file(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsDamaged, match="No such file"):
        read_weight_file(tmp_path / "none.safetensors")
