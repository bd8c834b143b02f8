"""What the window asks of the layers below it, as Protocols; `app.py` plugs the real ones in.

The window never sees a thread, a model or a database. All methods are called on the GUI thread; `async` ones run on the
GUI's event loop and never block it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chatapp.domain.events import Environment, RunEvent
from chatapp.domain.memory_plan import PairPlan
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.preparation import Message
from chatapp.domain.record import Conversation
from chatapp.domain.request import GenerationRequest

WEIGHTS = ("auto", "int8")
"""In which numbers a model can be asked to run."""


@dataclass(frozen=True, slots=True)
class PairLocation:
    """Where a pair lives: two Hugging Face directories; `draft` None means target only.

    `target_weights` and `draft_weights` say in which numbers they run: `auto` (the checkpoint's own, as far as the device can)
    or `int8` (smaller and faster; an int8 target is another model than its checkpoint, and is named so). With
    `neuron` it runs on NeuronCores, otherwise on the processor or a GPU.
    """

    name: str
    target: Path
    draft: Path | None
    target_weights: str = "auto"
    draft_weights: str = "auto"
    neuron: NeuronSettings | None = None


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What the loaded backend can do; slider stops, disabled options and tooltips come from here.

    `windows` are the values of k it can verify, ascending, 1 included. `acceptors` are `(name, lossless, description)`,
    `drafters` and `policies` (window policies) are `(name, description)`; the first drafter is the default. `plugin_errors`
    are `(plugin, what went wrong)` of those that could not be loaded. `compiled_windows` are the rows that target passes were
    compiled for, ascending, where a pass of another k is padded to the next of them; empty where every k has its own cost.
    """

    windows: tuple[int, ...]
    acceptors: tuple[tuple[str, bool, str], ...]
    context_limit: int
    can_speculate: bool
    drafters: tuple[tuple[str, str], ...] = ()
    policies: tuple[tuple[str, str], ...] = ()
    plugin_errors: tuple[tuple[str, str], ...] = ()
    compiled_windows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PairInfo:
    """A loaded pair."""

    location: PairLocation
    environment: Environment
    capabilities: EngineCapabilities


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """`fraction` in 0..1 and a few words such as "Reading the target's weights"."""

    fraction: float
    message: str


class RunHandle(Protocol):
    """A running reply. Setters take effect at the next verify step (acceptor and policy names are those of the capabilities); `cancel` within one model call.

    Iterating yields batches of events in order; the last event of the last batch is `RunEnded`.
    """

    def __aiter__(self) -> AsyncIterator[Sequence[RunEvent]]: ...

    def set_window(self, k: int) -> None: ...

    def set_speculation(self, on: bool) -> None: ...

    def set_acceptor(self, name: str) -> None: ...

    def set_policy(self, name: str) -> None: ...

    def cancel(self) -> None: ...


class EnginePort(Protocol):
    async def load(self, pair: PairLocation, on_progress: Callable[[LoadProgress], None]) -> PairInfo:
        """Load a pair, replacing the one before only once the new one is ready. Raises `ModelError`."""
        ...

    async def start(self, request: GenerationRequest) -> RunHandle:
        """Begin a reply. Raises `RequestError` (context overflow, busy, not ready) before any event."""
        ...

    def close(self) -> None:
        """Cancel what runs and end the engine thread; returns when it has ended."""
        ...


class PreparationHandle(Protocol):
    """A pair's graphs being compiled, in a process of their own.

    Iterating yields its messages; the last is how it ended: done, stopped or failed. Who stops iterating ends it.
    """

    def __aiter__(self) -> AsyncIterator[Message]: ...

    def stop(self) -> None:
        """Ask it to stop; what is finished is kept."""
        ...


class PreparationPort(Protocol):
    def start(self, pair: PairLocation) -> PreparationHandle:
        """Compile what `pair` lacks; nothing happens before the handle is iterated."""
        ...


class PlannerPort(Protocol):
    """What a pair would take on an Inferentia2 or Trainium instance, before anything is loaded. Quick: asked while a person
    types."""

    def instance_here(self) -> str:
        """The instance type of this computer, such as `inf2.48xlarge`; empty where it is none, or cannot be told."""
        ...

    def plan(self, pair: PairLocation, instance: str) -> PairPlan:
        """The plan of a pair, with suggestions where it does not fit. Raises `ModelError` where a directory is no model."""
        ...


class ExportPort(Protocol):
    """Conversation → file and back."""

    def formats(self) -> Sequence[tuple[str, str, str]]:
        """`(name, file suffix, description)` of every exporter."""
        ...

    def export(self, conversation: Conversation, path: Path, format_name: str) -> None:
        """Write `path` whole or not at all. Raises `ExportFailed`."""
        ...

    def open_record(self, path: Path) -> Conversation:
        """Read a JSON export. Raises `RecordError`."""
        ...


class StorePort(Protocol):
    """Keeps the conversation, so that nothing is lost when the window closes or the process dies."""

    def begin_turn(self, conversation: Conversation, turn_index: int) -> None: ...

    def append(self, conversation: Conversation, turn_index: int, events: Sequence[RunEvent]) -> None: ...

    def latest(self) -> Conversation | None: ...

    def close(self) -> None: ...
