"""System packages by the distribution's own tool: dpkg on Ubuntu, rpm on Amazon Linux. Must not know what they are for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def install_words(host: Host) -> str:
    """How a person installs a system package here."""
    rpm = host.commands.find("dnf") is not None and host.commands.find("apt-get") is None
    return "sudo dnf install" if rpm else "sudo apt-get install"


def library_packages(host: Host, libraries: Mapping[str, str]) -> str:
    """What to ask for to get the libraries, `{library: Debian's package}`: an RPM says itself which libraries it has."""
    if install_words(host) == "sudo dnf install":
        return " ".join(f"'{library}()(64bit)'" for library in libraries)
    return " ".join(libraries.values())


def _installed(output: str, wanted: list[str]) -> Iterable[tuple[str, str]]:
    for line in output.splitlines():
        name, _, rest = line.partition("\t")
        version, _, state = rest.partition("\t")
        if name in wanted and version and state.strip() == "installed":
            yield name, version
