"""Small Markdown tables from rows that the request gives."""

from __future__ import annotations

import random
from collections.abc import Callable

from pair_maker.kinds.compose import Exchange, conversation, request
from pair_maker.kinds.words import ANIMALS, CITIES, COLORS, FOODS, FRUITS, OBJECTS, name
from pair_maker.sample import Sample

KIND = "table"
WEIGHT = 0.06

_FRAMES = (
    "Make a table of {columns}: {rows}.",
    "Write a table with the columns {columns}: {rows}.",
    "Show this as a table of {columns}: {rows}.",
    "Create a Markdown table of {columns}: {rows}.",
    "I need a table of {columns}: {rows}.",
    "Put this in a table with {columns}: {rows}.",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_Cell = Callable[[random.Random], str]


def _one_of(words: tuple[str, ...]) -> _Cell:
    return lambda rng: rng.choice(words)


def _number(low: int, high: int) -> _Cell:
    return lambda rng: str(rng.randint(low, high))


# Column name and how a cell is drawn; the first column of a table holds each value once.
_TABLES: tuple[tuple[tuple[str, _Cell], ...], ...] = (
    (("fruit", _one_of(FRUITS)), ("price", _number(1, 20))),
    (("food", _one_of(FOODS)), ("price", _number(1, 30))),
    (("fruit", _one_of(FRUITS)), ("color", _one_of(COLORS))),
    (("animal", _one_of(ANIMALS)), ("age", _number(1, 15))),
    (("animal", _one_of(ANIMALS)), ("color", _one_of(COLORS))),
    (("name", name), ("age", _number(5, 90))),
    (("name", name), ("city", _one_of(CITIES))),
    (("name", name), ("points", _number(1, 60))),
    (("day", _one_of(_DAYS)), ("hours", _number(1, 12))),
    (("day", _one_of(_DAYS)), ("food", _one_of(FOODS))),
    (("thing", _one_of(OBJECTS)), ("number", _number(1, 40))),
    (("name", name), ("age", _number(5, 90)), ("city", _one_of(CITIES))),
    (("fruit", _one_of(FRUITS)), ("color", _one_of(COLORS)), ("price", _number(1, 20))),
    (("thing", _one_of(OBJECTS)), ("color", _one_of(COLORS)), ("number", _number(1, 40))),
)


def sample(rng: random.Random, held_out: bool) -> Sample:
    """A conversation that ends with a table; held out by request."""
    return conversation(KIND, rng, held_out, exchange, _one_more_row)


def is_right(sample: Sample, reply: str) -> bool:
    """Whether every given row stands in the reply as a table row, in the order of the columns."""
    rows = {
        tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        for line in reply.splitlines()
        if line.strip().startswith("|")
    }
    wanted = sample.check["rows"]
    return isinstance(wanted, list) and all(tuple(row) in rows for row in wanted)


def exchange(rng: random.Random) -> Exchange:
    """A request that names columns and rows, and the table."""
    table = rng.choice(_TABLES)
    rows = _rows(rng, table, rng.choice((2, 3, 3, 4, 4, 5)))
    columns = [column for column, _ in table]
    shown = " and ".join(columns) if len(columns) == 2 else ", ".join(columns[:-1]) + " and " + columns[-1]
    given = ", ".join(" ".join(row) for row in rows)
    prompt = rng.choice(_FRAMES).format(columns=shown, rows=given)
    if not prompt.startswith("I "):
        prompt = request(rng, prompt)
    return Exchange(prompt, _markdown(columns, rows), {"columns": columns, "rows": rows}, prompt)


def _rows(rng: random.Random, table: tuple[tuple[str, _Cell], ...], count: int) -> list[list[str]]:
    rows: dict[str, list[str]] = {}
    while len(rows) < count:
        row = [cell(rng) for _, cell in table]
        rows.setdefault(row[0], row)
    return list(rows.values())


def _markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_more_row(rng: random.Random, first: Exchange) -> Exchange:
    columns, rows = first.check["columns"], first.check["rows"]
    if not (isinstance(columns, list) and isinstance(rows, list)):
        raise TypeError("a table exchange carries its columns and rows")
    table = next(table for table in _TABLES if [column for column, _ in table] == columns)
    known = {row[0] for row in rows}
    row = _rows(rng, table, 1)[0]
    while row[0] in known:
        row = _rows(rng, table, 1)[0]
    given = " ".join(row)
    prompt = rng.choice(("Add a row: {}.", "Now add {}.", "Add {} to the table.")).format(given)
    grown = [*rows, row]
    return Exchange(prompt, _markdown(columns, grown), {"columns": columns, "rows": grown}, first.key)
