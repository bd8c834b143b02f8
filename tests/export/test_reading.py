"""Files that are not ours, damaged or from the future: each a clear refusal, and nothing half-opened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chatapp.domain.errors import DamagedRecord, NewerSchema, NotARecord, RecordError
from chatapp.export.json_format import MAX_DOCUMENT_BYTES, JsonExporter, document
from chatapp.export.reading import open_record, parse_document
from tests.helpers.records import demo_conversation

GOOD = JsonExporter().render(demo_conversation()).encode()


def changed(**fields: Any) -> bytes:
    return json.dumps({**document(demo_conversation()), **fields}).encode()


def test_a_good_file_opens(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_bytes(GOOD)
    assert open_record(path) == demo_conversation()


def test_a_good_file_with_a_byte_order_mark_or_other_layout_opens() -> None:
    assert parse_document(b"\xef\xbb\xbf" + GOOD, "a.json") == demo_conversation()
    sorted_keys = json.dumps(json.loads(GOOD), sort_keys=True).encode()
    assert parse_document(sorted_keys, "a.json") == demo_conversation()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"Dear diary,",
        b"<html></html>",
        b"[1, 2]",
        b"3",
        b"\x00" * 64,
        b"\xff\xfe{\x00",
        b"{} trailing",
        b'{"a": ',
        b"{}",
        b'{"schema": "something-else", "schema_version": 1}',
        b'{"messages": []}',
        b'{"schema": null}',
        b"{" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_ours(data: bytes) -> None:
    with pytest.raises(NotARecord) as caught:
        parse_document(data, "strange.json")
    assert "strange.json" in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("version", [2, 3, 10**6])
def test_a_newer_schema(version: int) -> None:
    with pytest.raises(NewerSchema) as caught:
        parse_document(changed(schema_version=version), "newer.json")
    assert (caught.value.found, caught.value.known) == (version, 1)


@pytest.mark.parametrize("version", [None, "1", 0, -1, True, 1.0, []])
def test_no_schema_version(version: object) -> None:
    with pytest.raises(DamagedRecord) as caught:
        parse_document(changed(schema_version=version), "odd.json")
    assert caught.value.path == "schema_version"


def test_cut_short_at_any_place() -> None:
    end = len(GOOD.rstrip())
    for length in [60, 100, 1000, *range(end // 8, end, end // 8), end - 1]:
        with pytest.raises(DamagedRecord, match="cut short") as caught:
            parse_document(GOOD[:length], "cut.json")
        assert "at at" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"temperature": 0.7', b'"temperature": NaN'),
        (b'"temperature": 0.7', b'"temperature": -Infinity'),
        (b'"temperature": 0.7', b'"temperature": 1' + b"0" * 5000),
        (b'"temperature": 0.7', b'"temperature": "warm"'),
        (b"lighthouse", b"light\xffhouse"),
        (b"lighthouse", b"light\\ud800house"),
        (b'"index": 0', b'"index": 7'),
        (b'"turns"', b'"twists"'),
        (b'"prompt"', b'"prompt":' + b"[" * 100_000 + b',"x"'),
    ],
)
def test_ours_and_damaged(old: bytes, new: bytes) -> None:
    assert old in GOOD
    with pytest.raises(DamagedRecord):
        parse_document(GOOD.replace(old, new, 1), "damaged.json")


def test_the_place_of_the_damage_is_told() -> None:
    value = document(demo_conversation())
    value["turns"][1]["run"]["steps"][3]["tokens"][0]["id"] = "seven"
    with pytest.raises(DamagedRecord) as caught:
        parse_document(json.dumps(value).encode(), "damaged.json")
    assert caught.value.path == "turns[1].run.steps[3].tokens[0].id"
    assert caught.value.path in caught.value.what


def test_half_a_gigabyte_of_junk_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:  # sparse: no disk is filled
        file.truncate(500 * 2**20)
    with pytest.raises(NotARecord, match="500 MiB"):
        open_record(path)


def test_the_size_limit_is_the_writer_s() -> None:
    assert len(GOOD) < MAX_DOCUMENT_BYTES


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotARecord, match="is a folder"):
        open_record(tmp_path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(NotARecord, match="No such file"):
        open_record(tmp_path / "none.json")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(NotARecord, match="cannot be read"):
        open_record(Path("a\x00b.json"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(NotARecord, match="not a regular file"):
        open_record(tmp_path / "pipe.json")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.json"
    path.write_bytes(GOOD)

    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(
        Path, "open", refuse
    )  # rights themselves do not bind root, who runs tests in containers
    with pytest.raises(NotARecord, match="Permission denied"):
        open_record(path)


def test_every_byte_changed_is_refused_or_opens_whole() -> None:
    """Damage of single bytes never escapes as another error, nor gives half a conversation."""
    turns = len(demo_conversation().turns)
    opened = 0
    for place in range(0, len(GOOD), 41):
        data = GOOD[:place] + bytes([GOOD[place] ^ 0x15]) + GOOD[place + 1 :]
        try:
            result = parse_document(data, "flipped.json")
        except RecordError:
            continue
        opened += 1
        assert len(result.turns) == turns
    assert opened > 0
