"""Every import contract of pyproject.toml catches what it is there for: violations are planted in a copy of the tree.

A contract that guards a name that no longer exists passes for ever; a planted violation tells.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLANTED: tuple[tuple[str, str, str], ...] = (
    # contract, module in which an import is planted, what it imports
    ("Layers", "chatapp.domain.planted", "chatapp.engine.contracts"),
    ("Layers", "chatapp.engine.planted", "chatapp.service.planted"),
    ("Layers", "chatapp.service.planted", "chatapp.app"),
    ("Layers", "chatapp.ui.planted", "chatapp.service.planted"),
    ("Layers", "chatapp.ui.planted_store", "chatapp.store.planted"),
    ("Layers", "chatapp.store.planted", "chatapp.export.planted"),
    ("Layers", "chatapp.export.planted", "chatapp.ui.planted"),
    ("Layers", "chatapp.library.planted", "chatapp.service.planted"),
    ("Layers", "chatapp.domain.planted_resources", "chatapp.resources"),
    ("The window, export", "chatapp.ui.planted_engine", "chatapp.engine.planted_leaf"),
    ("The window, export", "chatapp.ui.planted_torch", "torch"),
    ("The window, export", "chatapp.export.planted_torch", "torch"),
    ("The window, export", "chatapp.store.planted_engine", "chatapp.engine.planted_leaf"),
    ("The window, export", "chatapp.library.planted_torch", "torch"),
    ("The domain", "chatapp.domain.planted_numpy", "numpy"),
    ("The domain", "chatapp.domain.planted_qt", "PySide6.QtCore"),
    ("The engine", "chatapp.engine.planted_qt", "PySide6.QtCore"),
    ("The engine", "chatapp.engine.planted_asyncio", "asyncio"),
    ("Qt stays", "chatapp.service.planted_qt", "PySide6.QtCore"),
    ("Qt stays", "chatapp.export.planted_qt", "PySide6.QtGui"),
    ("torch stays", "chatapp.service.planted_torch", "torch.nn"),
    ("torch stays", "chatapp.planted_torch", "torch"),
    ("transformers stays", "chatapp.engine.planted_transformers", "transformers"),
    ("transformers stays", "chatapp.service.planted_transformers", "transformers.models.llama"),
    ("transformers stays", "chatapp.service.planted_neuron", "transformers_neuronx"),
    ("transformers stays", "chatapp.engine.planted_neuron", "neuronx_distributed_inference"),
    ("qasync stays", "chatapp.ui.planted_qasync", "qasync"),
    ("qasync stays", "chatapp.service.planted_qasync", "qasync"),
)
ALLOWED: tuple[tuple[str, str], ...] = (
    ("chatapp.engine.backends.allowed_transformers", "transformers"),
    ("chatapp.engine.backends.allowed_neuron", "transformers_neuronx.config"),
    ("chatapp.engine.acceptors.allowed_torch", "torch"),
    ("chatapp.ui.allowed_qt", "PySide6.QtWidgets"),
    ("chatapp.service.allowed_asyncio", "asyncio"),
)


def _plant(root: Path, module: str, imported: str) -> None:
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    path.write_text(f"import {imported}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What lint-imports says of the planted copy: contract → its section of the report."""
    root = tmp_path_factory.mktemp("planted")
    python_only = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "chatapp", root / "chatapp", ignore=python_only)
    shutil.copy(ROOT / "pyproject.toml", root)
    _plant(root, "chatapp.engine.planted_leaf", "math")
    for _, module, imported in PLANTED:
        _plant(root, module, imported)
    for module, imported in ALLOWED:
        _plant(root, module, imported)
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    report = done.stdout.partition("Broken contracts")[2]
    parts = re.split(r"\n([^\n]+)\n-{3,}\n", report)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("contract", "module", "imported"), PLANTED)
def test_planted_violation_is_caught(
    broken: dict[str, str], contract: str, module: str, imported: str
) -> None:
    sections = [text for name, text in broken.items() if name.startswith(contract)]
    assert len(sections) == 1, sorted(broken)
    seen = imported if imported.startswith("chatapp") else imported.partition(".")[0]
    assert f"{module} -> {seen} " in sections[0], sections[0]


@pytest.mark.parametrize(("module", "imported"), ALLOWED)
def test_allowed_import_is_not_caught(broken: dict[str, str], module: str, imported: str) -> None:
    assert not [name for name, text in broken.items() if module in text]
