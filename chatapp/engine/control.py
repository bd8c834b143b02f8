"""The switches of a running reply. Written by the GUI thread, read by the engine thread; plain attributes are enough,
since each is one word and the engine reads them at points of its own choosing."""

from __future__ import annotations

from chatapp.domain.request import GenerationRequest


class RunControl:
    """Implements `contracts.Control`."""

    __slots__ = ("acceptor", "cancelled", "policy", "speculation", "window")

    def __init__(
        self, window: int, speculation: bool, acceptor: str = "rejection", policy: str = "fixed"
    ) -> None:
        self.window = window
        self.speculation = speculation
        self.acceptor = acceptor
        self.policy = policy
        self.cancelled = False

    @classmethod
    def of(cls, request: GenerationRequest) -> RunControl:
        """The switches as the request sets them."""
        return cls(request.window, request.speculation, request.acceptor, request.policy)

    def set_window(self, k: int) -> None:
        self.window = k

    def set_speculation(self, on: bool) -> None:
        self.speculation = on

    def set_acceptor(self, name: str) -> None:
        self.acceptor = name

    def set_policy(self, name: str) -> None:
        self.policy = name

    def cancel(self) -> None:
        self.cancelled = True
