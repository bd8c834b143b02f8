"""Domain values ↔ plain JSON-able dicts, for export files and for the store: one shape, written here once.

Reading is strict (`strict_reader.py`): a missing or wrongly typed field raises `DamagedRecord` with its place; keys that
this version does not know are ignored, and fields that were added within the schema version may be missing: they then
have the value that says "not known". Every text written is valid Unicode: a lone surrogate becomes U+FFFD, one for
one. A number that is not finite is written as "NaN", "Infinity" or "-Infinity". Otherwise value → dict → value is the
identity. This module must not know files, JSON text or schema versions.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import assert_never

from chatapp.domain.codec_conditions import (
    JsonObject,
    environment_from,
    environment_to_dict,
    request_from,
    request_to_dict,
)
from chatapp.domain.errors import DamagedRecord
from chatapp.domain.events import (
    EndReason,
    Notice,
    Prefilled,
    PrefillProgress,
    RunEnded,
    RunEvent,
    RunStarted,
    StepCommitted,
    WindowChoice,
)
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.domain.strict_reader import Reader, clean_text, json_number
from chatapp.domain.tokens import CommittedToken, DraftedToken, DraftOutcome, TokenKind

EVENT_KEY = "event"

__all__ = [
    "JsonObject",
    "conversation_from_dict",
    "conversation_to_dict",
    "environment_to_dict",
    "event_from_dict",
    "event_to_dict",
    "record_events",
    "record_from_dict",
    "record_to_dict",
    "request_to_dict",
]


def _optional(value: float | None) -> float | str | None:
    return None if value is None else json_number(value)


# --- tokens and steps ------------------------------------------------------------------------------------------------


def _drafted_to_dict(draft: DraftedToken) -> JsonObject:
    return {
        "id": draft.id,
        "text": clean_text(draft.text),
        "outcome": draft.outcome.value,
        "draft_prob": json_number(draft.draft_prob),
        "target_prob": _optional(draft.target_prob),
        "draw": _optional(draft.draw),
        "source": clean_text(draft.source),
    }


def _drafted_from(reader: Reader) -> DraftedToken:
    return DraftedToken(
        id=reader.integer("id"),
        text=reader.text("text"),
        draft_prob=reader.number("draft_prob"),
        target_prob=reader.optional_number("target_prob"),
        draw=reader.optional_number("draw"),
        outcome=reader.choice("outcome", DraftOutcome),
        source=reader.text("source") if reader.has("source") else "",
    )


def _committed_to_dict(token: CommittedToken) -> JsonObject:
    return {
        "id": token.id,
        "text": clean_text(token.text),
        "kind": token.kind.value,
        "target_prob": json_number(token.target_prob),
        "draft_prob": _optional(token.draft_prob),
    }


def _committed_from(reader: Reader) -> CommittedToken:
    return CommittedToken(
        id=reader.integer("id"),
        text=reader.text("text"),
        kind=reader.choice("kind", TokenKind),
        target_prob=reader.number("target_prob"),
        draft_prob=reader.optional_number("draft_prob"),
    )


def _choice_to_dict(choice: WindowChoice) -> JsonObject:
    return {
        "policy": clean_text(choice.policy),
        "reason": clean_text(choice.reason),
        "estimates": [
            {"name": clean_text(name), "value": json_number(value)} for name, value in choice.estimates
        ],
    }


def _choice_from(reader: Reader) -> WindowChoice:
    return WindowChoice(
        policy=reader.text("policy"),
        reason=reader.text("reason"),
        estimates=tuple((item.text("name"), item.number("value")) for item in reader.children("estimates")),
    )


def _step_to_dict(step: StepCommitted) -> JsonObject:
    return {
        "index": step.index,
        "window": step.window,
        "window_asked": step.window_asked,
        "speculation": step.speculation,
        "accepted": step.accepted,
        "started_ns": step.started_ns,
        "ended_ns": step.ended_ns,
        "draft_ns": step.draft_ns,
        "verify_ns": step.verify_ns,
        "sample_ns": step.sample_ns,
        "host_ns": step.host_ns,
        "visible_chars": step.visible_chars,
        "residual_fallbacks": step.residual_fallbacks,
        "acceptor": clean_text(step.acceptor),
        "lossless": step.lossless,
        "draft_bytes": step.draft_bytes,
        "verify_bytes": step.verify_bytes,
        "choice": None if step.choice is None else _choice_to_dict(step.choice),
        "drafted": [_drafted_to_dict(draft) for draft in step.drafted],
        "tokens": [_committed_to_dict(token) for token in step.tokens],
    }


def _step_from(reader: Reader) -> StepCommitted:
    started_ns = reader.integer("started_ns")
    has_choice = reader.has("choice") and not reader.is_null("choice")
    return StepCommitted(
        index=reader.integer("index"),
        window=reader.integer("window", minimum=1),
        window_asked=reader.integer("window_asked", minimum=1),
        speculation=reader.flag("speculation"),
        drafted=tuple(_drafted_from(item) for item in reader.children("drafted")),
        tokens=tuple(_committed_from(item) for item in reader.children("tokens")),
        accepted=reader.integer("accepted"),
        started_ns=started_ns,
        ended_ns=reader.integer("ended_ns", minimum=started_ns),
        draft_ns=reader.integer("draft_ns"),
        verify_ns=reader.integer("verify_ns"),
        sample_ns=reader.integer("sample_ns"),
        host_ns=reader.integer("host_ns"),
        visible_chars=reader.integer("visible_chars"),
        residual_fallbacks=reader.integer("residual_fallbacks"),
        choice=_choice_from(reader.child("choice")) if has_choice else None,
        draft_bytes=reader.integer("draft_bytes") if reader.has("draft_bytes") else 0,
        verify_bytes=reader.integer("verify_bytes") if reader.has("verify_bytes") else 0,
        acceptor=reader.text("acceptor") if reader.has("acceptor") else "",
        lossless=reader.flag("lossless") if reader.has("lossless") else True,
    )


# --- the other events ------------------------------------------------------------------------------------------------


def _started_to_dict(event: RunStarted) -> JsonObject:
    return {
        "run_id": clean_text(event.run_id),
        "started_at": clean_text(event.started_at),
        "acceptor": clean_text(event.acceptor),
        "lossless": event.lossless,
        "drafter": clean_text(event.drafter),
        "policy": clean_text(event.policy),
        "prompt_tokens": event.prompt_tokens,
        "request": request_to_dict(event.request),
        "environment": environment_to_dict(event.environment),
    }


def _started_from(reader: Reader) -> RunStarted:
    return RunStarted(
        run_id=reader.text("run_id"),
        started_at=reader.text("started_at"),
        request=request_from(reader.child("request")),
        acceptor=reader.text("acceptor"),
        lossless=reader.flag("lossless"),
        environment=environment_from(reader.child("environment")),
        prompt_tokens=reader.integer("prompt_tokens"),
        drafter=reader.text("drafter") if reader.has("drafter") else "",
        policy=reader.text("policy") if reader.has("policy") else "",
    )


def _progress_to_dict(event: PrefillProgress) -> JsonObject:
    return {"done": event.done, "total": event.total}


def _progress_from(reader: Reader) -> PrefillProgress:
    return PrefillProgress(done=reader.integer("done"), total=reader.integer("total"))


def _prefilled_to_dict(event: Prefilled) -> JsonObject:
    return {
        "model": clean_text(event.model),
        "positions": event.positions,
        "reused": event.reused,
        "duration_ns": event.duration_ns,
    }


def _prefilled_from(reader: Reader) -> Prefilled:
    return Prefilled(
        model=reader.text("model"),
        positions=reader.integer("positions"),
        reused=reader.integer("reused"),
        duration_ns=reader.integer("duration_ns"),
    )


def _notice_to_dict(event: Notice) -> JsonObject:
    return {"code": clean_text(event.code), "message": clean_text(event.message), "at_ns": event.at_ns}


def _notice_from(reader: Reader) -> Notice:
    return Notice(code=reader.text("code"), message=reader.text("message"), at_ns=reader.integer("at_ns"))


def _ended_to_dict(event: RunEnded) -> JsonObject:
    return {
        "reason": event.reason.value,
        "ended_ns": event.ended_ns,
        "tail_text": clean_text(event.tail_text),
        "visible_chars": event.visible_chars,
        "target_cached": event.target_cached,
        "draft_cached": event.draft_cached,
        "error": clean_text(event.error),
    }


def _ended_from(reader: Reader) -> RunEnded:
    return RunEnded(
        reason=reader.choice("reason", EndReason),
        ended_ns=reader.integer("ended_ns"),
        tail_text=reader.text("tail_text"),
        visible_chars=reader.integer("visible_chars"),
        target_cached=reader.integer("target_cached"),
        draft_cached=reader.integer("draft_cached"),
        error=reader.text("error"),
    )


# --- events, records, conversations ----------------------------------------------------------------------------------

_EVENT_READERS: dict[str, Callable[[Reader], RunEvent]] = {
    "run_started": _started_from,
    "prefill_progress": _progress_from,
    "prefilled": _prefilled_from,
    "step_committed": _step_from,
    "notice": _notice_from,
    "run_ended": _ended_from,
}


def event_to_dict(event: RunEvent) -> JsonObject:
    """One event with its name under `event`."""
    if isinstance(event, RunStarted):
        return {EVENT_KEY: "run_started", **_started_to_dict(event)}
    if isinstance(event, PrefillProgress):
        return {EVENT_KEY: "prefill_progress", **_progress_to_dict(event)}
    if isinstance(event, Prefilled):
        return {EVENT_KEY: "prefilled", **_prefilled_to_dict(event)}
    if isinstance(event, StepCommitted):
        return {EVENT_KEY: "step_committed", **_step_to_dict(event)}
    if isinstance(event, Notice):
        return {EVENT_KEY: "notice", **_notice_to_dict(event)}
    if isinstance(event, RunEnded):
        return {EVENT_KEY: "run_ended", **_ended_to_dict(event)}
    assert_never(event)


def event_from_dict(value: object, path: str = "") -> RunEvent:
    """Raises `DamagedRecord`."""
    reader = Reader(value, path)
    name = reader.text(EVENT_KEY)
    if name not in _EVENT_READERS:
        raise DamagedRecord(f"{reader.place(EVENT_KEY)} names no known event.", reader.place(EVENT_KEY))
    return _EVENT_READERS[name](reader)


def record_events(record: RunRecord) -> list[RunEvent]:
    """Events that fold to `record` again (in a canonical order: a record does not keep where its notices stood)."""
    events: list[RunEvent | None] = [
        record.started,
        record.progress,
        *record.prefills,
        *record.steps,
        *record.notices,
        record.ended,
    ]
    return [event for event in events if event is not None]


def record_to_dict(record: RunRecord) -> JsonObject:
    return {
        "started": None if record.started is None else _started_to_dict(record.started),
        "progress": None if record.progress is None else _progress_to_dict(record.progress),
        "prefills": [_prefilled_to_dict(event) for event in record.prefills],
        "steps": [_step_to_dict(event) for event in record.steps],
        "notices": [_notice_to_dict(event) for event in record.notices],
        "ended": None if record.ended is None else _ended_to_dict(record.ended),
    }


def _steps_from(reader: Reader) -> list[StepCommitted]:
    steps: list[StepCommitted] = []
    for item in reader.children("steps"):
        step = _step_from(item)
        if steps and step.ended_ns < steps[-1].ended_ns:  # no time of a run could be believed
            raise DamagedRecord(
                f"{item.place('ended_ns')} lies before the step before.", item.place("ended_ns")
            )
        steps.append(step)
    return steps


def _record_from(reader: Reader) -> RunRecord:
    events: list[RunEvent] = []
    if not reader.is_null("started"):
        events.append(_started_from(reader.child("started")))
    if not reader.is_null("progress"):
        events.append(_progress_from(reader.child("progress")))
    events += [_prefilled_from(item) for item in reader.children("prefills")]
    events += _steps_from(reader)
    events += [_notice_from(item) for item in reader.children("notices")]
    if not reader.is_null("ended"):
        events.append(_ended_from(reader.child("ended")))
    record = RunRecord()
    try:
        for event in events:
            record.apply(event)
    except ValueError as error:
        raise DamagedRecord(f"{reader.path or 'The run'} is out of order: {error}.", reader.path) from error
    return record


def record_from_dict(value: object, path: str = "") -> RunRecord:
    """Raises `DamagedRecord`."""
    return _record_from(Reader(value, path))


def conversation_to_dict(conversation: Conversation) -> JsonObject:
    return {
        "id": clean_text(conversation.id),
        "title": clean_text(conversation.title),
        "created_at": clean_text(conversation.created_at),
        "turns": [
            {"prompt": clean_text(turn.prompt), "run": record_to_dict(turn.record)}
            for turn in conversation.turns
        ],
    }


def conversation_from_dict(value: object, path: str = "") -> Conversation:
    """Raises `DamagedRecord`."""
    reader = Reader(value, path)
    return Conversation(
        id=reader.text("id"),
        title=reader.text("title"),
        created_at=reader.text("created_at"),
        turns=[
            Turn(turn.text("prompt"), _record_from(turn.child("run"))) for turn in reader.children("turns")
        ],
    )
