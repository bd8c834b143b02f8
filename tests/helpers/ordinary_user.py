"""File rights as an ordinary user has them: root may read everything, so tests that run as root step down for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def ordinary_user(folder: Path) -> Iterator[None]:
    """Within, this process has an ordinary user's rights, and may still reach `folder`."""
    if os.geteuid() != 0:
        yield
        return
    opened = [
        (place, place.stat().st_mode)
        for place in (folder, *folder.parents)
        if not place.stat().st_mode & 0o001
    ]
    for place, mode in opened:
        place.chmod(mode | 0o001)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)  # last, for it takes the right to do the others away
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        for place, mode in opened:
            place.chmod(mode)
