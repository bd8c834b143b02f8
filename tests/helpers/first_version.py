"""Documents as they were written before anything was added to schema version 1: files and stored chats of that shape
must open for ever. Works on what the codec writes today, and takes away what came since."""

from __future__ import annotations

from typing import Any


def without_additions(conversation: Any) -> Any:
    """An encoded conversation without what was added later; changes and returns it."""
    for turn in conversation["turns"]:
        run = turn["run"]
        if run["started"] is not None:
            started_without_additions(run["started"])
        for step in run["steps"]:
            step_without_additions(step)
    return conversation


def event_without_additions(event: Any) -> Any:
    """An encoded event without what was added later; changes and returns it."""
    if event["event"] == "run_started":
        started_without_additions(event)
    elif event["event"] == "step_committed":
        step_without_additions(event)
    return event


def started_without_additions(started: Any) -> None:
    environment, request = started["environment"], started["request"]
    for model in (environment["target"], environment["draft"]):
        if model is not None:
            del model["runs_on"]
    del environment["bandwidth"]
    del started["drafter"], started["policy"], request["policy"]
    for key in ("presence_penalty", "frequency_penalty", "logit_bias"):
        del request["sampling"][key]


def step_without_additions(step: Any) -> None:
    for key in ("acceptor", "lossless", "draft_bytes", "verify_bytes", "choice"):
        del step[key]
    for draft in step["drafted"]:
        del draft["source"]
