"""Imports modules in a fresh interpreter and tells what happened meanwhile; run by test_bare_imports.py.

Usage: python bare_import.py PACKAGE light|engine MODULE…

Prints one line per thing that must not happen. PACKAGE is the folder whose modules are watched; `light` modules must also leave
torch and transformers unloaded.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from pathlib import Path
from types import FrameType

PACKAGE = Path(sys.argv[1])
HEAVY = ("torch", "transformers")
IMPORTERS = ("<frozen importlib", "shibokensupport")
"""PySide6 puts its own function in front of `import`, which reads the imported source on Python 3.10."""
TOUCHED = (
    "open",
    "os.listdir",
    "os.putenv",
    "os.mkdir",
    "socket.connect",
    "subprocess.Popen",
    "sqlite3.connect",
)

found: list[str] = []


def _ours(frame: FrameType | None) -> str:
    """The module of ours whose top level led here, "" when an import of another package came between."""
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(IMPORTERS):
            return ""
        if filename.startswith(str(PACKAGE)):
            return f"{Path(filename).relative_to(PACKAGE.parent)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in TOUCHED and (place := _ours(sys._getframe(1))):
        found.append(f"{place}: {event} {arguments[0]!r}")


class _Watched(dict[str, str]):
    """An environment that tells who reads it."""

    def _tell(self, key: object) -> None:
        if place := _ours(sys._getframe(2)):
            found.append(f"{place}: reads the environment variable {key!r}")

    def __getitem__(self, key: str) -> str:
        self._tell(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._tell(key)
        return super().__contains__(key)

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]  # dict's overloads
        self._tell(key)
        return super().get(key, default)

    def copy(self) -> dict[str, str]:
        return dict(self)


def _process_state() -> dict[str, object]:
    """What a module might change for everybody."""
    state: dict[str, object] = {
        "logging handlers": list(logging.root.handlers),
        "logging level": logging.root.level,
        "threads": [thread.name for thread in threading.enumerate()],
        "except hook": sys.excepthook,
        "module path": list(sys.path),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        state |= {
            "torch threads": torch.get_num_threads(),
            "torch dtype": torch.get_default_dtype(),
            "torch gradients": torch.is_grad_enabled(),
            "torch determinism": torch.are_deterministic_algorithms_enabled(),
            "torch random state": torch.random.get_rng_state().sum().item(),
        }
    return state


def main(mode: str, modules: list[str]) -> None:
    if mode == "engine":
        importlib.import_module("torch")
    vars(os)["environ"] = _Watched(os.environ)
    before = _process_state()
    sys.addaudithook(_watch)
    for module in modules:
        importlib.import_module(module)
        for heavy in HEAVY:
            if mode == "light" and heavy in sys.modules:
                print(f"{module}: imports {heavy}")
                sys.exit()
    after = _process_state()
    found.extend(
        f"{name}: {before[name]!r} became {after[name]!r}" for name in before if before[name] != after[name]
    )
    print("\n".join(found))


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3:])
