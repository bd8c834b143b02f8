"""What a preparation says while it compiles a pair's graphs: messages, their words, and their form as lines of JSON.

The process that prepares writes them, terminal and window show them. Must not know how graphs are made.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

MARK = "chatapp prepare"
"""Every line of ours carries it: libraries write lines of their own, and some of them are JSON."""
MINUTE_S = 60
HOUR_S = 3600


class Stage(str, Enum):
    """What is being done to one side of the pair."""

    CHECKING = "checking"
    WEIGHTS = "weights"
    TRACING = "tracing"
    COMPILING = "compiling"
    SAVING = "saving"


@dataclass(frozen=True, slots=True)
class PreparationProgress:
    """`done` of `total` are the stage's own counts (layers, decoders, graphs), 0 of 0 where it has none; the `graphs_` counts are
    those of the whole pair. `left_s` is None as long as nothing was measured to estimate it from; `note` is what else there is to say, in a sentence."""

    role: str
    stage: Stage
    done: int
    total: int
    graphs_done: int
    graphs_total: int
    elapsed_s: float
    left_s: float | None = None
    simulated: bool = False
    note: str = ""

    @property
    def fraction(self) -> float:
        return self.graphs_done / self.graphs_total if self.graphs_total else 0.0

    @property
    def headline(self) -> str:
        """`7 of 15 graphs, 3 min 10 s, about 4 min left`."""
        left = "" if self.left_s is None else f", {remaining(self.left_s)}"
        return (
            f"{self.graphs_done} of {counted(self.graphs_total, 'graph')}, {duration(self.elapsed_s)}{left}"
        )

    @property
    def detail(self) -> str:
        """`Target: reading the weights, layer 12 of 80`."""
        counts = f" {self.done} of {self.total}" if self.total else ""
        words = {
            Stage.CHECKING: "looking at what is prepared",
            Stage.WEIGHTS: f"reading the weights{', layer' + counts if counts else ''}",
            Stage.TRACING: f"tracing graphs{', decoder' + counts if counts else ''}",
            Stage.COMPILING: f"compiling{', graph' + counts + ' done' if counts else ''}",
            Stage.SAVING: "saving the graphs",
        }
        device = " (simulated device)" if self.simulated else ""
        note = f". {self.note}" if self.note else ""
        return f"{self.role.capitalize()}: {words[self.stage]}{device}{note}"


@dataclass(frozen=True, slots=True)
class PreparationDone:
    """Every side is prepared; `graphs_compiled` of them now, the others before."""

    graphs_compiled: int
    graphs_total: int
    elapsed_s: float
    simulated: bool = False

    @property
    def words(self) -> str:
        what = counted(self.graphs_total, "graph")
        before = self.graphs_total - self.graphs_compiled
        if not self.graphs_compiled:
            return f"Everything was prepared before: {what}."
        reused = f", {before} of them before" if before else ""
        device = " for the simulated device" if self.simulated else ""
        return f"Prepared {what}{device} in {duration(self.elapsed_s)}{reused}."


@dataclass(frozen=True, slots=True)
class PreparationStopped:
    """Somebody stopped it; `kept` says what need not be done again."""

    kept: str
    remedy: str


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """It ended with an error of ours, in the error's own words."""

    what: str
    kept: str = ""
    remedy: str = ""


Message = PreparationProgress | PreparationDone | PreparationStopped | PreparationFailed
_KINDS: dict[str, type[Message]] = {
    "progress": PreparationProgress,
    "done": PreparationDone,
    "stopped": PreparationStopped,
    "failed": PreparationFailed,
}


def to_line(message: Message) -> str:
    """One line of JSON, without its end."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(message, kind))
    return json.dumps({"from": MARK, "kind": kind, **asdict(message)}, ensure_ascii=False)


def from_line(line: str) -> Message | None:
    """None for a line that is none of ours."""
    try:
        read: Any = json.loads(line)
        if not isinstance(read, dict) or read.pop("from", None) != MARK:
            return None
        kind = _KINDS[read.pop("kind")]
        if "stage" in read:
            read["stage"] = Stage(read["stage"])
        return kind(**read)
    except (ValueError, KeyError, TypeError):
        return None


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """`12 s`, `3 min 10 s`, `1 h 04 min`."""
    whole = max(int(seconds), 0)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"


def remaining(seconds: float) -> str:
    """No finer than it can be known: `less than a minute left`, `about 4 min left`, `about 1 h 20 min left`."""
    minutes = math.ceil(seconds / MINUTE_S)
    if minutes <= 1:
        return "less than a minute left"
    hours, rest = divmod(minutes, 60)
    return f"about {hours} h {rest:02d} min left" if hours else f"about {minutes} min left"
