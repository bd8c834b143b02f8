"""What a part looks like once it is known: a name, words for people, and how to make one. Must not know what a part does.

Built-ins and strangers' parts become the same `Part`; whoever chooses one by name cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from chatapp.domain.errors import InvalidSetting
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.contracts import Acceptor, CausalModel, DeviceFacts, Drafter, WindowPolicy
from chatapp.engine.randomness import Streams
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence

MakeT = TypeVar("MakeT")
API_VERSION = 1
"""What a part may declare as its `api_version`. It goes up when a part written for the version before would no longer work."""


@dataclass(frozen=True)  # without slots: a parametrised generic sets an attribute of its own
class Part(Generic[MakeT]):
    """A part that can be chosen: `make` builds one for a run (a policy: for a loaded pair). `lossless` counts for acceptors,
    `needs_draft` for drafters. `plugin` is the distribution that brought it, empty for built-ins."""

    name: str
    description: str
    make: MakeT
    lossless: bool = True
    needs_draft: bool = False
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class DraftingContext:
    """What a drafter is made of. `draft` is None where the pair has no draft model; `acceptor()` is the rule of the step at
    hand, whose `draw_draft` draws sampled proposals; `ends` are the end-of-text ids."""

    draft: CachedSequence | None
    processor: Processor
    acceptor: Callable[[], Acceptor]
    ends: frozenset[int]
    vocabulary: int


class Backend(Protocol):
    """Turns a checkpoint directory into a model. Asked at load, on the engine thread, in order of `priority`, the highest
    first; the built-in backend comes last and claims everything."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    def claims(self, checkpoint: Checkpoint, device: str) -> bool:
        """Whether it wants this checkpoint on this device ("cpu", "cuda", "neuron"). Reads the configuration, never the weights."""
        ...

    def load(
        self, checkpoint: Checkpoint, device: str, *, role: Literal["target", "draft"], weights: str
    ) -> CausalModel:
        """`weights` is what the person chose for this side: `auto`, the checkpoint's own numbers, or `int8`."""
        ...


class BuiltinBackend(Backend, Protocol):
    """The one that comes last: it turns nothing away, and says why it cannot."""

    @property
    def facts(self) -> DeviceFacts | None:
        """Of its device; None for a processor or a GPU, which torch describes."""
        ...

    def check(self, checkpoint: Checkpoint) -> None:
        """What the configuration alone can tell. Raises `ModelError`."""
        ...

    def require(self, checkpoint: Checkpoint, role: Literal["target", "draft"]) -> None:
        """What must be there besides the checkpoint; asked of both sides before either is loaded. Raises `NotPrepared`."""
        ...


@dataclass(frozen=True, slots=True)
class PluginBackend:
    """A stranger's backend, and who brought it."""

    backend: Backend
    name: str
    priority: float
    plugin: str


MakeAcceptor = Callable[[Streams], Acceptor]
MakeDrafter = Callable[[DraftingContext], "Drafter | None"]
"""None: there is nothing to propose with, the target answers alone."""
MakePolicy = Callable[[], WindowPolicy]


def table(*parts: Part[MakeT]) -> dict[str, Part[MakeT]]:
    return {part.name: part for part in parts}


def chosen(parts: Mapping[str, Part[MakeT]], setting: str, name: str) -> Part[MakeT]:
    """Raises `InvalidSetting` for a name that is not in the table."""
    if name not in parts:
        raise InvalidSetting(
            setting, f"There is no {setting} {name!r}; known are {', '.join(sorted(parts))}."
        )
    return parts[name]
