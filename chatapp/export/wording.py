"""The sentences that all readable formats share: how a reply ended, what was asked, where it ran."""

from __future__ import annotations

import re

from chatapp.domain.events import EndReason, Environment, ModelInfo, RunStarted
from chatapp.domain.record import RunRecord
from chatapp.domain.request import Role
from chatapp.export.numbers import count

_ENDINGS = {
    EndReason.END_OF_TEXT: "complete",
    EndReason.STOP_STRING: "ended at a stop string",
    EndReason.MAX_TOKENS: "cut at the token limit",
    EndReason.CONTEXT_FULL: "cut: the context is full",
    EndReason.CANCELLED: "stopped",
    EndReason.FAILED: "failed",
}


def ending(record: RunRecord) -> str:
    """A few words on how the run ended."""
    if record.ended is None:
        return "not finished" if record.started else "never started"
    words = _ENDINGS[record.ended.reason]
    return f"{words}: {record.ended.error}" if record.ended.error else words


def settings(started: RunStarted) -> list[tuple[str, str]]:
    """What was asked, as `(name, value)`."""
    request, sampling = started.request, started.request.sampling
    stops = ", ".join(repr(stop) for stop in sampling.stop)
    return [
        ("Temperature", f"{sampling.temperature:g}" + (" (greedy)" if sampling.greedy else "")),
        ("Top-k", str(sampling.top_k) if sampling.top_k else "off"),
        ("Top-p", f"{sampling.top_p:g}" if sampling.top_p < 1 else "off"),
        ("Min-p", f"{sampling.min_p:g}" if sampling.min_p else "off"),
        ("Repetition penalty", f"{sampling.repetition_penalty:g}"),
        ("Max tokens", f"{sampling.max_tokens:,}"),
        ("Seed", str(sampling.seed)),
        ("Stop strings", stops or "none"),
        ("Window k at the start", str(request.window) if request.speculation else "1 (speculation off)"),
        ("Acceptor", started.acceptor + (" (lossless)" if started.lossless else " (not lossless)")),
        ("Drafter", request.drafter),
        ("Prompt", count(started.prompt_tokens, "token")),
        ("Started", moment(started.started_at)),
        ("Run", started.run_id),
    ]


def model(info: ModelInfo) -> str:
    words = f"{info.name} · {info.architecture} · {parameters(info.parameters)} · {info.dtype}"
    return f"{words} · sha256 {info.weights_sha256[:12]}…" if info.weights_sha256 else words


def parameters(number: int) -> str:
    if number >= 10**9:
        return f"{number / 1e9:.1f} B parameters"
    if number >= 10**6:
        return f"{number / 1e6:.1f} M parameters"
    return count(number, "parameter")


def conditions(environment: Environment) -> list[tuple[str, str]]:
    """Where it ran, as `(name, value)`."""
    rows = [
        ("Target", model(environment.target)),
        ("Draft", model(environment.draft) if environment.draft else "none"),
        ("Device", f"{environment.device} · {count(environment.threads, 'thread')}"),
        ("Backend", environment.backend),
        ("Context", f"{environment.context_limit:,} tokens"),
        ("Vocabulary", f"{environment.vocabulary:,} tokens"),
        ("Platform", environment.platform),
        ("Versions", ", ".join(f"{package} {version}" for package, version in environment.versions)),
    ]
    if environment.simulated:
        rows.append(("Simulated", "yes: at least one latency is not the device's own"))
    return rows


def moment(stamp: str) -> str:
    """`2026-03-14T09:26:53Z` as `2026-03-14 09:26 UTC`; anything else as it stands."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d(\.\d+)?)?(Z|\+00:00)", stamp)
    return f"{found[1]} {found[2]} UTC" if found else stamp


def system_prompt(record: RunRecord) -> str:
    """The system prompt of a run, empty if there was none."""
    if record.started is None:
        return ""
    first = record.started.request.messages[0]
    return first.content if first.role is Role.SYSTEM else ""
