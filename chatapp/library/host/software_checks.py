"""Neuron's software: system packages, the wheels in this Python, and whether they belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatapp.library.host.findings import Finding, Lines, Section
from chatapp.library.host.machine import Host, release
from chatapp.library.host.packages import install_words, system_packages
from chatapp.library.host.working_set import (
    COLLECTIVES,
    IMAGE_VENV,
    INDEX,
    LAST_SDK,
    LIBRARY,
    LIBRARY_PYTHONS,
    LIBRARY_SDK,
    RUNTIME,
    SMALLEST_REAL,
    SUCCESSOR,
    SUCCESSOR_LAST,
    SUCCESSOR_PYTHONS,
    SUCCESSOR_SDK,
    SUCCESSOR_TORCH,
    SUCCESSOR_TRANSFORMERS,
    SUCCESSOR_WHEELS,
    TOOLS,
    TORCH_NEURONX,
    TORCH_NEURONX_BUILD,
    TORCH_NEURONX_TORCH,
    TRANSFORMERS_BREAKS,
    TRANSFORMERS_LIMIT,
    WHEELS,
    dotted,
    system_set,
)

LINES = Lines(Section.SOFTWARE)
NEURON_WHEELS = (LIBRARY, SUCCESSOR, TORCH_NEURONX, *WHEELS)
CONSTRAINED = f"pip install --extra-index-url={INDEX} -c packaging/neuron/constraints.txt '.[neuron]'"
SUCCESSOR_CONSTRAINED = (
    f"pip install --extra-index-url={INDEX} -c packaging/neuron/constraints-nxdi.txt '.[neuron-nxdi]'"
)
SYSTEM_USES = {
    RUNTIME: "nothing runs without it",
    COLLECTIVES: "needed as soon as a model is spread over more than one core",
    TOOLS: "neuron-ls and neuron-monitor",
}

Versions = Mapping[str, str]


def software_findings(host: Host, *, neuron: bool) -> Iterator[Finding]:
    """Nothing on a machine that has neither the device nor a wheel of Neuron's (a machine may have the wheels alone, to compile)."""
    versions = host.versions()
    wheels = {name: versions[name] for name in NEURON_WHEELS if name in versions}
    if not neuron and not wheels:
        return
    if neuron:
        yield from _system(host, versions)
    placeholders = {name for name, version in wheels.items() if release(version) < SMALLEST_REAL[name]}
    yield from (_placeholder(name, wheels[name]) for name in sorted(placeholders))
    real = {name: version for name, version in wheels.items() if name not in placeholders}
    if LIBRARY in real:
        yield from _with_library(host, real, versions)
    elif SUCCESSOR in real:
        yield from _with_successor(host, real, versions)
    elif not placeholders & {LIBRARY, SUCCESSOR}:
        yield _no_library(host)


def _system(host: Host, versions: Versions) -> Iterator[Finding]:
    installed = system_packages(host, SYSTEM_USES)
    if installed is None:
        yield LINES.warn(
            "packages",
            "neither dpkg-query nor rpm answers, so system packages are not checked",
            "See AWS's guide.",
        )
        return
    sdk, wanted = system_set(versions)
    for name, use in SYSTEM_USES.items():
        short = name.removeprefix("aws-neuronx-")
        version, least = installed.get(name), wanted[name]
        if version is None:
            make = LINES.warn if name == TOOLS else LINES.bad
            yield make(short, f"{name} is not installed ({use})", f"`{install_words(host)} {name}`.")
        elif release(version) < least:
            found = f"{version}, older than SDK {sdk}'s {dotted(least)}"
            yield LINES.warn(short, found, f"Update {name} to {dotted(least)}.")
        else:
            yield LINES.good(short, f"{version} (SDK {sdk} has {dotted(least)})")


def _placeholder(name: str, version: str) -> Finding:
    return LINES.bad(
        name,
        f"{version} is the placeholder of the public package index, not the library",
        f"`pip uninstall -y {name}`, then `{CONSTRAINED}`.",
    )


def _no_library(host: Host) -> Finding:
    if host.path(IMAGE_VENV).is_dir():
        mend = f"Install chatapp into the image's own environment: `{IMAGE_VENV}/bin/pip install .`, and start it from there."
    else:
        mend = f"`sudo bash packaging/neuron/setup-host`, or with Python 3.10 or 3.11: `{CONSTRAINED}`."
    return LINES.bad(LIBRARY, f"neither {LIBRARY} nor {SUCCESSOR} is installed in this Python", mend)


def _with_library(host: Host, wheels: Versions, versions: Versions) -> Iterator[Finding]:
    version = wheels[LIBRARY]
    sdk = LIBRARY_SDK.get(".".join(map(str, release(version)[:3])))
    if sdk is None:
        yield LINES.warn(
            LIBRARY,
            f"{version} is no wheel of SDK 2.21 to {LAST_SDK}",
            f"Use the last one, 0.13.1315: `{CONSTRAINED}`.",
        )
    else:
        last = "the last" if sdk == LAST_SDK else f"the last is 0.13.1315 of SDK {LAST_SDK}"
        yield LINES.good(LIBRARY, f"{version}, of SDK {sdk} ({last}; AWS's support ended in September 2025)")
    yield _python(host, LIBRARY, LIBRARY_PYTHONS)
    yield from _companions(wheels, whole_set=sdk == LAST_SDK)
    yield _torch_neuronx(wheels, versions, whole_set=sdk == LAST_SDK)
    yield _transformers(versions)


