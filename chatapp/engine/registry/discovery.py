"""Finds strangers' parts by their entry points and looks at each before it is offered.

    group                what the entry point names
    chatapp.acceptors    a class with `name`, `lossless`, `description`, made with the run's `Streams`
    chatapp.drafters     a class or object with `name`, `description`, `needs_draft` and `make(DraftingContext)`
    chatapp.windows      a class with `name`, `description`, made without arguments
    chatapp.backends     an object with `name`, `description`, `claims`, `load`, and `priority` if it likes

The entry point's name is the part's. Nothing here is fatal: what is wrong with a plugin becomes a line of
`Registry.errors` and of the log. Must not know who chooses a part, nor when.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chatapp.engine.randomness import Streams
from chatapp.engine.registry.builtin import ACCEPTORS, BACKEND, DRAFTERS, POLICIES, RESERVED
from chatapp.engine.registry.guards import GuardedAcceptor, GuardedDrafter, GuardedPolicy, words
from chatapp.engine.registry.parts import (
    API_VERSION,
    DraftingContext,
    MakeAcceptor,
    MakeDrafter,
    MakePolicy,
    Part,
    PluginBackend,
)

log = logging.getLogger(__name__)

OWN_DISTRIBUTION = "chatapp"
ACCEPTOR_METHODS = ("draw_draft", "draw_target", "verify")
DRAFTER_METHODS = ("begin", "catch_up", "propose", "exhausted", "rewind")
POLICY_METHODS = ("begin", "plan", "more", "choice", "observe")
BACKEND_METHODS = ("claims", "load")


class NotAPart(ValueError):
    """What an entry point names is not what its group asks for."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Every part that can be chosen, built-ins first. `backends` are strangers' alone, the first to ask first. `errors` are
    `(plugin, what went wrong)`."""

    acceptors: Mapping[str, Part[MakeAcceptor]] = field(default_factory=lambda: dict(ACCEPTORS))
    drafters: Mapping[str, Part[MakeDrafter]] = field(default_factory=lambda: dict(DRAFTERS))
    policies: Mapping[str, Part[MakePolicy]] = field(default_factory=lambda: dict(POLICIES))
    backends: tuple[PluginBackend, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()

    def with_error(self, plugin: str, what: str) -> Registry:
        """Also says so on the log."""
        log.warning("plugin %s: %s", plugin, what)
        return replace(self, errors=(*self.errors, (plugin, what)))

    def with_drafters_tried(self, context: DraftingContext) -> Registry:
        """Strangers' drafters made once with the loaded pair; those that cannot be made are left out and named."""
        registry = self
        for name, part in self.drafters.items():
            usable = context.draft is not None or not part.needs_draft
            trouble = _trouble_with_drafter(part, context) if part.plugin and usable else ""
            if trouble:
                others = {other: part for other, part in registry.drafters.items() if other != name}
                what = f"The drafter {name!r} cannot be made: {trouble}."
                registry = replace(registry, drafters=others).with_error(part.plugin, what)
        return registry


def discover(entries: Iterable[EntryPoint] | None = None) -> Registry:
    """The built-ins and every plugin's parts; imports the plugins. `entries` are those of the environment if not given."""
    groups: dict[str, Callable[[Registry, EntryPoint, str], Registry]] = {
        "chatapp.acceptors": _with_acceptor,
        "chatapp.drafters": _with_drafter,
        "chatapp.windows": _with_policy,
        "chatapp.backends": _with_backend,
    }
    if entries is None:
        entries = [entry for group in groups for entry in entry_points(group=group)]
    registry = Registry()
    seen: set[tuple[str, str, str]] = set()
    strangers = [entry for entry in entries if entry.group in groups and not _is_own(entry)]
    for entry in sorted(strangers, key=lambda entry: (entry.group, plugin_of(entry), entry.name)):
        place = (entry.group, entry.name, plugin_of(entry))
        if place in seen:
            continue  # the same distribution, found twice on the path
        seen.add(place)
        plugin = plugin_of(entry)
        try:
            registry = groups[entry.group](registry, entry, plugin)
        except (Exception, SystemExit) as error:  # a stranger's module may do anything while it is imported
            trouble = str(error) if isinstance(error, NotAPart) else words(error)
            log.debug("plugin %s, entry point %s", plugin, entry.name, exc_info=error)
            registry = registry.with_error(
                plugin, f"{entry.group} {entry.name!r} ({entry.value}): {trouble}."
            )
    ordered = sorted(registry.backends, key=lambda one: -one.priority)
    return replace(registry, backends=tuple(ordered))


