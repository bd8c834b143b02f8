"""What every test of the transcript needs."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The offscreen platform says this whenever a widget with a size policy is shown; no code of ours can avoid it."""
    quiet = pytest.mark.qt_log_ignore("This plugin does not support propagateSizeHints", extend=True)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(quiet)
