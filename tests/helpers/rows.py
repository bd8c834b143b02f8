"""Rows of the engine as torch tensors over the whole vocabulary, and back: references are written in torch."""

from __future__ import annotations

import numpy as np
import torch

from chatapp.engine.distribution import Row


def dense(row: Row) -> torch.Tensor:
    """Probabilities of every id, `[V]`."""
    return torch.from_numpy(np.array(row.at(None)))


def row_of(probs: torch.Tensor, *, sparse: bool = False) -> Row:
    """A row with these probabilities; `sparse` keeps only the ids that have mass."""
    values = probs.numpy()
    best = int(values.argmax())
    if not sparse:
        return Row(best, values)
    ids = np.flatnonzero(values)
    return Row(best, values[ids], ids, len(values))
