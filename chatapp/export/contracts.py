"""What an export format is: three words and one function. Built-in formats and strangers' ones look alike.

This module must not know any format.
"""

from __future__ import annotations

from typing import Protocol

from chatapp.domain.record import Conversation


class Exporter(Protocol):
    """One format. `suffix` includes the dot; `description` is shown in file dialogs and in `--help`."""

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def description(self) -> str: ...

    def render(self, conversation: Conversation) -> str:
        """The whole file. A pure function: equal conversations give equal files. Raises `ExportFailed`."""
        ...
