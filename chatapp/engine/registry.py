"""Which acceptors, drafters and window policies there are, by name.

Built-ins and strangers' parts stand in the same tables. This module must not know what a part does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from chatapp.domain.errors import InvalidSetting
from chatapp.engine.acceptors.block import BlockAcceptor
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.acceptors.typical import TypicalAcceptor
from chatapp.engine.contracts import Acceptor, Drafter, WindowPolicy
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.randomness import Streams
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.windows.fixed import FixedWindow

MakeT = TypeVar("MakeT")


@dataclass(frozen=True)  # without slots: a parametrised generic sets an attribute of its own
class Part(Generic[MakeT]):
    """A part that can be chosen: `make` builds one for a run (a policy: for a loaded pair). `lossless` counts for acceptors,
    `needs_draft` for drafters."""

    name: str
    description: str
    make: MakeT
    lossless: bool = True
    needs_draft: bool = False


@dataclass(frozen=True, slots=True)
class DraftingContext:
    """What a drafter is made of. `draft` is None where the pair has no draft model; `acceptor()` is the rule of the step at
    hand, whose `draw_draft` draws sampled proposals; `ends` are the end-of-text ids."""

    draft: CachedSequence | None
    processor: Processor
    acceptor: Callable[[], Acceptor]
    ends: frozenset[int]
    vocabulary: int


MakeAcceptor = Callable[[Streams], Acceptor]
MakeDrafter = Callable[[DraftingContext], Drafter]
MakePolicy = Callable[[], WindowPolicy]


def _model_drafter(context: DraftingContext) -> Drafter:
    assert context.draft is not None
    return ModelDrafter(context.draft, context.processor, context.acceptor, context.ends)


def _table(*parts: Part[MakeT]) -> dict[str, Part[MakeT]]:
    return {part.name: part for part in parts}


ACCEPTORS: dict[str, Part[MakeAcceptor]] = _table(
    Part[MakeAcceptor](
        "rejection",
        "Keeps a draft with probability min(1, target / draft), else samples the residual.",
        RejectionAcceptor,
    ),
    Part[MakeAcceptor](
        "block",
        "Judges the window as a whole: on average keeps no fewer tokens than rejection, more where k is large.",
        BlockAcceptor,
    ),
    Part[MakeAcceptor](
        "coupled",
        "Draft and target share their random noise: one seed gives one text, for every k and with speculation off.",
        CoupledAcceptor,
    ),
    Part[MakeAcceptor](
        "typical",
        "Lossy: keeps every draft that the target finds plausible. Faster where it hesitates, and not its distribution.",
        TypicalAcceptor,
        lossless=False,
    ),
)

DRAFTERS: dict[str, Part[MakeDrafter]] = _table(
    Part[MakeDrafter]("model", "The draft model proposes.", _model_drafter, needs_draft=True),
)

POLICIES: dict[str, Part[MakePolicy]] = _table(
    Part[MakePolicy](FixedWindow.name, FixedWindow.description, FixedWindow),
)


def chosen(table: Mapping[str, Part[MakeT]], setting: str, name: str) -> Part[MakeT]:
    """Raises `InvalidSetting` for a name that is not in the table."""
    if name not in table:
        raise InvalidSetting(
            setting, f"There is no {setting} {name!r}; known are {', '.join(sorted(table))}."
        )
    return table[name]


class RunAcceptors:
    """The rules of one run by name, each made once; at temperature 0 it is `greedy` whatever is asked."""

    def __init__(self, streams: Streams, *, greedy: bool) -> None:
        self._streams = streams
        self._greedy = greedy
        self._made: dict[str, Acceptor] = {}
        self._current: Acceptor | None = None

    def __call__(self, name: str) -> Acceptor:
        """The rule for the next step. A name that is not known changes nothing, in mid-run. Raises `InvalidSetting` before."""
        if self._greedy:
            name = "greedy"
        if name not in self._made:
            if self._greedy:
                self._made[name] = GreedyAcceptor(self._streams)
            elif name in ACCEPTORS or self._current is None:
                self._made[name] = chosen(ACCEPTORS, "acceptor", name).make(self._streams)
            else:
                return self._current
        self._current = self._made[name]
        return self._current

    def current(self) -> Acceptor:
        """The rule of the step at hand."""
        assert self._current is not None
        return self._current
