"""Everything that an author of own acceptors, drafters, window policies or backends needs, in one place.

What is imported from here stays; the modules behind it may move. `API_VERSION` goes up when a part written before would no
longer work: a part that declares `api_version = 1` is then refused with words instead of failing in mid-reply. The guide's
page on own parts (resources/help/own-parts.md) shows how these fit together; tests/helpers/conformance checks them.
"""

from chatapp.domain.errors import ChatappError, GenerationFailed, ModelError
from chatapp.domain.events import ModelInfo, WindowChoice
from chatapp.engine.acceptors.independent import IndependentDraws
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.contracts import (
    Acceptor,
    Budget,
    CausalModel,
    Drafter,
    Proposal,
    StepOutcome,
    TargetRows,
    Verdict,
    WindowPolicy,
)
from chatapp.engine.distribution import Row, draw, draw_residual, one_hot, residual
from chatapp.engine.randomness import Streams
from chatapp.engine.registry.parts import API_VERSION, Backend, DraftingContext
from chatapp.engine.sampling import NotFinite, Processor
from chatapp.engine.sequence import CachedSequence

__all__ = [
    "API_VERSION",
    "Acceptor",
    "Backend",
    "Budget",
    "CachedSequence",
    "CausalModel",
    "ChatappError",
    "Checkpoint",
    "Drafter",
    "DraftingContext",
    "GenerationFailed",
    "IndependentDraws",
    "ModelError",
    "ModelInfo",
    "NotFinite",
    "Processor",
    "Proposal",
    "Row",
    "StepOutcome",
    "Streams",
    "TargetRows",
    "Verdict",
    "WindowChoice",
    "WindowPolicy",
    "draw",
    "draw_residual",
    "one_hot",
    "residual",
]
