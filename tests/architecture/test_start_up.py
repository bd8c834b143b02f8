"""What the command line loads: each answer comes without the libraries that it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from chatapp.__main__ import main, prepare_environment
from chatapp.cli import ENTRIES, Entry

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
from chatapp.__main__ import main
sys.argv[0] = "chatapp"
try:
    status = main()
except SystemExit as leaving:
    status = leaving.code
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def _run(*arguments: str) -> tuple[int, set[str], str]:
    """Exit status, top-level packages loaded, and all that was printed by `chatapp ARGUMENTS`."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    *printed, last = done.stdout.splitlines() or [""]
    assert last.startswith("["), done.stderr
    status, loaded = json.loads(last)
    return status, set(loaded), "\n".join(printed) + done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["nonsense"], *([entry.name, "--help"] for entry in ENTRIES)]
)
def test_help_loads_no_library(arguments: Sequence[str]) -> None:
    _, loaded, _ = _run(*arguments)
    assert not loaded & {"torch", "transformers", "tokenizers", "numpy", "PySide6", "pyqtgraph", "qasync"}


def test_models_reads_weights_without_torch() -> None:
    _, loaded, printed = _run("models")
    assert "--target DIR" in printed
    assert not loaded & {"torch", "transformers", "safetensors", "numpy", "PySide6"}


def test_doctor_looks_without_loading_what_it_looks_at() -> None:
    status, loaded, printed = _run("doctor")
    assert status in (0, 1)
    assert "built-in-pair" in printed
    assert not loaded & {"torch", "transformers", "safetensors", "numpy", "PySide6"}


def test_help_is_complete() -> None:
    status, _, printed = _run("--help")
    assert status == 0
    for entry in ENTRIES:
        assert f"{entry.name} " in printed
        assert entry.summary.split()[0] in printed
    assert "options of the window" in printed


def test_unknown_command_is_a_wrong_command_line() -> None:
    status, _, printed = _run("nonsense")
    assert status == 2
    assert "nonsense" in printed


def test_options_without_a_command_are_the_windows() -> None:
    status, _, printed = _run("--no-such-option")
    assert status == 2
    assert "--no-such-option" in printed
    assert "chatapp" in printed


def test_environment_keeps_the_network_out_and_leaves_a_persons_settings_alone() -> None:
    environment = {"HF_HUB_OFFLINE": "0"}
    prepare_environment(environment, cores=2)
    assert environment["HF_HUB_OFFLINE"] == "0"
    assert environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["GOMP_SPINCOUNT"] == "0"


def test_large_machines_keep_spinning_barriers() -> None:
    environment: dict[str, str] = {}
    prepare_environment(environment, cores=16)
    assert "GOMP_SPINCOUNT" not in environment


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_entry: Entry) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Entry, "load", interrupted)
    monkeypatch.setattr(sys, "argv", ["chatapp", "plan"])
    assert main() == 130
