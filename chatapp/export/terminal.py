"""A conversation for a terminal: coloured text with a row of marks below each line, and the numbers.

The marks are the underline styles of `domain.palette` in ASCII (`_` accepted, `~` correction, `-` bonus, `.` target), so
that colour is never the only channel. Control characters of models are spelled out: no text can steer the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from chatapp.domain.events import Environment
from chatapp.domain.metrics import Metrics, combined_metrics, run_metrics
from chatapp.domain.palette import KIND_STYLES, Theme, Underline
from chatapp.domain.record import Conversation, RunRecord
from chatapp.domain.tokens import TokenKind
from chatapp.export.numbers import metric_rows, percent
from chatapp.export.visible import visible
from chatapp.export.wording import (
    acceptor,
    conditions,
    ending,
    moment,
    provenance,
    rehearsal,
    traffic,
    window_policy,
)

_MARKS = {Underline.SOLID: "_", Underline.WAVY: "~", Underline.DOUBLE: "=", Underline.DOTTED: "."}
TAB = "    "


@dataclass(frozen=True, slots=True)
class TerminalLook:
    """`colour` False leaves the marks alone; `width` in columns."""

    colour: bool
    theme: Theme
    width: int

    def paint(self, text: str, kind: TokenKind) -> str:
        value = KIND_STYLES[kind].colour(self.theme)
        red, green, blue = (int(value[place : place + 2], 16) for place in (1, 3, 5))
        return f"\x1b[38;2;{red};{green};{blue}m{text}\x1b[0m" if self.colour else text

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text


@dataclass(frozen=True, slots=True)
class _Cell:
    """One character, the columns it takes, and the kind of its token (None for marks that are no token)."""

    char: str
    columns: int
    kind: TokenKind | None


def render(conversation: Conversation, look: TerminalLook) -> str:
    lines = [
        look.bold(_one_line(conversation.title)),
        _one_line(moment(conversation.created_at)),
        *([look.bold(remark)] if (remark := rehearsal(conversation)) else []),
        _legend(look),
        "",
    ]
    for number, turn in enumerate(conversation.turns, 1):
        lines += [look.bold("You"), visible(turn.prompt), "", look.bold(f"Reply {number}")]
        lines += _reply_lines(turn.record, look)
        lines += [f"[{_one_line(ending(turn.record))}]", *_number_lines(run_metrics(turn.record))]
        lines += [*_fact_lines(turn.record), ""]
    lines.append(look.bold("The whole conversation"))
    lines += _number_lines(combined_metrics(run_metrics(turn.record) for turn in conversation.turns))
    lines += _condition_lines(conversation)
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def _legend(look: TerminalLook) -> str:
    return "   ".join(
        look.paint(f"{_MARKS[style.underline] * 3} {style.label}", kind)
        for kind, style in KIND_STYLES.items()
    )


def _cells(record: RunRecord) -> Iterator[_Cell]:
    changes = {change.step: change.label for change in record.window_changes()}
    for view in record.tokens():
        if view.step in changes:
            yield from (_Cell(char, 1, None) for char in f" [{changes.pop(view.step)}] ")
        text = record.text_between(view.start, min(view.end, record.visible_chars))
        for char in visible(text).replace("\t", TAB):
            yield _Cell(char, _columns(char), view.kind)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _rows(record: RunRecord, width: int) -> Iterator[list[_Cell]]:
    """Lines of at most `width` columns, broken behind a space of the text where there is one."""
    row: list[_Cell] = []
    used = 0
    for cell in _cells(record):
        if cell.char == "\n":
            yield row
            row, used = [], 0
            continue
        if used + cell.columns > width and row:
            spaces = [place for place, earlier in enumerate(row) if earlier.char == " " and earlier.kind]
            cut = spaces[-1] + 1 if spaces else len(row)
            yield row[:cut]
            row = row[cut:]
            used = sum(earlier.columns for earlier in row)
        row.append(cell)
        used += cell.columns
    if row:
        yield row


def _reply_lines(record: RunRecord, look: TerminalLook) -> Iterator[str]:
    for row in _rows(record, look.width):
        yield _paint_row(row, look)
        marks = [
            _Cell(
                (_MARKS[KIND_STYLES[cell.kind].underline] if cell.kind else " ") * cell.columns, 0, cell.kind
            )
            for cell in row
        ]
        if marks:
            yield _paint_row(marks, look).rstrip(" ")


def _paint_row(row: list[_Cell], look: TerminalLook) -> str:
    """Neighbours of one kind share one escape sequence."""
    pieces: list[str] = []
    run, kind = "", None
    for cell in [*row, _Cell("", 0, None)]:
        if cell.kind is not kind or not cell.char:
            pieces.append(look.paint(run, kind) if kind and run else run)
            run, kind = "", cell.kind
        run += cell.char
    return "".join(pieces) + run


def _number_lines(metrics: Metrics) -> list[str]:
    if not metrics.tokens:
        return []
    numbers = " · ".join(f"{name} {value}" for name, value, _ in metric_rows(metrics))
    if words := provenance(metrics):
        numbers = f"[{words}] {numbers}"
    shares = " · ".join(
        f"{KIND_STYLES[kind].label} {percent(metrics.share(kind))}" for kind, _ in metrics.counts
    )
    return [numbers, shares]


def _fact_lines(record: RunRecord) -> list[str]:
    """What else the numbers depend on: the memory's limit, the parts in use."""
    if record.started is None:
        return []
    started, limit = record.started, traffic(record)
    parts = [
        f"Acceptor {acceptor(started.acceptor, lossless=started.lossless)}",
        f"Drafter {started.drafter or started.request.drafter}",
        f"Window policy {window_policy(started)}",
    ]
    lines = [_one_line(" · ".join(parts))]
    if started.lossless and not record.lossless:
        lines.append("Lossy from where the acceptor changed.")
    return [*lines, f"Memory traffic {limit}"] if limit else lines


def _condition_lines(conversation: Conversation) -> Iterator[str]:
    """Where the replies ran, each place once: those of a rehearsal ran elsewhere than measured ones."""
    shown: list[Environment] = []
    for number, turn in enumerate(conversation.turns, 1):
        started = turn.record.started
        if started is None or started.environment in shown:
            continue
        if shown:
            yield f"From reply {number} on:"
        shown.append(started.environment)
        yield from (f"{name}: {_one_line(value)}" for name, value in conditions(started.environment))
