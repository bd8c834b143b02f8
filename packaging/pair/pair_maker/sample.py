"""One conversation of the training corpus.

The value every kind of text produces and the trainer consumes.  It must not know tokens, files or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

USER = "user"
ASSISTANT = "assistant"
SYSTEM = "system"


@dataclass(frozen=True)
class Sample:
    """A conversation with what is needed to judge a reply to its last user turn.

    ``messages`` are (role, content) pairs: at most one ``system`` first, then ``user`` and ``assistant`` in
    turn, ``assistant`` last.  ``check`` belongs to the kind's own ``is_right``.
    """

    kind: str
    messages: tuple[tuple[str, str], ...]
    check: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        roles = [role for role, _ in self.messages]
        turns = roles[1:] if roles[:1] == [SYSTEM] else roles
        in_turn = all(role == (USER, ASSISTANT)[place % 2] for place, role in enumerate(turns))
        if not turns or len(turns) % 2 or not in_turn:
            raise ValueError(f"a conversation alternates user and assistant and ends with assistant, not {roles}")

    @property
    def prompt(self) -> tuple[tuple[str, str], ...]:
        """The conversation up to and with the last user turn."""
        return self.messages[:-1]

    @property
    def reply(self) -> str:
        """The assistant's last turn."""
        return self.messages[-1][1]
