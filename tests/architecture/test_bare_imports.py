"""Importing a module does nothing but define things, and the light half of the application never loads torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("bare_import.py")
TORCH_ALLOWED = ("chatapp.engine", "chatapp.bench")
MUTATORS = {"append", "add", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}


def _modules(root: Path = ROOT) -> list[str]:
    names = []
    for path in sorted((root / "chatapp").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


LIGHT = [name for name in _modules() if not name.startswith(TORCH_ALLOWED)]
HEAVY = [name for name in _modules() if name.startswith(TORCH_ALLOWED)]


def _probe(mode: str, modules: Sequence[str], root: Path = ROOT) -> list[str]:
    """What importing `modules` in a fresh interpreter did."""
    done = subprocess.run(
        [sys.executable, str(PROBE), str(root / "chatapp"), mode, *modules],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_light_modules_import_bare() -> None:
    assert _probe("light", LIGHT) == []


def test_engine_modules_import_bare() -> None:
    pytest.importorskip("torch")
    assert _probe("engine", HEAVY) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import os\nhome = os.environ['HOME']", "reads the environment variable 'HOME'"),
        ("import os\ndebug = os.getenv('DEBUG')", "reads the environment variable 'DEBUG'"),
        ("from pathlib import Path\ntext = Path(__file__).read_text()", "open"),
        ("import logging\nlogging.basicConfig()", "logging handlers"),
        ("import sys\nsys.path.append('elsewhere')", "module path"),
        # Plugins are looked for when a pair is loaded, never while modules are imported.
        (
            "from importlib.metadata import entry_points\nfound = entry_points(group='chatapp.acceptors')",
            "os.listdir",
        ),
        ("import torch", "imports torch"),
    ],
)
def test_the_probe_sees_what_a_module_does(tmp_path: Path, source: str, complaint: str) -> None:
    if "torch" in source:
        pytest.importorskip("torch")
    (tmp_path / "chatapp").mkdir()
    (tmp_path / "chatapp" / "planted.py").write_text(source, encoding="utf-8")
    assert any(complaint in line for line in _probe("light", ["chatapp.planted"], tmp_path))


def _mutable_state(tree: ast.Module) -> Iterator[str]:
    """Containers at module level that the module itself changes, and names that `global` rebinds."""
    containers = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, containers):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    yield from sorted(name for name in names if not name.isupper() and not name.startswith("__"))
    for inner in ast.walk(tree):
        match inner:
            case ast.Global():
                yield f"global {', '.join(inner.names)}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if (
                name in names and method in MUTATORS
            ):
                yield f"{name}.{method}()"
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in names:
                yield f"{name}[…]"


def test_no_module_keeps_mutable_state() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in sorted((ROOT / "chatapp").rglob("*.py"))
        for what in _mutable_state(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "cache = {}",
        "SEEN: list[int] = []\ndef see(x: int) -> None:\n    SEEN.append(x)",
        "NAMES = {}\ndef name(x: int) -> None:\n    NAMES[x] = 1",
        "count = 0\ndef up() -> None:\n    global count\n    count += 1",
    ],
)
def test_mutable_state_is_seen(source: str) -> None:
    assert list(_mutable_state(ast.parse(source)))
