"""Which acceptors, drafters, window policies and backends there are, by name.

Built-ins (`builtin`) and strangers' parts (`discovery`, by entry point) stand in the same tables; `guards` keeps a failing
stranger from taking the reply or the window with it. No part is chosen here, and nothing is found before `discover`.
"""

from chatapp.engine.registry.builtin import ACCEPTORS, DRAFTERS, POLICIES
from chatapp.engine.registry.discovery import Registry, discover
from chatapp.engine.registry.loading import BackendChooser
from chatapp.engine.registry.parts import DraftingContext, Part, chosen
from chatapp.engine.registry.run import RunAcceptors

__all__ = [
    "ACCEPTORS",
    "DRAFTERS",
    "POLICIES",
    "BackendChooser",
    "DraftingContext",
    "Part",
    "Registry",
    "RunAcceptors",
    "chosen",
    "discover",
]
