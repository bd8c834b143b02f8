"""A fake X server: shakes hands over TCP as whoever it is told to be, and answers which extensions it has.

Enough of the X11 protocol (version 11, revision 0) for libxcb to ask for the vendor and for extensions.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRWPair

FIRST_PORT = 6000
QUERY_EXTENSION = 98


@contextmanager
def fake_x_server(vendor: str, extensions: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yields what DISPLAY has to say to reach it; serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = threading.Thread(target=_serve, args=(listener, vendor, extensions))
        server.start()
        try:
            yield f"127.0.0.1:{port - FIRST_PORT}"
        finally:
            with socket.create_connection(("127.0.0.1", port)):
                pass  # nobody came: let the thread go
            server.join()


def _serve(listener: socket.socket, vendor: str, extensions: frozenset[str]) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as stream:
        if not _shake_hands(stream, vendor):
            return
        sequence = 0
        while head := stream.read(4):
            opcode, _, words = struct.unpack("<BBH", head)
            body = stream.read(4 * words - 4)
            sequence += 1
            if opcode == QUERY_EXTENSION:
                (length,) = struct.unpack("<H", body[:2])
                present = body[4 : 4 + length].decode("ascii") in extensions
                stream.write(struct.pack("<BxHIB23x", 1, sequence, 0, present))
                stream.flush()


def _shake_hands(stream: BufferedRWPair, vendor: str) -> bool:
    head = stream.read(12)
    if len(head) < 12:
        return False
    name, data = struct.unpack("<HH", head[6:10])
    stream.read(-(-name // 4) * 4 + -(-data // 4) * 4)
    said = vendor.encode("latin-1")
    padded = said + b"\0" * (-len(said) % 4)
    rest = struct.pack(
        "<IIIIHHBBBBBBBB4x", 1, 0x200000, 0x1FFFFF, 256, len(said), 65535, 0, 0, 0, 0, 32, 32, 8, 255
    )
    stream.write(struct.pack("<BxHHH", 1, 11, 0, (len(rest) + len(padded)) // 4) + rest + padded)
    stream.flush()
    return True
