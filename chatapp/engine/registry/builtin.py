"""The parts that come with the package, in the order in which they are offered. Must not know how strangers' parts are found.

pyproject.toml registers the same objects under the same entry points as any plugin would, and a test holds the two
together. The tables here count: a clone that was never installed has no entry points, and metadata can be stale.
"""

from __future__ import annotations

from typing import Protocol

from chatapp.engine.acceptors.block import BlockAcceptor
from chatapp.engine.acceptors.coupled import CoupledAcceptor
from chatapp.engine.acceptors.greedy import GreedyAcceptor
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.acceptors.typical import TypicalAcceptor
from chatapp.engine.contracts import Acceptor, Drafter, WindowPolicy
from chatapp.engine.drafters.combined import ModelAndNgramDrafter
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.drafters.ngram import NgramDrafter
from chatapp.engine.randomness import Streams
from chatapp.engine.registry.parts import (
    DraftingContext,
    MakeAcceptor,
    MakeDrafter,
    MakePolicy,
    Part,
    table,
)
from chatapp.engine.windows.adaptive import AdaptiveWindow
from chatapp.engine.windows.fixed import FixedWindow


class AcceptorKind(Protocol):
    """What an entry point of `chatapp.acceptors` names: a class."""

    @property
    def name(self) -> str: ...

    @property
    def lossless(self) -> bool: ...

    @property
    def description(self) -> str: ...

    def __call__(self, streams: Streams) -> Acceptor: ...


class PolicyKind(Protocol):
    """What an entry point of `chatapp.windows` names: a class that is built without arguments."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    def __call__(self) -> WindowPolicy: ...


def _acceptor(kind: AcceptorKind) -> Part[MakeAcceptor]:
    return Part[MakeAcceptor](kind.name, kind.description, kind, lossless=kind.lossless)


def _policy(kind: PolicyKind) -> Part[MakePolicy]:
    return Part[MakePolicy](kind.name, kind.description, kind)


def _model_drafter(context: DraftingContext) -> ModelDrafter:
    assert context.draft is not None
    return ModelDrafter(context.draft, context.processor, context.acceptor, context.ends)


def _ngram_drafter(context: DraftingContext) -> Drafter:
    return NgramDrafter(context.vocabulary, context.ends)


def _combined_drafter(context: DraftingContext) -> Drafter:
    if context.draft is None:
        return _ngram_drafter(context)
    return ModelAndNgramDrafter(_model_drafter(context), context.vocabulary, context.ends)


MODEL = Part[MakeDrafter]("model", "The draft model proposes.", _model_drafter, needs_draft=True)
NGRAM = Part[MakeDrafter](
    "ngram",
    "Looks up how prompt and reply went on before: free, strong where a text repeats itself, needs no draft model.",
    _ngram_drafter,
)
MODEL_AND_NGRAM = Part[MakeDrafter](
    "model+ngram",
    "Looks up what repeats and lets the draft model propose the rest; without a draft model, the look-up alone.",
    _combined_drafter,
)
NONE = Part[MakeDrafter]("none", "Nobody proposes: the target answers alone.", lambda _: None)

ACCEPTORS: dict[str, Part[MakeAcceptor]] = table(
    _acceptor(RejectionAcceptor),
    _acceptor(BlockAcceptor),
    _acceptor(CoupledAcceptor),
    _acceptor(TypicalAcceptor),
)
DRAFTERS: dict[str, Part[MakeDrafter]] = table(
    MODEL,
    NGRAM,
    MODEL_AND_NGRAM,
    NONE,
)
POLICIES: dict[str, Part[MakePolicy]] = table(
    _policy(FixedWindow),
    _policy(AdaptiveWindow),
)

BACKEND = "torch"
"""The built-in backend's name (`loading.TorchBackend`): it is asked last."""
RESERVED = frozenset({GreedyAcceptor.name})
"""What the engine itself chooses, at temperature 0: no plugin may take the name."""
