"""The machine that is looked at: its files below a root, its environment, its tools and its installed packages.

Everything in `library/host` reads through a `Host`, so that a tree of files and a folder of scripts can stand for a machine.
This module must not know what any file means.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from chatapp.library.host.commands import ANSWER_S, CommandRunner

NEURON_TOOLS = "opt/aws/neuron/bin"
"""Where aws-neuronx-tools puts its programs; only login shells of the Neuron images have it in their PATH."""
ADMIN_TOOLS = ("usr/sbin", "sbin")
LONGEST_FILE = 8 << 20


@dataclass(frozen=True)
class Host:
    """`root` is `/` on a real machine, `site` the folders that packages of `python` (3, 11) are looked for in."""

    root: Path
    environ: Mapping[str, str]
    commands: CommandRunner
    site: Sequence[str]
    python: tuple[int, int]

    @classmethod
    def here(cls) -> Host:
        """The machine that this runs on."""
        return cls.at(Path("/"), dict(os.environ), sys.path)

    @classmethod
    def at(
        cls,
        root: Path,
        environ: Mapping[str, str],
        site: Sequence[str],
        python: tuple[int, int] = sys.version_info[:2],
        patience_s: float = ANSWER_S,
    ) -> Host:
        """The machine whose files lie below `root`, where a tool may take `patience_s` to answer."""
        folders = [environ.get("PATH", ""), *(str(root / part) for part in (NEURON_TOOLS, *ADMIN_TOOLS))]
        path = os.pathsep.join(folder for folder in folders if folder)
        return cls(root, environ, CommandRunner(path, environ, patience_s), site, python)

    def path(self, place: str) -> Path:
        """A place given as on the real machine: `/dev/neuron0`."""
        return self.root / place.lstrip("/")

    def text(self, place: str | Path) -> str | None:
        """The stripped text of a file; None when it is missing or cannot be read."""
        try:
            return self.read(place)
        except OSError:
            return None

    def read(self, place: str | Path) -> str:
        """The stripped text of a file, at most its first `LONGEST_FILE` bytes. Raises `OSError`."""
        path = place if isinstance(place, Path) else self.path(place)
        with path.open("rb") as file:
            return file.read(LONGEST_FILE).decode("utf-8", "replace").strip()

    def versions(self) -> dict[str, str]:
        """Installed Python packages, name (normalised) → version; the first of a name wins, as it does for `import`."""
        found: dict[str, str] = {}
        for package in metadata.distributions(path=list(self.site)):
            described = package.metadata
            # Half-removed packages leave folders without a name or a version behind.
            if "Name" in described and "Version" in described:
                found.setdefault(normalised(described["Name"]), described["Version"])
        return found

    def free_bytes(self, folder: Path) -> int | None:
        """Room on the disk that `folder` is on, or will be on; None when that cannot be told."""
        for place in (folder, *folder.parents):
            try:
                return shutil.disk_usage(place).free
            except FileNotFoundError:
                continue
            except OSError:
                return None
        return None


def normalised(name: str) -> str:
    """A package's name as the index compares it: lower case, one dash."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparing: `2.7.0.2.10.16998+abc` → (2, 7, 0, 2, 10, 16998); empty for nonsense."""
    numbers: list[int] = []
    for part in version.strip().lstrip("v").split("+")[0].split("-")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
