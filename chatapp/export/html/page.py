"""The HTML export: one file that needs no network and runs no script.

Every text is escaped by `markup.esc`; the policy in the head lets in this page's own style sheet, named by its hash, and
nothing else. The order of the page: switches, numbers and legend, turns, run conditions.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

from chatapp.domain.events import Environment
from chatapp.domain.metrics import Metrics, combined_metrics, run_metrics
from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.domain.rehearsal import REHEARSAL_TITLE
from chatapp.export.html.markup import definition_list, esc
from chatapp.export.html.plot import tpot_plot
from chatapp.export.html.style import style_sheet
from chatapp.export.html.tokens import reply_text
from chatapp.export.numbers import count, metric_rows, percent
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


class HtmlExporter:
    name = "html"
    suffix = ".html"
    description = "HTML: one page to read and pass on, with colours and token details"

    def render(self, conversation: Conversation) -> str:
        return "".join(_page(conversation))


def _page(conversation: Conversation) -> Iterator[str]:
    style = style_sheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = conversation.title or "Conversation"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="generator" content="chatapp">\n'
        f"<title>{esc(_headed(title, conversation))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    yield _bar(title, rehearsed=bool(rehearsal(conversation)))
    yield "<main>\n"
    yield _overview(conversation, title)
    shown_system = ""
    for number, turn in enumerate(conversation.turns, 1):
        system = system_prompt(turn.record)
        yield _turn(turn, number, system if system != shown_system else "")
        shown_system = system
    yield _footer([turn.record for turn in conversation.turns])
    yield "</main>\n</body>\n</html>\n"


def _headed(title: str, conversation: Conversation) -> str:
    return f"{title} · {REHEARSAL_TITLE}" if rehearsal(conversation) else title


def _bar(title: str, *, rehearsed: bool) -> str:
    badge = f'<span class="rehearsal">{REHEARSAL_TITLE}</span>' if rehearsed else ""
    themes = "".join(
        f'<label><input type="radio" name="theme" id="theme-{key}"{" checked" if key == "auto" else ""}>'
        f"<span>{label}</span></label>"
        for key, label in (("auto", "Auto"), ("light", "Light"), ("dark", "Dark"))
    )
    return (
        f'<header class="bar"><div><span class="brand">{esc(title)}</span>{badge}'
        '<label class="switch"><input type="checkbox" id="show-colours" checked>Colours</label>'
        '<label class="switch"><input type="checkbox" id="show-rejected">Rejected drafts</label>'
        f'<fieldset aria-label="Theme">{themes}</fieldset></div></header>\n'
    )


def _overview(conversation: Conversation, title: str) -> str:
    total = combined_metrics(run_metrics(turn.record) for turn in conversation.turns)
    facts = [moment(conversation.created_at), count(len(conversation.turns), "turn")]
    for environment in _environments([turn.record for turn in conversation.turns])[:1]:
        draft = f" with {environment.draft.name}" if environment.draft else ""
        facts += [f"{environment.target.name}{draft}", environment.device]
    legend = "".join(
        f'<li><b><span class="t {kind.value}">{esc(style.label)}</span></b>{esc(style.meaning)}</li>'
        for kind, style in KIND_STYLES.items()
    )
    return (
        f'<h1 dir="auto">{esc(title)}</h1>\n<p class="sub">{" · ".join(esc(fact) for fact in facts)}</p>\n{_remark(rehearsal(conversation))}'
        f'<section class="panel" aria-label="The whole conversation">{_tiles(total)}'
        f'<ul class="legend" aria-label="Legend">{legend}</ul></section>\n'
    )


def _remark(words: str) -> str:
    return f'<p class="remark">{esc(words)}</p>\n' if words else ""


def _tiles(metrics: Metrics) -> str:
    words = provenance(metrics)
    badge = f'<p class="rehearsal">{esc(words)}</p>' if words else ""
    tiles = "".join(
        f'<div title="{esc(meaning)}"><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>'
        for name, value, meaning in metric_rows(metrics)
    )
    return f'{badge}<dl class="tiles">{tiles}</dl>'


def _turn(turn: Turn, number: int, system: str) -> str:
    record = turn.record
    states = []
    if record.ended is None or record.partial:
        states.append(ending(record))
    states += [notice.message for notice in record.notices]
    marks = "".join(f'<span class="state">{esc(state)}</span>' for state in states)
    parts = [
        f'<article class="turn" id="turn-{number}">\n',
        f'<div class="system" dir="auto"><b>System prompt</b>{esc(system)}</div>' if system else "",
        f'<section class="you"><h2 class="who">You</h2><div class="bubble" dir="auto">{esc(turn.prompt)}</div></section>\n',
        f'<section class="reply"><h2 class="who">Reply {number}</h2>',
        f'<a class="skip" href="#numbers-{number}">Skip the tokens of this reply</a>',
        f'<div class="text" dir="auto">{reply_text(record)}</div>{marks}\n',
        _numbers(record, number),
        "</section></article>\n",
    ]
    return "".join(parts)


def _numbers(record: RunRecord, number: int) -> str:
    if record.started is None:
        return ""
    metrics = run_metrics(record)
    limit = traffic(record)
    gauge = f'<p class="gauge">Memory traffic: {esc(limit)}</p>' if limit else ""
    return (
        f'<div class="panel" id="numbers-{number}" tabindex="-1" aria-label="Numbers of reply {number}">'
        f"{_tiles(metrics)}{_lossy(record)}{_shares(metrics)}{gauge}{tpot_plot(record, f'Reply {number}')}"
        f"<details><summary>Settings of this run</summary>{definition_list(settings(record.started))}</details></div>\n"
    )


def _lossy(record: RunRecord) -> str:
    if record.lossless:
        return ""
    return '<p class="lossy"><b>lossy</b> An acceptor kept tokens that the target alone might not have written.</p>'


def _shares(metrics: Metrics) -> str:
    if not metrics.tokens:
        return ""
    left = 0.0
    rects, keys = [], []
    for kind, number in metrics.counts:
        wide = 1000 * number / metrics.tokens
        if number:
            rects.append(
                f'<rect class="{kind.value}" x="{left:.2f}" width="{max(wide - 3, 1):.2f}" height="8"></rect>'
            )
        left += wide
        keys.append(
            f'<li><span class="t {kind.value}">{esc(KIND_STYLES[kind].label)}</span> '
            f"{percent(metrics.share(kind))} · {number:,}</li>"
        )
    return (
        '<svg class="shares" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">'
        f'{"".join(rects)}</svg><ul class="share-key" aria-label="Share of each class">{"".join(keys)}</ul>'
    )


def _environments(records: Sequence[RunRecord]) -> list[Environment]:
    """The environments of the runs, each once, in order."""
    found: list[Environment] = []
    for record in records:
        if record.started is not None and record.started.environment not in found:
            found.append(record.started.environment)
    return found


def _footer(records: Sequence[RunRecord]) -> str:
    environments = _environments(records)
    blocks = []
    for environment in environments:
        replies = [
            str(number)
            for number, record in enumerate(records, 1)
            if record.started is not None and record.started.environment == environment
        ]
        which = "" if len(environments) == 1 else f" of reply {', '.join(replies)}"
        blocks.append(
            f'<section class="panel"><h2>Run conditions{which}</h2>{definition_list(conditions(environment))}</section>'
        )
    note = (
        "Colours come from the run's record, never from the text. Times are stamped on the engine's thread. "
        "Hover a token, or move to it with Tab, to see its details."
    )
    return f'<footer>{"".join(blocks)}<p class="note">{note}</p></footer>\n'
