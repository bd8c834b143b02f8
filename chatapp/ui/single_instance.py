"""One window per person: a second start raises the first window and leaves.

The lock file decides who is first (it knows whether the process that wrote it still lives); the local socket only
carries the wish to be raised, so a socket left by a crash is simply replaced.
"""

from __future__ import annotations

import getpass
import hashlib
from pathlib import Path

from PySide6.QtCore import QLockFile, QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

CONNECT_MS = 1500


def server_name(folder: Path) -> str:
    """The socket's name: one for each person and data directory."""
    mark = hashlib.sha256(f"{getpass.getuser()}:{folder.resolve()}".encode()).hexdigest()[:16]
    return f"chatapp-{mark}"


class SingleInstance(QObject):
    """`raise_requested` fires in the first process when a second one starts."""

    raise_requested = Signal()

    def __init__(self, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._name = server_name(folder)
        self._lock = QLockFile(str(folder / "chatapp.lock"))
        self._lock.setStaleLockTime(0)  # age says nothing: only a dead owner makes the lock stale
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._on_connection)

    def acquire(self) -> bool:
        """True when this is the first process. A folder without write access cannot be locked and counts as first."""
        if not self._lock.tryLock(0) and self._lock.error() is QLockFile.LockError.LockFailedError:
            return False
        QLocalServer.removeServer(self._name)
        self._server.listen(self._name)
        return True

    def ask_to_raise(self) -> bool:
        """Tell the first process to show its window; False when it does not answer."""
        socket = QLocalSocket()
        socket.connectToServer(self._name)
        if not socket.waitForConnected(CONNECT_MS):
            return False
        socket.disconnectFromServer()
        return True

    def release(self) -> None:
        self._server.close()
        self._lock.unlock()

    def _on_connection(self) -> None:
        """To connect is to ask: there is nothing else that a second process could want."""
        while self._server.hasPendingConnections():
            socket = self._server.nextPendingConnection()
            socket.abort()
            socket.deleteLater()
        self.raise_requested.emit()
