"""Finds out what can be known about the screen: environment, processes above this one, the X server's own words.

Costs about 2 ms. Whatever cannot be read is left empty: knowing less only means the local mode. This module must not judge
(`display_mode` does) and needs no Qt: the X server is asked through libxcb, which Qt's own X11 platform stands on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from chatapp.ui.display_mode import ScreenFacts

MOST_ANCESTORS = 32
EXTENSION_NAMES = ("VNC-EXTENSION", "TIGERVNC")
PRESENT_AT_BYTE = 8  # of xcb_query_extension_reply_t


def screen_facts(platform: str) -> ScreenFacts:
    """The facts of the screen that Qt's `platform` draws on."""
    vendor, extensions = x_server() if platform == "xcb" else ("", frozenset())
    return ScreenFacts(platform, dict(os.environ), tuple(ancestors()), vendor, extensions)


def ancestors(processes: Path = Path("/proc"), pid: int | None = None) -> Iterator[str]:
    """Names of the processes above `pid` (None: this one), nearest first; none where there is no /proc."""
    pid = os.getpid() if pid is None else pid
    for _ in range(MOST_ANCESTORS):
        pid = _parent(processes, pid)
        if pid <= 1:  # init and what it adopted tell nothing
            return
        try:
            yield (processes / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return


def _parent(processes: Path, pid: int) -> int:
    try:
        stat = (processes / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])  # field 4, counted behind the command's name
    except (OSError, ValueError, IndexError):
        return 0


def x_server() -> tuple[str, frozenset[str]]:
    """Vendor of the X server that DISPLAY names, and which of `EXTENSION_NAMES` it has; empty where it cannot be asked."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
        free = ctypes.CDLL(None).free
    except (OSError, AttributeError):
        return "", frozenset()
    pointer = ctypes.c_void_p
    for name in ("xcb_connect", "xcb_get_setup", "xcb_setup_vendor", "xcb_query_extension_reply"):
        getattr(xcb, name).restype = pointer
    connection = pointer(xcb.xcb_connect(None, None))
    try:
        if xcb.xcb_connection_has_error(connection):
            return "", frozenset()
        setup = pointer(xcb.xcb_get_setup(connection))
        length = xcb.xcb_setup_vendor_length(setup)
        vendor = ctypes.string_at(xcb.xcb_setup_vendor(setup), length).decode("latin-1").strip()
        found = set()
        for name in EXTENSION_NAMES:
            cookie = xcb.xcb_query_extension(connection, len(name), name.encode("ascii"))
            reply = xcb.xcb_query_extension_reply(connection, cookie, None)
            if reply:
                if ctypes.string_at(reply, PRESENT_AT_BYTE + 1)[PRESENT_AT_BYTE]:
                    found.add(name)
                free(pointer(reply))
        return vendor, frozenset(found)
    finally:
        xcb.xcb_disconnect(connection)
