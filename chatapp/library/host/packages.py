"""System packages by the distribution's own tool: dpkg on Ubuntu, rpm on Amazon Linux. Must not know what they are for."""

from __future__ import annotations

from collections.abc import Iterable

from chatapp.library.host.machine import Host

DPKG_FORMAT = "${Package}\t${Version}\t${db:Status-Status}\n"
RPM_FORMAT = "%{NAME}\t%{VERSION}\tinstalled\n"


def system_packages(host: Host, names: Iterable[str]) -> dict[str, str] | None:
    """Versions of those of `names` that are installed; None when no tool could say. Both tools exit with an error when one of
    the names is unknown, and still list the others."""
    wanted = list(names)
    for command in (("dpkg-query", "-W", "-f", DPKG_FORMAT), ("rpm", "-q", "--qf", RPM_FORMAT)):
        ran = host.commands.run(*command, *wanted)
        if not ran.trouble:
            return dict(_installed(ran.output, wanted))
    return None


def _installed(output: str, wanted: list[str]) -> Iterable[tuple[str, str]]:
    for line in output.splitlines():
        name, _, rest = line.partition("\t")
        version, _, state = rest.partition("\t")
        if name in wanted and version and state.strip() == "installed":
            yield name, version
