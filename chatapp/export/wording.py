"""The sentences that all readable formats share: how a reply ended, what was asked, where it ran."""

from __future__ import annotations

import re

from chatapp.domain.events import EndReason, Environment, ModelInfo, RunStarted
from chatapp.domain.metrics import Metrics, Provenance, run_traffic
from chatapp.domain.record import Conversation, RunRecord
from chatapp.domain.rehearsal import (
    NOT_MEASURED,
    NOT_TOGETHER,
    REHEARSAL,
    REHEARSAL_TITLE,
    rehearsal_at,
)
from chatapp.domain.request import Role, chooses_by_itself
from chatapp.domain.wording import gauge, replies_words
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
        ("Presence penalty", f"{sampling.presence_penalty:g}" if sampling.presence_penalty else "off"),
        ("Frequency penalty", f"{sampling.frequency_penalty:g}" if sampling.frequency_penalty else "off"),
        ("Logit bias", ", ".join(f"{id}: {bias:+g}" for id, bias in sampling.logit_bias) or "none"),
        ("Stop strings", stops or "none"),
        ("Window k at the start", str(request.window) if request.speculation else "1 (speculation off)"),
        ("Window policy", window_policy(started)),
        ("Acceptor", acceptor(started.acceptor, lossless=started.lossless)),
        ("Drafter", started.drafter or request.drafter),
        ("Prompt", count(started.prompt_tokens, "token")),
        ("Started", moment(started.started_at)),
        ("Run", started.run_id),
    ]


def window_policy(started: RunStarted) -> str:
    """Which policy the run began with, and what the slider's k meant to it."""
    policy = started.policy or started.request.policy
    if not chooses_by_itself(policy):
        return f"{policy}: k as the slider says"
    return f"{policy}: k chosen step by step, up to {started.request.window}"


def acceptor(name: str, *, lossless: bool) -> str:
    """An acceptor is never named without what it does to the text."""
    return f"{name} (lossless)" if lossless else f"{name} (lossy: not the target's own distribution)"


def traffic(record: RunRecord) -> str:
    """How near to the memory's limit the passes of a run came; empty where nothing is known."""
    if record.started is None:
        return ""
    bandwidth, sums = record.started.environment.bandwidth, run_traffic(record)
    parts = [("verify", gauge(sums.verify_rate, bandwidth)), ("draft", gauge(sums.draft_rate, bandwidth))]
    return ", ".join(f"{name} {words}" for name, words in parts if words)


def model(info: ModelInfo) -> str:
    words = f"{info.name} · {info.architecture} · {parameters(info.parameters)} · {info.dtype}"
    if info.runs_on:
        words += f" · runs on: {info.runs_on}"
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
    if environment.bandwidth > 0:
        rows.insert(3, ("Memory bandwidth", f"{environment.bandwidth / 1e9:.1f} GB/s, measured at start-up"))
    if environment.simulated:
        rows.insert(0, (REHEARSAL_TITLE, NOT_MEASURED))
        pair = rehearsal_at(environment.device)
        rows += pair.facts if pair is not None else ()
    return rows


def rehearsal(conversation: Conversation) -> str:
    """What stands on top of a file that holds rehearsed replies; empty where there is none."""
    records = [turn.record for turn in conversation.turns]
    rehearsed = [number for number, record in enumerate(records, 1) if record.simulated]
    if not rehearsed:
        return ""
    which = "" if len(rehearsed) == len(records) else f", in {replies_words(rehearsed)}"
    return f"{REHEARSAL_TITLE}{which}. {NOT_MEASURED}"


def provenance(metrics: Metrics) -> str:
    """What stands beside figures that were not measured; empty for measured ones."""
    return {Provenance.SIMULATED: REHEARSAL, Provenance.MIXED: NOT_TOGETHER}.get(metrics.provenance, "")


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
