"""How long graphs took here before, and from it how long the rest will take. Knows no graph and no screen.

Kept as JSON beside the artefacts; a file that cannot be read or written costs the estimate and nothing else.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEPT = 40
"""The last durations of a kind: compilers and machines change."""


@dataclass(slots=True)
class Measured:
    """Of one kind of model: seconds of single graphs, and of everything else that preparing one side takes."""

    graphs_s: list[float] = field(default_factory=list)
    rest_s: list[float] = field(default_factory=list)

    @property
    def graph_s(self) -> float | None:
        return statistics.fmean(self.graphs_s) if self.graphs_s else None

    def expected_s(self, graphs: int, workers: int) -> float | None:
        """A whole side with `graphs` to compile; None where nothing was measured."""
        if self.graph_s is None or not self.rest_s:
            return None
        return statistics.fmean(self.rest_s) + rounds(graphs, workers) * self.graph_s


class Durations:
    """Measured times by kind. A kind is a few words: library, device, shape of the model, number of cores."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kinds = _read(path)

    def of(self, kind: str) -> Measured:
        return self._kinds.get(kind, Measured())

    def add_graph(self, kind: str, seconds: float) -> None:
        self._add(self._kinds.setdefault(kind, Measured()).graphs_s, seconds)

    def add_rest(self, kind: str, seconds: float) -> None:
        """Reading weights and tracing, of one side."""
        self._add(self._kinds.setdefault(kind, Measured()).rest_s, seconds)

    def _add(self, values: list[float], seconds: float) -> None:
        values.append(round(seconds, 3))
        del values[:-KEPT]

    def save(self) -> None:
        """Raises `OSError`."""
        kinds = {name: {"graphs_s": one.graphs_s, "rest_s": one.rest_s} for name, one in self._kinds.items()}
        half = self._path.with_suffix(".writing")
        half.write_text(json.dumps(kinds, indent=1), encoding="utf-8")
        half.replace(self._path)


def rounds(graphs: int, workers: int) -> int:
    """How often `workers` processes take up a graph until all are done."""
    return math.ceil(graphs / max(workers, 1))


def _read(path: Path) -> dict[str, Measured]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): _measured(one) for name, one in found.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}


def _measured(one: Mapping[str, Any]) -> Measured:
    return Measured([float(value) for value in one["graphs_s"]], [float(value) for value in one["rest_s"]])
