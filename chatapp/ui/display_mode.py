"""Whether the window is seen through a remote desktop, and what it does differently then. Values and rules only, no Qt.

A remote desktop encodes and sends every pixel that changes, on the processors that also draw and run the models' host
work. So the remote mode changes fewer pixels: slower clocks, nothing that moves by itself, nothing translucent, text that
moves by whole lines. This module must not look at the machine: `display_facts` does, and a test can make up any facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class DisplayChoice(str, Enum):
    """What a person picks; `AUTO` goes by what is found out about the screen."""

    AUTO = "auto"
    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class FrameClocks:
    """The least time between two updates of one kind, in ms. Every clock of the window reads its pace from here."""

    text_ms: int
    plot_ms: int
    numbers_ms: int

    @property
    def batch_s(self) -> float:
        """How often the engine's events are handed over, in s: more often than text is painted would only wake the window."""
        return self.text_ms / 1000


@dataclass(frozen=True, slots=True)
class DisplayMode:
    """What the window may do on a screen.

    `animated`: things may move by themselves. `translucent`: colours may be mixed with what lies below them. `whole_lines`:
    text moves by whole lines, and while a reply grows by several at once.
    """

    name: str
    clocks: FrameClocks
    animated: bool
    translucent: bool
    whole_lines: bool

    @property
    def remote(self) -> bool:
        return self is REMOTE


LOCAL = DisplayMode("local", FrameClocks(34, 125, 250), animated=True, translucent=True, whole_lines=False)
REMOTE = DisplayMode(
    "remote", FrameClocks(100, 1000, 500), animated=False, translucent=False, whole_lines=True
)


class DisplayedWidget:
    """Mixin of widgets that have a clock, an animation or a veil: `set_display` is called at every change of mode."""

    display: DisplayMode = LOCAL

    def set_display(self, display: DisplayMode) -> None:
        self.display = display


@dataclass(frozen=True, slots=True)
class ScreenFacts:
    """What can be found out about a screen.

    `platform` is Qt's name of it (`xcb`, `wayland`, …), `ancestors` are the names of the processes above this one, nearest
    first. `vendor` and `extensions` are the X server's own words, empty where there is none.
    """

    platform: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    ancestors: tuple[str, ...] = ()
    vendor: str = ""
    extensions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether the screen is remote, and the words that say how that is known."""

    remote: bool
    why: str


NO_SCREEN = ("offscreen", "minimal", "minimalegl")
VNC_EXTENSIONS = ("VNC-EXTENSION", "TIGERVNC")
"""TigerVNC calls its vendor "The X.Org Foundation" like a screen on the desk; GNOME knows it by these names as well."""
DCV_VARIABLES = ("DCV_VIRTUAL_SESSION", "DCV_SESSION_ID")
DCV_PREFIX = "dcv"
"""What the names of DCV's processes begin with: dcvserver, dcvagent and their kin."""
VNC_PROCESSES = ("xvnc", "xtigervnc", "vncserver", "vncsession", "x0vncserver", "tigervncserver")
RDP_PROCESSES = ("xrdp", "xrdp-sesman", "xrdp-sesexec")


def _dcv(facts: ScreenFacts) -> str:
    if "dcv" in facts.vendor.lower() or facts.vendor.lower().startswith("nice"):
        return f"the X server calls itself “{facts.vendor}”"
    return _variable(facts, DCV_VARIABLES) or _ancestor(facts, lambda name: name.startswith(DCV_PREFIX))


def _vnc(facts: ScreenFacts) -> str:
    if facts.platform == "vnc":
        return "Qt's VNC platform draws the window"
    if "vnc" in facts.vendor.lower():
        return f"the X server calls itself “{facts.vendor}”"
    for name in VNC_EXTENSIONS:
        if name in facts.extensions:
            return f"the X server has the extension {name}"
    return _variable(facts, ("VNCDESKTOP",)) or _ancestor(facts, VNC_PROCESSES.__contains__)


def _rdp(facts: ScreenFacts) -> str:
    return _variable(facts, ("XRDP_SESSION",)) or _ancestor(facts, RDP_PROCESSES.__contains__)


def _chrome(facts: ScreenFacts) -> str:
    return _variable(facts, ("CHROME_REMOTE_DESKTOP_SESSION",))


def _forwarded(facts: ScreenFacts) -> str:
    """X11 over a network: the display's name has a host before the colon. A unix socket has none, or a path."""
    display = facts.environment.get("DISPLAY", "")
    host = display.rpartition(":")[0]
    if facts.platform != "xcb" or host in ("", "unix") or host.startswith("/"):
        return ""
    through = _variable(facts, ("SSH_CONNECTION", "SSH_TTY"))
    return f"DISPLAY is {display}" + (f", and {through}" if through else "")


def _variable(facts: ScreenFacts, names: tuple[str, ...]) -> str:
    return next((f"{name} is set" for name in names if facts.environment.get(name)), "")


def _ancestor(facts: ScreenFacts, fits: Callable[[str], bool]) -> str:
    found = next((name for name in facts.ancestors if fits(name.lower())), "")
    return f"it was started below {found}" if found else ""


RULES: tuple[tuple[str, Callable[[ScreenFacts], str]], ...] = (
    ("Amazon DCV", _dcv),
    ("VNC", _vnc),
    ("RDP", _rdp),
    ("Chrome Remote Desktop", _chrome),
    ("X11 over the network", _forwarded),
)
"""What gives a kind of remote screen away; each rule gives words, or none where it does not apply. The first one counts."""


def find(facts: ScreenFacts) -> Finding:
    """Judge a screen. A platform that has none is local, whatever the environment says."""
    if facts.platform in NO_SCREEN:
        return Finding(False, f"Qt's platform {facts.platform} has no screen")
    for kind, rule in RULES:
        why = rule(facts)
        if why:
            return Finding(True, f"{kind}: {why}")
    return Finding(False, "nothing found that tells of a remote desktop")


def decide(choice: DisplayChoice, finding: Finding) -> DisplayMode:
    """The mode that a choice comes to on this screen."""
    if choice is DisplayChoice.AUTO:
        return REMOTE if finding.remote else LOCAL
    return REMOTE if choice is DisplayChoice.REMOTE else LOCAL


def explain(choice: DisplayChoice, finding: Finding) -> str:
    """One sentence on which mode is on and why."""
    state = "on" if decide(choice, finding).remote else "off"
    if choice is DisplayChoice.AUTO:
        return f"Remote display: {state} (automatic; {finding.why})."
    found = "a remote desktop" if finding.remote else "a local screen"
    return f"Remote display: {state} (chosen; found was {found})."
