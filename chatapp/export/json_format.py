"""The JSON export: everything the records hold, and derived numbers for those who only want to read.

The document is described by `resources/schema/conversation-1.schema.json`. What stands under `derived` is computed from
the rest on every export and never read back. `reading.py` is the way in.
"""

from __future__ import annotations

from typing import Any

from chatapp.domain.codec import JsonObject, conversation_to_dict
from chatapp.domain.errors import ExportFailed
from chatapp.domain.metrics import Metrics, Traffic, combined_metrics, run_metrics, run_traffic
from chatapp.domain.record import Conversation, RunRecord
from chatapp.export.json_text import to_json
from chatapp.export.wording import provenance, rehearsal

SCHEMA = "chatapp-conversation"
SCHEMA_VERSION = 1
MAX_DOCUMENT_BYTES = 128 * 2**20
"""Larger files are neither written nor read: parsed, such a document takes about ten times its size of memory."""


class JsonExporter:
    name = "json"
    suffix = ".json"
    description = "JSON: everything in the record; can be opened again"

    def render(self, conversation: Conversation) -> str:
        text = to_json(document(conversation))
        if len(text.encode()) > MAX_DOCUMENT_BYTES:
            raise ExportFailed(
                f"The conversation is larger than the {MAX_DOCUMENT_BYTES >> 20} MiB that a JSON export may have.",
                kept="Nothing was written and the conversation is unchanged.",
                remedy="Export it as HTML or Markdown instead.",
            )
        return text


def document(conversation: Conversation) -> JsonObject:
    """The export as a dict; keys in the order in which they are written."""
    body = conversation_to_dict(conversation)
    for written, turn in zip(body["turns"], conversation.turns, strict=True):
        written["derived"] = _derived(turn.record, written["run"])
    total = combined_metrics(run_metrics(turn.record) for turn in conversation.turns)
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        **({"rehearsal": remark} if (remark := rehearsal(conversation)) else {}),
        **body,
        "derived": {"metrics": metrics_to_dict(total)},
    }


def _derived(record: RunRecord, written_run: dict[str, Any]) -> JsonObject:
    # Joined from the written texts, not from the record's own: those may hold lone surrogates.
    pieces = [token["text"] for step in written_run["steps"] for token in step["tokens"]]
    tail = written_run["ended"]["tail_text"] if written_run["ended"] and pieces else ""
    return {
        "reply": ("".join(pieces) + tail)[: record.visible_chars],
        "partial": record.partial,
        "metrics": metrics_to_dict(run_metrics(record)),
        "traffic": traffic_to_dict(run_traffic(record)),
        "window_changes": [
            {
                "step": change.step,
                "offset": change.offset,
                "window_before": change.window_before,
                "window_after": change.window_after,
                "speculation_before": change.speculation_before,
                "speculation_after": change.speculation_after,
                "policy_before": change.policy_before,
                "policy_after": change.policy_after,
                "acceptor_before": change.acceptor_before,
                "acceptor_after": change.acceptor_after,
                "lossless_after": change.lossless_after,
            }
            for change in record.window_changes()
        ],
    }


def traffic_to_dict(traffic: Traffic) -> JsonObject:
    """Sums, then the rates made from them; null where nothing is known."""
    return {
        "draft_bytes": traffic.draft_bytes,
        "draft_ns": traffic.draft_ns,
        "draft_bytes_per_s": traffic.draft_rate,
        "verify_bytes": traffic.verify_bytes,
        "verify_ns": traffic.verify_ns,
        "verify_bytes_per_s": traffic.verify_rate,
    }


def metrics_to_dict(metrics: Metrics) -> JsonObject:
    """Counts, then the ratios made from them; null where a number does not exist. Figures that were not measured say so."""
    words = provenance(metrics)
    return {
        "provenance": metrics.provenance.value,
        **({"rehearsal": words} if words else {}),
        "tokens": metrics.tokens,
        "ttft_s": metrics.ttft_s,
        "tpot_s": metrics.tpot_s,
        "tokens_per_s": metrics.tokens_per_s,
        "decode_ns": metrics.decode_ns,
        "decode_tokens": metrics.decode_tokens,
        "verify_steps": metrics.verify_steps,
        "verify_tokens": metrics.verify_tokens,
        "drafted": metrics.drafted,
        "accepted": metrics.accepted,
        "tested": metrics.tested,
        "acceptance_rate": metrics.acceptance_rate,
        "tested_acceptance": metrics.tested_acceptance,
        "mean_acceptance_length": metrics.mean_acceptance_length,
        "counts": {kind.value: count for kind, count in metrics.counts},
        "shares": {kind.value: metrics.share(kind) for kind, _ in metrics.counts},
    }
