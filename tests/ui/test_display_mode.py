"""What gives a remote desktop away, from made-up environments, process trees and X servers."""

from __future__ import annotations

import ctypes.util
import os
from pathlib import Path

import pytest

from chatapp.ui.display_facts import ancestors, screen_facts, x_server
from chatapp.ui.display_mode import (
    LOCAL,
    REMOTE,
    DisplayChoice,
    Finding,
    ScreenFacts,
    decide,
    explain,
    find,
)
from tests.helpers.x_server import fake_x_server

XORG = "The X.Org Foundation"
SSH = {"SSH_CONNECTION": "10.0.0.9 51234 10.0.0.1 22", "SSH_TTY": "/dev/pts/3"}

REMOTE_SCREENS = {
    "dcv-vendor": (ScreenFacts("xcb", {"DISPLAY": ":1"}, (), "NICE s.r.l."), "Amazon DCV", "NICE s.r.l."),
    "dcv-vendor-2": (ScreenFacts("xcb", {"DISPLAY": ":1"}, (), "Xdcv"), "Amazon DCV", "Xdcv"),
    "dcv-environment": (
        ScreenFacts("xcb", {"DISPLAY": ":1", "DCV_SESSION_ID": "desk"}, (), XORG),
        "Amazon DCV",
        "DCV_SESSION_ID",
    ),
    "dcv-process": (
        ScreenFacts("xcb", {"DISPLAY": ":0"}, ("bash", "gnome-session-b", "dcvagent"), XORG),
        "Amazon DCV",
        "dcvagent",
    ),
    "ssh-x11": (
        ScreenFacts("xcb", {"DISPLAY": "localhost:10.0", **SSH}, ("bash", "sshd"), XORG),
        "X11 over the network",
        "SSH_CONNECTION",
    ),
    "ssh-x11-in-tmux": (
        ScreenFacts("xcb", {"DISPLAY": "localhost:10.0"}, ("tmux: server",), XORG),
        "X11 over the network",
        "localhost:10.0",
    ),
    "x11-of-another-host": (
        ScreenFacts("xcb", {"DISPLAY": "desk.example:0"}, (), XORG),
        "X11 over the network",
        "desk",
    ),
    "ipv6-display": (
        ScreenFacts("xcb", {"DISPLAY": "::1:10.0"}, (), XORG),
        "X11 over the network",
        "::1:10.0",
    ),
    "vnc-vendor": (ScreenFacts("xcb", {"DISPLAY": ":2"}, (), "AT&T Laboratories - Xvnc"), "VNC", "Xvnc"),
    "tigervnc-extension": (
        ScreenFacts("xcb", {"DISPLAY": ":2"}, (), XORG, frozenset({"TIGERVNC"})),
        "VNC",
        "TIGERVNC",
    ),
    "vnc-environment": (ScreenFacts("xcb", {"VNCDESKTOP": "host:2 (ada)"}, (), XORG), "VNC", "VNCDESKTOP"),
    "vnc-process": (ScreenFacts("xcb", {"DISPLAY": ":2"}, ("vncsession",), XORG), "VNC", "vncsession"),
    "qt-vnc": (ScreenFacts("vnc"), "VNC", "Qt"),
    "xrdp": (ScreenFacts("xcb", {"DISPLAY": ":10.0", "XRDP_SESSION": "1"}, (), XORG), "RDP", "XRDP_SESSION"),
    "xrdp-process": (ScreenFacts("xcb", {"DISPLAY": ":10"}, ("xrdp-sesman",), XORG), "RDP", "xrdp-sesman"),
    "chrome": (
        ScreenFacts("xcb", {"DISPLAY": ":20", "CHROME_REMOTE_DESKTOP_SESSION": "1"}, (), XORG),
        "Chrome Remote Desktop",
        "CHROME",
    ),
}
LOCAL_SCREENS = {
    "desk": ScreenFacts("xcb", {"DISPLAY": ":0"}, ("bash", "gnome-terminal-"), XORG),
    "unix-socket": ScreenFacts("xcb", {"DISPLAY": "unix:0"}, (), XORG),
    "socket-path": ScreenFacts("xcb", {"DISPLAY": "/private/tmp/launch/org.xquartz:0"}, (), XORG),
    "ssh-with-the-desk's-display": ScreenFacts("xcb", {"DISPLAY": ":0", **SSH}, ("bash", "sshd"), XORG),
    "wayland-beside-a-forwarded-display": ScreenFacts("wayland", {"DISPLAY": "localhost:10.0"}),
    "offscreen-in-a-dcv-session": ScreenFacts("offscreen", {"DCV_SESSION_ID": "desk"}),
    "nothing-known": ScreenFacts("xcb"),
}


