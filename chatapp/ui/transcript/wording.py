"""What the transcript says in words: how a reply ended, its numbers, the facts of one token. Knows no widget."""

from __future__ import annotations

from chatapp.domain.events import EndReason, StepCommitted, WindowChoice
from chatapp.domain.metrics import run_metrics
from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import RunRecord, TokenView
from chatapp.domain.rehearsal import REHEARSAL
from chatapp.domain.request import chooses_by_itself
from chatapp.domain.tokens import DraftedToken
from chatapp.domain.wording import estimates, proposer, step_acceptor
from chatapp.ui.numbers import milliseconds
from chatapp.ui.text_hygiene import readable, visible

ESTIMATES_IN_A_LINE = 3
_CUT = {
    EndReason.CANCELLED: "stopped",
    EndReason.MAX_TOKENS: "max tokens reached",
    EndReason.CONTEXT_FULL: "context full",
}


def cut_label(record: RunRecord, *, live: bool = False) -> str:
    """Why the reply is not whole; empty for a whole one. `live`: events may still come."""
    if record.ended is None:
        return "" if live else "interrupted"
    if not record.partial:
        return ""
    if record.ended.reason is EndReason.FAILED:
        return f"failed: {record.ended.error or 'no reason given'}"
    return _CUT[record.ended.reason]


def progress_label(record: RunRecord) -> str:
    """What goes on before the first token."""
    if record.started is None:
        return "Waiting for the model"
    progress = record.progress
    if progress is None or not progress.total:
        return "Reading the prompt"
    return f"Reading the prompt · {progress.done:,} of {progress.total:,} tokens"


def reply_summary(record: RunRecord) -> list[str]:
    """The numbers below a finished reply, the most telling first; numbers that do not exist are left out."""
    metrics = run_metrics(record)
    parts = [REHEARSAL] if record.simulated else []
    parts.append(f"{metrics.tokens:,} token" + ("" if metrics.tokens == 1 else "s"))
    if metrics.tpot_s is not None:
        parts.append(f"TPOT {milliseconds(metrics.tpot_s)}")
    if metrics.ttft_s is not None:
        parts.append(f"TTFT {milliseconds(metrics.ttft_s)}")
    if metrics.acceptance_rate is not None:
        parts.append(f"{metrics.acceptance_rate:.0%} accepted".replace("%", " %"))
    if metrics.mean_acceptance_length is not None and metrics.drafted:
        parts.append(f"{metrics.mean_acceptance_length:.1f} tokens per step")
    if not record.lossless:
        parts.append("lossy")
    return parts


def percent(probability: float) -> str:
    """A probability for reading: more digits where it is small, never a rounded 0 or 100."""
    value = probability * 100
    if value >= 99.995:
        return "100 %" if probability >= 1.0 else "> 99.99 %"
    if 10 <= value < 99.95:
        return f"{value:.1f} %"
    if value >= 0.01:
        return f"{value:.2g} %" if value < 1 else f"{value:.2f} %"
    return "0 %" if value == 0 else "< 0.01 %"


def token_facts(record: RunRecord, view: TokenView) -> list[tuple[str, str]]:
    """Name and value of everything that is known of a token, for the card and for screen readers."""
    step = record.steps[view.step]
    token = view.token
    facts = [("Token", f"{visible(token.text)}"), ("Id", str(token.id))]
    if view.step == 0:
        facts.append(("Step", "prefill"))
    else:
        place = f"position {view.position + 1} of k {step.window}"
        facts.append(("Step", f"{view.step}, {place}"))
    facts.append(("Target", percent(token.target_prob)))
    if token.draft_prob is not None:
        facts.append(("Draft", percent(token.draft_prob)))
    if view.rejected is not None:
        facts += _rejected_facts(record, view)
    return facts + _decision_facts(step, view)


def proposed_by(step: StepCommitted, view: TokenView) -> str:
    """Who proposed what was tested at the token's place; empty where nothing was, or nobody knows."""
    return proposer(step.drafted[view.position].source) if view.position < len(step.drafted) else ""


def _decision_facts(step: StepCommitted, view: TokenView) -> list[tuple[str, str]]:
    """Who proposed, by which rule it was tested, and why the window was as long where a policy chose it."""
    facts = [
        ("Proposed by", proposed_by(step, view)),
        ("Acceptor", step_acceptor(step) if step.drafted else ""),
    ]
    if step.choice is not None and chooses_by_itself(step.choice.policy):
        facts.append(("Window", step.choice.reason))
        figures = step.choice.estimates
        for begin in range(0, len(figures), ESTIMATES_IN_A_LINE):
            part = WindowChoice(step.choice.policy, "", figures[begin : begin + ESTIMATES_IN_A_LINE])
            facts.append(("Estimates" if not begin else "", estimates(part)))
    return [(name, readable(value, limit=160)) for name, value in facts if value]


def draw_threshold(record: RunRecord, step: StepCommitted, draft: DraftedToken) -> float | None:
    """What the draw of a draft had to stay below, None where the acceptor's rule is not a test of this draft alone.

    Source: Chen et al. 2023: a draft is kept with probability min(1, target / draft).
    """
    started = record.started.acceptor if record.started is not None else ""
    by_rejection = (step.acceptor or started) == "rejection"
    if not by_rejection or draft.target_prob is None or draft.draft_prob <= 0:
        return None
    return min(draft.target_prob / draft.draft_prob, 1.0)


def _rejected_facts(record: RunRecord, view: TokenView) -> list[tuple[str, str]]:
    draft = view.rejected
    assert draft is not None
    facts = [("Draft wanted", visible(draft.text))]
    target = "" if draft.target_prob is None else f", target {percent(draft.target_prob)}"
    facts.append(("", f"draft {percent(draft.draft_prob)}{target}"))
    threshold = draw_threshold(record, record.steps[view.step], draft)
    if draft.draw is not None and threshold is not None:
        facts.append(("Draw", f"{draft.draw:.3f} ≥ {threshold:.3f}, target ÷ draft"))
    elif draft.draw is not None:
        facts.append(("Draw", f"{draft.draw:.3f}"))
    return facts


def spoken_token(record: RunRecord, view: TokenView) -> str:
    """One sentence for screen readers."""
    label = KIND_STYLES[view.kind].label
    facts = "; ".join(f"{name} {value}".strip() for name, value in token_facts(record, view)[1:])
    return f"{label} token {visible(view.token.text)}; {facts}"
