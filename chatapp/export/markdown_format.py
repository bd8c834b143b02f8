"""The Markdown export: a transcript to read, with the numbers below each reply.

Texts of people and models stand in fences that are longer than any run of backticks inside them, so that nothing they
hold can become a heading, a link, an image or HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from chatapp.domain.metrics import Metrics, combined_metrics, run_metrics
from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.domain.request import chooses_by_itself
from chatapp.domain.tokens import DraftOutcome
from chatapp.domain.wording import proposer
from chatapp.export.numbers import NOTHING, count, metric_rows, percent, probability
from chatapp.export.visible import token_label, visible
from chatapp.export.wording import (
    conditions,
    ending,
    moment,
    provenance,
    rehearsal,
    settings,
    system_prompt,
    traffic,
)

REJECTED_SHOWN = 12
REASONS_SHOWN = 6


class MarkdownExporter:
    name = "markdown"
    suffix = ".md"
    description = "Markdown: a transcript with the numbers below each reply"

    def render(self, conversation: Conversation) -> str:
        blocks = [block.rstrip("\n") for block in _blocks(conversation) if block]
        return "\n\n".join(blocks) + "\n"


def fenced(text: str) -> str:
    """`text` as a code block that no run of backticks in it can close."""
    shown = visible(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def inline(text: str) -> str:
    """`text` on one line as inert prose: every character that Markdown or HTML could act on is escaped."""
    line = " ".join(visible(text).split())
    escaped = line.replace("&", "&amp;").replace("<", "&lt;")
    escaped = re.sub(r"([\\`*_\[\]#|>~])", r"\\\1", escaped)
    # Beginnings of lists, and underlines of headings.
    escaped = re.sub(r"^(\d*)([-+=.)])(?=\s|=|$)", r"\1\\\2", escaped)
    # Bare addresses must not become links.
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def _cell(text: str) -> str:
    """`text` as code inside a table cell."""
    shown = visible(text).replace("|", "¦").replace("\n", " ")
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    tick = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{tick}{pad}{shown}{pad}{tick}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: bool = False) -> str:
    rule = "--:" if right else "---"
    lines = [head, ["---", *[rule] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _blocks(conversation: Conversation) -> Iterator[str]:
    yield f"# {inline(conversation.title or 'Conversation')}"
    yield f"{inline(moment(conversation.created_at))} · {count(len(conversation.turns), 'turn')}"
    if remark := rehearsal(conversation):
        yield f"> **{inline(remark)}**"
    shown_system = ""
    for number, turn in enumerate(conversation.turns, 1):
        system = system_prompt(turn.record)
        yield from _turn(turn, number, system if system != shown_system else "")
        shown_system = system
    total = combined_metrics(run_metrics(turn.record) for turn in conversation.turns)
    yield "## The whole conversation"
    yield _numbers(total)
    yield _shares(total)
    yield (
        "Classes: " + "; ".join(f"**{style.label}**: {style.meaning}" for style in KIND_STYLES.values()) + "."
    )
    yield from _conditions([turn.record for turn in conversation.turns])


def _turn(turn: Turn, number: int, system: str) -> Iterator[str]:
    record = turn.record
    yield f"## Turn {number}"
    if system:
        yield "**System prompt**"
        yield fenced(system)
    yield "**You**"
    yield fenced(turn.prompt)
    yield f"**Reply** ({inline(ending(record))})"
    yield fenced(record.text)
    for notice in record.notices:
        yield f"> {inline(notice.message)}"
    if record.started is None:
        return
    metrics = run_metrics(record)
    yield _numbers(metrics)
    yield _shares(metrics)
    if limit := traffic(record):
        yield f"Memory traffic: {limit}."
    if not record.lossless:
        yield "**Lossy**: an acceptor kept tokens that the target alone might not have written."
    changes = [f"{inline(change.label)} at step {change.step}" for change in record.window_changes()]
    if changes:
        yield "Window: " + "; ".join(changes) + "."
    yield _decisions(record)
    yield _rejected(record)
    yield (
        "Settings: " + "; ".join(f"{name} {inline(value)}" for name, value in settings(record.started)) + "."
    )


def _numbers(metrics: Metrics) -> str:
    numbers = " · ".join(f"{name} **{value}**" for name, value, _ in metric_rows(metrics))
    words = provenance(metrics)
    return f"*{inline(words)}* · {numbers}" if words else numbers


def _shares(metrics: Metrics) -> str:
    if not metrics.tokens:
        return ""
    rows = [
        [KIND_STYLES[kind].label, f"{number:,}", percent(metrics.share(kind))]
        for kind, number in metrics.counts
    ]
    return _table(["class", "tokens", "share"], rows, right=True)


def _decisions(record: RunRecord) -> str:
    """Where a policy chose the windows by itself: its reasons, and how often each was given."""
    reasons = Counter(
        (step.choice.policy, step.choice.reason)
        for step in record.steps
        if step.choice is not None and chooses_by_itself(step.choice.policy)
    )
    if not reasons:
        return ""
    lines = [
        f"- {inline(policy)}: {inline(reason)} ({count(number, 'step')})"
        for (policy, reason), number in reasons.most_common(REASONS_SHOWN)
    ]
    left = len(reasons) - len(lines)
    if left:
        lines.append(f"- {count(left, 'reason')} more")
    return "Reasons of the window policy:\n\n" + "\n".join(lines)


def _rejected(record: RunRecord) -> str:
    """What the draft wanted where the target said no: the first few, and how many there are."""
    replaced = [view for view in record.tokens() if view.rejected is not None]
    drafts = [draft for step in record.steps for draft in step.drafted]
    untested = sum(draft.outcome is DraftOutcome.UNTESTED for draft in drafts)
    tested_out = sum(draft.outcome is DraftOutcome.REJECTED for draft in drafts)
    if not tested_out:
        return f"No draft was rejected ({count(untested, 'draft')} untested)." if drafts else ""
    rows = [
        [
            str(view.step),
            _cell(token_label(view.rejected.text)),
            inline(proposer(view.rejected.source)) or NOTHING,
            probability(view.rejected.draft_prob),
            probability(view.rejected.target_prob),
            _cell(token_label(view.token.text)),
        ]
        for view in replaced[:REJECTED_SHOWN]
        if view.rejected is not None
    ]
    head = f"{count(tested_out, 'draft')} rejected, {untested:,} untested"
    head += f"; the first {REJECTED_SHOWN}:" if len(replaced) > REJECTED_SHOWN else ":"
    table = _table(
        ["step", "the draft wanted", "proposed by", "draft prob.", "target prob.", "the target wrote"], rows
    )
    return f"{head}\n\n{table}"


def _conditions(records: Sequence[RunRecord]) -> Iterator[str]:
    environments = []
    for record in records:
        if record.started is not None and record.started.environment not in environments:
            environments.append(record.started.environment)
    for environment in environments:
        yield "## Run conditions"
        yield "\n".join(f"- {name}: {inline(value)}" for name, value in conditions(environment))
