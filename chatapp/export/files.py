"""Writing a file whole or not at all: temporary file beside it, fsync, rename.

Knows nothing of formats. Whatever fails, the destination keeps its old content and no temporary file stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from chatapp.domain.errors import ExportFailed
from chatapp.domain.strict_reader import clean_text

ANOTHER_PLACE = "Choose another place."
_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk, or choose another.",
    errno.EDQUOT: "Free some space on that disk, or choose another.",
    errno.ENOENT: "Choose a folder that exists.",
    errno.ENOTDIR: "Choose a folder that exists.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8. Lone surrogates become U+FFFD. Raises `ExportFailed`."""
    data = clean_text(text).encode()
    try:
        _replace(_destination(path), data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        code = error.errno if isinstance(error, OSError) else None
        raise ExportFailed(
            f"“{path.name}” could not be written: {reason}.",
            kept="Nothing was changed there, and the conversation is unchanged.",
            remedy=_REMEDIES.get(code or 0, ANOTHER_PLACE),
        ) from error


def _destination(path: Path) -> Path:
    """Where the bytes go: through links, and only onto a writable regular file or a free name."""
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if real.exists():
        if not real.is_file():  # a rename would replace the device or pipe itself
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if not os.access(real, os.W_OK):  # a rename would go round the file's write protection
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return real


def _replace(path: Path, data: bytes) -> None:
    # Not tempfile: its files are private to the user, and an export should have the rights of any new file.
    temporary = path.with_name(f".chatapp-{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except BaseException:  # an interrupt too must leave no litter
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; where folders cannot be synced, the file's own fsync has to do."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
