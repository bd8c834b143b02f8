"""The switches of a running reply. Written by the GUI thread, read by the engine thread; plain attributes are enough,
since each is one word and the engine reads them at points of its own choosing."""

from __future__ import annotations


class RunControl:
    """Implements `contracts.Control`."""

    __slots__ = ("cancelled", "speculation", "window")

    def __init__(self, window: int, speculation: bool) -> None:
        self.window = window
        self.speculation = speculation
        self.cancelled = False

    def set_window(self, k: int) -> None:
        self.window = k

    def set_speculation(self, on: bool) -> None:
        self.speculation = on

    def cancel(self) -> None:
        self.cancelled = True
