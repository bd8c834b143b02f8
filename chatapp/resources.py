"""Where the files that come with the application lie: icons, themes, help, the built-in pair.

A clone (and an editable install of it) reads `resources/` at the top of the repository; an installed wheel carries the
same folder inside the package. This module must not know what is in the files, and opens none.
"""

from __future__ import annotations

from pathlib import Path

from chatapp.domain.ports import PairLocation

BUILTIN_PAIR_NAME = "built-in pair"


def resource_path(*parts: str) -> Path:
    """The path of a resource, such as `resource_path("icons", "send.svg")`; it need not exist."""
    package = Path(__file__).resolve().parent
    installed = package / "_resources"
    root = installed if installed.is_dir() else package.parent / "resources"
    return root.joinpath(*parts)


def builtin_pair() -> PairLocation:
    """The pair that comes with the application."""
    return PairLocation(BUILTIN_PAIR_NAME, resource_path("pair", "target"), resource_path("pair", "draft"))
