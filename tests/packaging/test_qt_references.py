"""The installed PySide6 keeps count of None and True.

6.12.0 drops one reference to each per call on Python before 3.12 and aborts the process after a few thousand calls, which is
why pyproject.toml excludes it.
"""

from __future__ import annotations

import gc
import sys

import pytest
from PySide6.QtCore import QObject

CALLS = 1_000
NOISE = 50
"""Frames, caches and the test runner come and go with a few references."""


@pytest.mark.parametrize("value", [None, True], ids=str)
def test_a_thousand_calls_keep_the_references(value: object) -> None:
    thing = QObject()
    gc.collect()
    before = sys.getrefcount(value)
    for _ in range(CALLS):
        thing.setObjectName("x")
        thing.blockSignals(True)
        thing.signalsBlocked()
        thing.parent()
    assert abs(sys.getrefcount(value) - before) < NOISE
