"""A JSON export back into a conversation, or one of three clear refusals; never half of it.

`NotARecord`: not a file of ours. `NewerSchema`: ours, from a later version. `DamagedRecord`: ours, cut short or changed.
Nothing is changed on disk, and nothing under `derived` is believed.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import NoReturn

from chatapp.domain.codec import conversation_from_dict
from chatapp.domain.errors import DamagedRecord, NewerSchema, NotARecord
from chatapp.domain.record import Conversation
from chatapp.export.json_format import MAX_DOCUMENT_BYTES, SCHEMA, SCHEMA_VERSION

CHOOSE_ANOTHER = "Choose a JSON file that chatapp exported."


def open_record(path: Path) -> Conversation:
    """Raises `NotARecord`, `NewerSchema` or `DamagedRecord`."""
    return parse_document(_read(path), path.name)


def parse_document(data: bytes, name: str) -> Conversation:
    """`name` is what messages call the file. Raises `NotARecord`, `NewerSchema` or `DamagedRecord`."""
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise NotARecord(f"{name} is not a conversation saved by chatapp.", remedy=CHOOSE_ANOTHER)
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # ValueError covers JSON and UTF-8 alike
        if SCHEMA.encode() in data[:4096]:
            raise DamagedRecord(f"{name} is cut short or damaged: {_reason(error)}.") from error
        raise NotARecord(f"{name} is not a JSON file: {_reason(error)}.", remedy=CHOOSE_ANOTHER) from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise NotARecord(f"{name} is JSON, but no conversation saved by chatapp.", remedy=CHOOSE_ANOTHER)
    version = value.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DamagedRecord(f"{name} does not say which schema version it uses.", "schema_version")
    if version > SCHEMA_VERSION:
        raise NewerSchema(version, SCHEMA_VERSION)
    return conversation_from_dict(value)


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise NotARecord(f"{path.name} is a folder.", remedy=CHOOSE_ANOTHER)
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise NotARecord(f"{path.name} is not a regular file.", remedy=CHOOSE_ANOTHER)
        if status.st_size > MAX_DOCUMENT_BYTES:
            raise NotARecord(
                f"{path.name} is {status.st_size / 2**20:,.0f} MiB, more than any export "
                f"({MAX_DOCUMENT_BYTES >> 20} MiB at most).",
                remedy=CHOOSE_ANOTHER,
            )
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotARecord(f"{path.name} cannot be read: {reason}.", remedy=CHOOSE_ANOTHER) from error


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)
