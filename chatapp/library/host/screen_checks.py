"""What a window needs: a display, Qt's system libraries, fonts; and on a remote desktop, a session that can work.

Sources: Amazon DCV administrator guide ("Viewing sessions", "Managing sessions"), AWS ParallelCluster's DCV recipes
(`nice-dcv-gl` on a machine without a GPU gives a black screen; Wayland off on Ubuntu 22.04 and later), Qt's Linux requirements.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.library.host.commands import NOT_INSTALLED
from chatapp.library.host.findings import Finding, Lines, Section, counted
from chatapp.library.host.machine import Host
from chatapp.library.host.packages import install_words, library_packages, system_packages

LINES = Lines(Section.SCREEN)
HEADLESS = ("offscreen", "minimal", "vnc", "linuxfb")
GDM = ("/etc/gdm3/custom.conf", "/etc/gdm/custom.conf")
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts")
VNC_SERVERS = ("Xvnc", "Xtigervnc", "x11vnc", "Xtightvnc", "x0vncserver")
QT_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
"""Libraries that Qt's xcb platform loads, and Debian's names of their packages; `packaging/setup.sh` has the same list."""
XCB_CURSOR = "libxcb-cursor.so.0"
DCV_PACKAGES = ("nice-dcv-server", "nice-xdcv", "nice-dcv-gl")
DCV_WORDS = ("id", "owner", "type", "x11-display", "x11-authority")
HOST_SETUP = "`sudo bash packaging/neuron/setup-host` sets it up."


@dataclass(frozen=True, slots=True)
class DcvSession:
    """One session: `kind` is `virtual` or `console`, `display` the X display it shows; empty where unsaid."""

    id: str
    owner: str
    kind: str
    display: str
    authority: str
    connections: int


def screen_findings(host: Host, *, neuron: bool) -> Iterator[Finding]:
    """Display, remote desktop, Qt."""
    sessions, dcv = _dcv(host, neuron=neuron)
    yield _display(host, sessions)
    yield from _remote(host)
    yield from dcv
    yield from _qt(host)


def _display(host: Host, sessions: list[DcvSession]) -> Finding:
    environ = host.environ
    platform = environ.get("QT_QPA_PLATFORM", "")
    if platform.partition(":")[0] in HEADLESS:
        return LINES.warn(
            "display",
            f"QT_QPA_PLATFORM={platform} shows no window on this screen",
            "`unset QT_QPA_PLATFORM`.",
        )
    wayland, x11 = environ.get("WAYLAND_DISPLAY"), environ.get("DISPLAY")
    if wayland:
        return LINES.good("display", f"Wayland, {wayland}" + (f" (and X11, {x11})" if x11 else ""))
    if x11:
        return LINES.good("display", f"X11, {x11}" + (f", Qt platform {platform}" if platform else ""))
    mend = "Start chatapp from a desktop session."
    usable = next((one for one in sessions if one.display), None)
    if usable is not None:
        authority = f" XAUTHORITY={usable.authority}" if usable.authority else ""
        mend = f"Start it on the desktop of the DCV session, or here with `DISPLAY={usable.display}{authority} chatapp`."
    return LINES.warn("display", "none in this shell: the window cannot open from here", mend)


def _remote(host: Host) -> Iterator[Finding]:
    display = host.environ.get("DISPLAY", "")
    number = display.partition(":")[2].partition(".")[0]
    if host.environ.get("SSH_CONNECTION") and display and number.isdecimal() and int(number) >= 10:
        yield LINES.warn(
            "ssh",
            f"{display} is forwarded through SSH: every repaint crosses the network as X11 requests",
            "Use Amazon DCV or VNC.",
        )
    elif host.environ.get("SSH_CONNECTION"):
        yield LINES.good("ssh", "this shell came through SSH")
    servers = sorted(set(_processes(host)) & set(VNC_SERVERS))
    if servers or host.environ.get("VNCDESKTOP"):
        yield LINES.good("vnc", f"a VNC server runs ({', '.join(servers) or host.environ['VNCDESKTOP']})")


def _processes(host: Host) -> Iterator[str]:
    for folder in host.path("/proc").glob("[0-9]*"):
        name = host.text(folder / "comm")
        if name:
            yield name


def _dcv(host: Host, *, neuron: bool) -> tuple[list[DcvSession], list[Finding]]:
    """The sessions, and the lines about Amazon DCV: none where it is not installed and nobody needs it."""
    installed = system_packages(host, DCV_PACKAGES) or {}
    if host.commands.find("dcv") is None and not installed:
        missing = LINES.warn("dcv", "Amazon DCV is not installed: no remote desktop", HOST_SETUP)
        return [], [missing] if neuron else []
    sessions, line = _dcv_sessions(host)
    return sessions, [line, *_dcv_packages(host, installed), *_wayland(host)]


def _dcv_sessions(host: Host) -> tuple[list[DcvSession], Finding]:
    ran = host.commands.run("dcv", "list-sessions", "-j")
    if not ran.good:
        mend = (
            HOST_SETUP
            if ran.trouble == NOT_INSTALLED
            else "`sudo systemctl status dcvserver` says whether it runs."
        )
        return [], LINES.warn("dcv", f"dcv list-sessions: {ran.why}", mend)
    try:
        listed = json.loads(ran.output)
        sessions = [_session(host, row) for row in listed if isinstance(row, dict) and row.get("id")]
    except (ValueError, TypeError, RecursionError):
        return [], LINES.warn("dcv", "dcv list-sessions prints no JSON", "Update nice-dcv-server.")
    if not sessions:
        return [], LINES.warn(
            "dcv",
            "no session of yours runs (root sees everybody's)",
            "`dcv create-session --type=virtual chatapp`, as the user who will connect.",
        )
    return sessions, LINES.good("dcv", "; ".join(_told(one, host) for one in sessions))


def _session(host: Host, row: Mapping[str, Any]) -> DcvSession:
    """A row of the list; what it leaves out is asked for."""
    facts: dict[str, Any] = dict(row)
    if not facts.get("type") or not facts.get("x11-display"):
        ran = host.commands.run("dcv", "describe-session", str(row["id"]), "--json")
        try:
            more = json.loads(ran.output) if ran.good else {}
        except (ValueError, RecursionError):
            more = {}
        if isinstance(more, dict):
            facts = {**more, **{name: value for name, value in facts.items() if value}}
    connections = facts.get("num-of-connections")
    id, owner, kind, display, authority = (str(facts.get(name) or "") for name in DCV_WORDS)
    return DcvSession(id, owner, kind, display, authority, connections if isinstance(connections, int) else 0)


def _told(session: DcvSession, host: Host) -> str:
    here = ", this display" if session.display and session.display == host.environ.get("DISPLAY") else ""
    shown = f" on {session.display}{here}" if session.display else ""
    kind = session.kind or "of unknown kind"
    return (
        f"session {session.id} ({kind}, {session.owner}){shown}, {counted(session.connections, 'connection')}"
    )


def _dcv_packages(host: Host, installed: Mapping[str, str]) -> Iterator[Finding]:
    gpu = any(host.path("/dev").glob("nvidia[0-9]*"))
    if "nice-dcv-gl" in installed and not gpu:
        yield LINES.bad(
            "dcv-gl",
            f"nice-dcv-gl {installed['nice-dcv-gl']} is installed, and there is no GPU: sessions show a black screen",
            "`sudo apt-get remove nice-dcv-gl` (or dnf), then create the session anew.",
        )
    if "nice-xdcv" in installed:
        yield LINES.good("xdcv", f"nice-xdcv {installed['nice-xdcv']}: virtual sessions can be made")
    else:
        yield LINES.warn("xdcv", "nice-xdcv is not installed: no virtual sessions", "Install nice-xdcv.")


def _wayland(host: Host) -> Iterator[Finding]:
    for place in GDM:
        text = host.text(place)
        if text is None:
            continue
        settings = [line.strip().replace(" ", "").lower() for line in text.splitlines()]
        if "waylandenable=false" in settings:
            yield LINES.good("wayland", f"off in {place}")
        else:
            yield LINES.warn(
                "wayland",
                f"not switched off in {place}: DCV's console sessions need X11",
                f"Put WaylandEnable=false below [daemon] in {place}, then restart gdm.",
            )
        return


def _qt(host: Host) -> Iterator[Finding]:
    ran = host.commands.run("ldconfig", "-p")
    if ran.good:
        known = {line.split()[0] for line in ran.output.splitlines() if "=>" in line}
        missing = [library for library in QT_LIBRARIES if library not in known]
        yield _qt_libraries(host, missing)
    else:
        yield LINES.warn("qt-libraries", f"ldconfig -p: {ran.why}", "Qt says at the start what it lacks.")
    yield _fonts(host)


def _qt_libraries(host: Host, missing: list[str]) -> Finding:
    if not missing:
        return LINES.good(
            "qt-libraries", f"all {len(QT_LIBRARIES)} are there, {QT_LIBRARIES[XCB_CURSOR]} too"
        )
    first = " Qt then says: could not load the Qt platform plugin xcb." if XCB_CURSOR in missing else ""
    packages = library_packages(host, {library: QT_LIBRARIES[library] for library in missing})
    found = f"missing: {', '.join(missing)}.{first}"
    return LINES.bad("qt-libraries", found, f"`{install_words(host)} {packages}`.")


def _fonts(host: Host) -> Finding:
    home = host.environ.get("HOME")
    own = [Path(home, ".fonts"), Path(home, ".local/share/fonts")] if home else []
    for folder in (*map(host.path, FONTS), *own):
        for kind in ("ttf", "otf", "ttc"):
            if next(folder.rglob(f"*.{kind}"), None) is not None:
                return LINES.good("fonts", f"in {folder}")
    return LINES.bad("fonts", "none: text shows as empty boxes", "`sudo apt-get install fonts-dejavu-core`.")