def _with_successor(host: Host, wheels: Versions, versions: Versions) -> Iterator[Finding]:
    version = wheels[SUCCESSOR]
    mend = f"Install one set: `{SUCCESSOR_CONSTRAINED}`."
    last = f"{dotted(SUCCESSOR_LAST)} of SDK {SUCCESSOR_SDK}"
    if release(version)[: len(SUCCESSOR_LAST)] == SUCCESSOR_LAST:
        yield LINES.good(SUCCESSOR, f"{version}, of SDK {SUCCESSOR_SDK}, the last for Inf2 and Trn1")
    else:
        yield LINES.warn(SUCCESSOR, f"{version}; the last for Inf2 and Trn1 is {last}", mend)
    yield _python(host, SUCCESSOR, SUCCESSOR_PYTHONS)
    for name, wanted in {**SUCCESSOR_WHEELS, TORCH_NEURONX: SUCCESSOR_TORCH}.items():
        found = wheels.get(name)
        if found is None:
            yield LINES.bad(name, "not installed", mend)
        elif release(found)[: len(wanted)] != wanted:
            yield LINES.warn(name, f"{found}; SDK {SUCCESSOR_SDK} has {dotted(wanted)}", mend)
        elif name == TORCH_NEURONX:
            yield _same_torch(found, versions)
        else:
            yield LINES.good(name, f"{found}, as in SDK {SUCCESSOR_SDK}")
    transformers = versions.get("transformers", "")
    least, limit = SUCCESSOR_TRANSFORMERS
    if least <= release(transformers) < limit:
        yield LINES.good("transformers-pin", f"{transformers}, from {dotted(least)} to below {dotted(limit)}")
    else:
        found = transformers or "not installed"
        yield LINES.warn("transformers-pin", f"{found}; SDK {SUCCESSOR_SDK} has 4.57", mend)


def _python(host: Host, library: str, span: tuple[tuple[int, int], tuple[int, int]]) -> Finding:
    this, (first, last) = host.python, span
    if first <= this <= last:
        return LINES.good("wheels-python", f"{dotted(this)}, which {library} has wheels for")
    return LINES.bad(
        "wheels-python",
        f"{dotted(this)}; {library} has wheels for {dotted(first)} to {dotted(last)}",
        f"Make an environment with Python {dotted(last)} and install there.",
    )


def _companions(wheels: Versions, *, whole_set: bool) -> Iterator[Finding]:
    for name, wanted in WHEELS.items():
        version = wheels.get(name)
        if version is None:
            yield _missing(name)
        elif (release(version)[: len(wanted)] == wanted) is whole_set:
            yield LINES.good(name, f"{version}{_of_set(whole_set)}")
        else:
            yield _mixed(name, version, dotted(wanted), whole_set)


def _torch_neuronx(wheels: Versions, versions: Versions, *, whole_set: bool) -> Finding:
    version = wheels.get(TORCH_NEURONX)
    if version is None:
        return _missing(TORCH_NEURONX)
    numbers = release(version)
    in_set = numbers[:2] in TORCH_NEURONX_TORCH and numbers[3:6] == TORCH_NEURONX_BUILD
    if in_set is not whole_set:
        return _mixed(TORCH_NEURONX, version, f"2.6 to 2.8, build {dotted(TORCH_NEURONX_BUILD)}", whole_set)
    return _same_torch(version, versions)


def _same_torch(torch_neuronx: str, versions: Versions) -> Finding:
    torch = versions.get("torch")
    if torch is None or release(torch)[:2] != release(torch_neuronx)[:2]:
        wanted = dotted(release(torch_neuronx)[:2])
        return LINES.bad(
            TORCH_NEURONX,
            f"{torch_neuronx} beside torch {torch or '(none)'}: they must have the same first two numbers",
            f"`pip install 'torch=={wanted}.*'` in this environment.",
        )
    return LINES.good(TORCH_NEURONX, f"{torch_neuronx} with torch {torch}")


def _of_set(whole_set: bool) -> str:
    return (
        f", as in SDK {LAST_SDK}"
        if whole_set
        else f"; the set of an SDK before {LAST_SDK} is not listed here"
    )


def _mixed(name: str, version: str, wanted: str, whole_set: bool) -> Finding:
    if whole_set:
        found = f"{version}; SDK {LAST_SDK}, which {LIBRARY} is of, has {wanted}"
    else:
        found = f"{version} is of SDK {LAST_SDK}, and {LIBRARY} of an older one"
    return LINES.warn(name, found, f"Install one set: `{CONSTRAINED}`.")


def _missing(name: str) -> Finding:
    return LINES.bad(name, "not installed", f"`{CONSTRAINED}`.")


def _transformers(versions: Versions) -> Finding:
    version = versions.get("transformers", "")
    mend = f"`pip install 'transformers<{dotted(TRANSFORMERS_LIMIT)}'`."
    if not version:
        return LINES.bad("transformers-pin", "not installed", mend)
    if release(version) >= TRANSFORMERS_BREAKS:
        return LINES.bad(
            "transformers-pin",
            f"{version}: with 5.0 and later the library silently takes rope_theta 10000, which is wrong for Llama-3",
            mend,
        )
    if release(version) >= TRANSFORMERS_LIMIT:
        return LINES.warn(
            "transformers-pin",
            f"{version}; {LIBRARY} 0.13.380 asks for less than {dotted(TRANSFORMERS_LIMIT)}",
            mend,
        )
    return LINES.good("transformers-pin", f"{version}, below {dotted(TRANSFORMERS_LIMIT)}")