@pytest.mark.parametrize("name", REMOTE_SCREENS)
def test_a_remote_screen_is_found_and_told_by_what(name: str) -> None:
    facts, kind, named = REMOTE_SCREENS[name]
    found = find(facts)
    assert found.remote
    assert found.why.startswith(f"{kind}: ")
    assert named in found.why


@pytest.mark.parametrize("name", LOCAL_SCREENS)
def test_a_local_screen_is_left_alone(name: str) -> None:
    assert not find(LOCAL_SCREENS[name]).remote


@pytest.mark.parametrize(
    ("choice", "remote", "mode", "words"),
    [
        (DisplayChoice.AUTO, True, REMOTE, "on (automatic; VNC: VNCDESKTOP is set)"),
        (DisplayChoice.AUTO, False, LOCAL, "off (automatic; "),
        (DisplayChoice.LOCAL, True, LOCAL, "off (chosen; found was a remote desktop)"),
        (DisplayChoice.REMOTE, False, REMOTE, "on (chosen; found was a local screen)"),
    ],
)
def test_a_choice_goes_before_what_was_found(
    choice: DisplayChoice, remote: bool, mode: object, words: str
) -> None:
    finding = Finding(remote, "VNC: VNCDESKTOP is set" if remote else "nothing found")
    assert decide(choice, finding) is mode
    assert words in explain(choice, finding)


def test_the_remote_clocks_are_slow() -> None:
    clocks = REMOTE.clocks
    assert 1000 / clocks.text_ms <= 12
    assert 1000 / clocks.plot_ms <= 4
    assert 1000 / clocks.numbers_ms <= 2
    assert 29 <= 1000 / LOCAL.clocks.text_ms <= 30


def test_ancestors_are_read_from_the_nearest_up(tmp_path: Path) -> None:
    tree = {40: ("python (x) y", 30), 30: ("bash", 20), 20: ("dcvagent", 1), 1: ("systemd", 0)}
    for pid, (name, parent) in tree.items():
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "comm").write_text(f"{name}\n", encoding="utf-8")
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} {pid} 0\n", encoding="utf-8")
    assert list(ancestors(tmp_path, 40)) == ["bash", "dcvagent"]
    assert list(ancestors(tmp_path / "nowhere", 40)) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")
def test_this_process_has_its_parent_above_it() -> None:
    parent = Path(f"/proc/{os.getppid()}/comm").read_text(encoding="utf-8").strip()
    assert next(ancestors()) == parent


needs_xcb = pytest.mark.skipif(ctypes.util.find_library("xcb") is None, reason="libxcb is not installed")


@needs_xcb
@pytest.mark.parametrize(
    ("vendor", "extensions", "remote"),
    [(XORG, frozenset(), False), ("Xdcv", frozenset(), True), (XORG, frozenset({"VNC-EXTENSION"}), True)],
)
def test_the_x_server_is_asked_who_it_is(
    monkeypatch: pytest.MonkeyPatch, vendor: str, extensions: frozenset[str], remote: bool
) -> None:
    with fake_x_server(vendor, extensions) as display:
        monkeypatch.setenv("DISPLAY", display)
        assert x_server() == (vendor, extensions)
    assert find(ScreenFacts("xcb", {"DISPLAY": ":1"}, (), vendor, extensions)).remote is remote


def test_a_server_that_cannot_be_asked_leaves_the_facts_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "no display")
    assert x_server() == ("", frozenset())
    assert screen_facts("wayland").vendor == ""
