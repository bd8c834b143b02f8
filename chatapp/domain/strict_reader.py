"""Strict reading of values that came out of a JSON parser: every wrong type is refused with its place.

Knows nothing of runs or tokens; `codec.py` says what the fields mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from enum import Enum
from typing import TypeVar

from chatapp.domain.errors import DamagedRecord

NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""JSON has no such numbers; they travel as these strings (the convention of the Protocol Buffers JSON mapping)."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_INT = 2**63 - 1
_EnumT = TypeVar("_EnumT", bound=Enum)


def type_name(value: object) -> str:
    """The JSON word for a parsed value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true/false"
    names: dict[type, str] = {dict: "object", list: "list", str: "text", int: "number", float: "number"}
    return names.get(type(value), type(value).__name__)


class Reader:
    """One JSON object and its place in the document (`turns[2].run.steps[0]`).

    Keys that nobody asks for are ignored: they are additions of the same schema version. All methods raise
    `DamagedRecord` when the key is missing or its value has another type or lies outside its range.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise DamagedRecord(
                f"{path or 'The document'} must be an object; it is {type_name(value)}.", path
            )
        self._fields: dict[str, object] = value
        self.path = path

    def place(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _get(self, key: str) -> object:
        if key not in self._fields:
            raise DamagedRecord(f"{self.place(key)} is missing.", self.place(key))
        return self._fields[key]

    def _refuse(self, key: str, wanted: str, value: object) -> DamagedRecord:
        return DamagedRecord(
            f"{self.place(key)} must be {wanted}; it is {type_name(value)}.", self.place(key)
        )

    def has(self, key: str) -> bool:
        """Whether the key is there: additions of the same schema version are missing in documents written before them."""
        return key in self._fields

    def is_null(self, key: str) -> bool:
        """Whether the key is there and null; a missing key is refused."""
        return self._get(key) is None

    def text(self, key: str) -> str:
        return _text(self._get(key), self.place(key))

    def flag(self, key: str) -> bool:
        value = self._get(key)
        if not isinstance(value, bool):
            raise self._refuse(key, "true or false", value)
        return value

    def integer(self, key: str, minimum: int = 0) -> int:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._refuse(key, "a whole number", value)
        if not minimum <= value <= _MAX_INT:
            raise DamagedRecord(f"{self.place(key)} is out of range.", self.place(key))
        return value

    def number(self, key: str) -> float:
        value = self._get(key)
        if isinstance(value, str) and value in NON_FINITE:
            return NON_FINITE[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(key, "a number", value)
        try:
            return float(value)
        except OverflowError as error:
            raise DamagedRecord(f"{self.place(key)} is out of range.", self.place(key)) from error

    def optional_number(self, key: str) -> float | None:
        return None if self.is_null(key) else self.number(key)

    def choice(self, key: str, kind: type[_EnumT]) -> _EnumT:
        value = self.text(key)
        for member in kind:
            if member.value == value:
                return member
        known = ", ".join(str(member.value) for member in kind)
        raise DamagedRecord(f"{self.place(key)} must be one of {known}.", self.place(key))

    def child(self, key: str) -> Reader:
        return Reader(self._get(key), self.place(key))

    def _list(self, key: str) -> list[object]:
        value = self._get(key)
        if not isinstance(value, list):
            raise self._refuse(key, "a list", value)
        return value

    def children(self, key: str) -> Iterator[Reader]:
        place = self.place(key)
        for index, item in enumerate(self._list(key)):
            yield Reader(item, f"{place}[{index}]")

    def texts(self, key: str) -> tuple[str, ...]:
        place = self.place(key)
        return tuple(_text(item, f"{place}[{index}]") for index, item in enumerate(self._list(key)))


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise DamagedRecord(f"{place} must be text; it is {type_name(value)}.", place)
    if _SURROGATE.search(value):
        raise DamagedRecord(f"{place} holds half of a surrogate pair, which is no character.", place)
    return value


def json_number(value: float) -> float | str:
    """`value` as JSON can hold it; `Reader.number` reads it back."""
    if math.isfinite(value):
        return float(value)  # a 1 in a float's place comes back as 1.0, and must be written alike
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def clean_text(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, one for one, so that character offsets stay true."""
    return _SURROGATE.sub("\ufffd", text)
