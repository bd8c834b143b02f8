"""The coloured text of one reply: a span per token with its card, marks where k changed, rejected drafts.

Colours and marks are classes named for the token's kind; `style.py` gives them their look. Text in the page is the
record's alone: nothing that a model writes can become markup.
"""

from __future__ import annotations

from collections.abc import Iterator

from chatapp.domain.events import StepCommitted
from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import RunRecord, TokenView, WindowChange
from chatapp.domain.tokens import DraftedToken, DraftOutcome, TokenKind
from chatapp.domain.wording import estimates, proposer, step_acceptor
from chatapp.export.html.markup import esc
from chatapp.export.numbers import count, milliseconds, probability
from chatapp.export.visible import token_label


def reply_text(record: RunRecord) -> str:
    """The visible reply as spans, in order; what stands behind the visible end is left out."""
    changes: dict[int, list[WindowChange]] = {}
    for change in record.window_changes():
        changes.setdefault(change.step, []).append(change)
    return "".join(_pieces(record, changes))


def _pieces(record: RunRecord, changes: dict[int, list[WindowChange]]) -> Iterator[str]:
    for view in record.tokens():
        for change in changes.pop(view.step, ()):
            yield (
                f'<span class="change" role="note" aria-label="{esc(change.label)} from here">'
                f"{esc(change.label)}</span>"
            )
        if view.start > record.visible_chars or (
            view.start == record.visible_chars and view.end > view.start
        ):
            return
        if view.rejected is not None:
            wanted = view.rejected.text.replace("\n", "↵")  # a break that never was must not move the text
            yield f'<s class="rejected" aria-hidden="true">{esc(wanted)}</s>'
        yield _token(record, view)


def _token(record: RunRecord, view: TokenView) -> str:
    text = record.text_between(view.start, min(view.end, record.visible_chars))
    classes = f"t {view.kind.value}" + ("" if text else " empty")
    return f'<span class="{classes}" tabindex="0">{esc(text)}{_card(record, view, text)}</span>'


def _card(record: RunRecord, view: TokenView, text: str) -> str:
    """Everything known of the token, on hover and on keyboard focus; spans only, since it stands inside a line."""
    step = record.steps[view.step]
    style = KIND_STYLES[view.kind]
    rows = [
        _row("id", f"{view.token.id}"),
        _row(
            "place",
            f"token {view.index + 1} · step {view.step} · {view.position + 1} of window {step.window}",
        ),
        _probability_row("target", view.token.target_prob),
    ]
    if view.token.draft_prob is not None:
        rows.append(_probability_row("draft", view.token.draft_prob))
    if view.rejected is not None:
        rows.append(_rejection(view.rejected))
    untested = sum(draft.outcome is DraftOutcome.UNTESTED for draft in step.drafted)
    took = f"{milliseconds((step.ended_ns - step.started_ns) / 1e9)} for {len(step.tokens)}"
    rows.append(_row("step", took + (f" · {count(untested, 'draft')} untested" if untested else "")))
    rows += [_row(name, value) for name, value in _decisions(step, view) if value]
    return (
        f'<span class="card" role="tooltip"><span class="head"><b class="piece">{esc(token_label(text))}</b>'
        f'<span class="kind">{esc(style.label)}</span></span>'
        f'<span class="meaning">{esc(style.meaning)}</span>{"".join(rows)}</span>'
    )


def _decisions(step: StepCommitted, view: TokenView) -> Iterator[tuple[str, str]]:
    """Who proposed the token, by which rule it was kept, and why the window was as long as it was."""
    if view.kind is TokenKind.ACCEPTED and view.position < len(step.drafted):
        yield "proposed by", proposer(step.drafted[view.position].source)
    if step.drafted:
        yield "acceptor", step_acceptor(step)
    if step.choice is not None:
        yield step.choice.policy or "window", step.choice.reason
        yield "estimates", estimates(step.choice)


def _row(name: str, value: str) -> str:
    return f'<span class="row"><span class="name">{esc(name)}</span><span>{esc(value)}</span></span>'


def _probability_row(name: str, value: float) -> str:
    wide = 100 * min(max(value, 0.0), 1.0) if value == value else 0.0  # NaN is not equal to itself
    bar = (
        '<svg class="meter" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rail" width="100" height="4"/><rect class="level" width="{wide:.1f}" height="4"/></svg>'
    )
    return (
        f'<span class="row"><span class="name">{esc(name)}</span>'
        f'<span class="prob">{bar}{esc(probability(value))}</span></span>'
    )


def _rejection(draft: DraftedToken) -> str:
    who = proposer(draft.source) or "draft"
    facts = f"{who} {probability(draft.draft_prob)}, target {probability(draft.target_prob)}"
    if draft.draw is not None:
        facts += f", draw {probability(draft.draw)}"
    return (
        '<span class="row"><span class="name">instead of</span>'
        f'<span><b class="piece">{esc(token_label(draft.text))}</b> {esc(facts)}</span></span>'
    )