def plugin_of(entry: EntryPoint) -> str:
    """The distribution that registers it, as people know it: `bigram-parts 1.0`."""
    if entry.dist is None:
        return entry.value.partition(":")[0]
    return f"{entry.dist.name} {entry.dist.version}"


def _is_own(entry: EntryPoint) -> bool:
    """Our own metadata says nothing that the built-in tables do not say; it may be that of another version."""
    return entry.dist is not None and entry.dist.name.lower() == OWN_DISTRIBUTION


def _with_acceptor(registry: Registry, entry: EntryPoint, plugin: str) -> Registry:
    kind = _loaded(entry, registry.acceptors, {"lossless": bool})
    _require_methods(kind(Streams(0)), ACCEPTOR_METHODS)

    def make(streams: Streams) -> GuardedAcceptor:
        return GuardedAcceptor(entry.name, plugin, lossless=kind.lossless, make=kind, streams=streams)

    part = Part[MakeAcceptor](entry.name, kind.description, make, lossless=kind.lossless, plugin=plugin)
    return replace(registry, acceptors={**registry.acceptors, entry.name: part})


def _with_drafter(registry: Registry, entry: EntryPoint, plugin: str) -> Registry:
    kind = _loaded(entry, registry.drafters, {"needs_draft": bool})
    _require_methods(kind, ("make",))
    make = partial(GuardedDrafter, entry.name, plugin, kind.make)
    part = Part[MakeDrafter](entry.name, kind.description, make, needs_draft=kind.needs_draft, plugin=plugin)
    return replace(registry, drafters={**registry.drafters, entry.name: part})


def _with_policy(registry: Registry, entry: EntryPoint, plugin: str) -> Registry:
    kind = _loaded(entry, registry.policies, {})
    _require_methods(kind(), POLICY_METHODS)
    make = partial(GuardedPolicy, entry.name, plugin, kind)
    part = Part[MakePolicy](entry.name, kind.description, make, plugin=plugin)
    return replace(registry, policies={**registry.policies, entry.name: part})


def _with_backend(registry: Registry, entry: EntryPoint, plugin: str) -> Registry:
    taken = [BACKEND, *(one.name for one in registry.backends)]
    backend = _loaded(entry, taken, {})
    _require_methods(backend, BACKEND_METHODS)
    priority = getattr(backend, "priority", 0)
    if not isinstance(priority, int | float):
        raise NotAPart(f"its priority is {priority!r}, no number")
    return replace(
        registry, backends=(*registry.backends, PluginBackend(backend, entry.name, float(priority), plugin))
    )


def _loaded(entry: EntryPoint, taken: Iterable[str], attributes: Mapping[str, type]) -> Any:
    """The object that the entry point names, with the attributes that its group asks for. Raises `NotAPart`."""
    if entry.name in RESERVED or entry.name in taken:
        raise NotAPart("that name is taken")
    part = entry.load()
    version = getattr(part, "api_version", API_VERSION)
    if version != API_VERSION:
        raise NotAPart(f"it is written for version {version!r} of chatapp.engine.api, this is {API_VERSION}")
    for name, kind in {"name": str, "description": str, **attributes}.items():
        if not hasattr(part, name):
            raise NotAPart(f"it has no attribute {name!r}")
        if not isinstance(getattr(part, name), kind):
            raise NotAPart(f"its {name} is {getattr(part, name)!r}, not of type {kind.__name__}")
    if part.name != entry.name:
        raise NotAPart(f"it calls itself {part.name!r}; its entry point must have that name")
    return part


def _require_methods(part: object, names: Iterable[str]) -> None:
    missing = [name for name in names if not callable(getattr(part, name, None))]
    if missing:
        raise NotAPart(f"it has no method {missing[0]!r}")


def _trouble_with_drafter(part: Part[MakeDrafter], context: DraftingContext) -> str:
    made = part.make(context)
    if not isinstance(made, GuardedDrafter):
        return ""
    if made.failure is not None:
        return words(made.failure)
    missing = [name for name in DRAFTER_METHODS if made.made and not callable(getattr(made.made, name, None))]
    return f"it has no method {missing[0]!r}" if missing else ""
