"""What every test stands on: no screen, no network, one compute thread, the same random examples each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Before Qt, torch or transformers is imported by any test: they read these once.
os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile(
    "chatapp",
    derandomize=True,  # a run on another machine sees the same examples
    database=None,
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("chatapp")
