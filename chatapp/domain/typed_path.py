"""A directory as a person types it. Whatever they type, there is one or there is none: nothing here raises."""

from __future__ import annotations

from pathlib import Path


def existing_directory(text: str) -> Path | None:
    """The directory of that name, absolute, with `~` expanded; None where there is none, or no file can be called so."""
    text = text.strip()
    try:
        path = Path(text).expanduser()
        return path.resolve() if text and path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, an unreadable parent; `~nobody`; a null character
        return None
