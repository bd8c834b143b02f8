"""Whole or not at all: whatever fails, the old file stays and nothing is left lying about."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from chatapp.domain.errors import ExportFailed
from chatapp.export.files import write_text


def test_writes_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "Grüße\n🌊\n")
    assert path.read_bytes() == "Grüße\n🌊\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_lone_surrogates_do_not_stop_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a\ud800b")
    assert (tmp_path / "a.txt").read_text("utf-8") == "a\ufffdb"


def test_replaces_and_keeps_the_old_file_s_rights(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o640)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_a_failure_at_any_moment_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr({"fsync": os, "replace": Path}[call], call, fail)
    with pytest.raises(ExportFailed) as caught:
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert os.strerror(code) in caught.value.what
    assert caught.value.kept
    assert caught.value.remedy
    if code == errno.ENOSPC:
        assert "space" in caught.value.remedy


def test_an_interrupt_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_destination(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="it is a folder"):
        write_text(tmp_path, "x")


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed) as caught:
        write_text(tmp_path / "none" / "a.txt", "x")
    assert caught.value.remedy == "Choose a folder that exists."


def test_a_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed) as caught:
        write_text(tmp_path / ("a" * 300), "x")
    assert caught.value.remedy == "Choose a shorter name."
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="could not be written"):
        write_text(tmp_path / "a\x00b", "x")


def test_a_device_or_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ExportFailed, match="not a regular file"):
        write_text(pipe, "x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_write_protected_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # rights themselves do not bind root
    with pytest.raises(ExportFailed, match="Permission denied"):
        write_text(path, "new")
    assert path.read_text() == "old"
