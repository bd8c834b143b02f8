"""Strangers' parts: found, looked at, offered beside the built-ins or refused with words."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from chatapp.domain.errors import GenerationFailed
from chatapp.domain.ports import PairLocation
from chatapp.engine.api import API_VERSION
from chatapp.engine.registry import ACCEPTORS, DRAFTERS, POLICIES, Registry, discover
from chatapp.engine.registry.loading import TORCH
from chatapp.engine.session import Engine
from tests.helpers.strangers import (
    GOOD,
    GROUPS,
    MODULE,
    GoodAcceptor,
    GoodDrafter,
    GoodWindow,
    changed,
    entry,
    raises,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

ROOT = Path(__file__).resolve().parents[2]


def tables(registry: Registry) -> dict[str, Sequence[str]]:
    return {
        "chatapp.acceptors": list(registry.acceptors),
        "chatapp.drafters": list(registry.drafters),
        "chatapp.windows": list(registry.policies),
        "chatapp.backends": [one.name for one in registry.backends],
    }  # -- built-ins ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(tomllib is None, reason="tomllib is there from Python 3.11 on")
def test_pyproject_registers_what_the_tables_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    registered = {
        group: {name: EntryPoint(name, value, group).load() for name, value in entries.items()}
        for group, entries in project["entry-points"].items()
    }
    assert registered == {
        "chatapp.acceptors": {name: part.make for name, part in ACCEPTORS.items()},
        "chatapp.drafters": dict(DRAFTERS),
        "chatapp.windows": {name: part.make for name, part in POLICIES.items()},
        "chatapp.backends": {"torch": TORCH},
    }


def test_without_plugins_there_are_the_built_ins() -> None:
    registry = discover([])
    assert (registry.acceptors, registry.drafters, registry.policies) == (ACCEPTORS, DRAFTERS, POLICIES)
    assert (registry.backends, registry.errors) == ((), ())


def test_our_own_metadata_adds_nothing_and_is_not_even_loaded() -> None:
    stale = [
        entry(group, name, ImportError("gone"), "chatapp") for group in GROUPS for name in ("fixed", "old")
    ]
    assert discover(stale) == discover([])


def test_the_environments_entry_points_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return [entry(group, "good", GOOD[group])]

    monkeypatch.setattr("chatapp.engine.registry.discovery.entry_points", entry_points)
    registry = discover()
    assert sorted(asked) == sorted(GROUPS)
    assert all("good" in names for names in tables(registry).values())


# -- good and broken plugins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS)
def test_a_good_part_stands_behind_the_built_ins(group: str) -> None:
    registry = discover([entry(group, "good", GOOD[group])])
    assert registry.errors == ()
    assert tables(registry) == {
        other: [*tables(discover([]))[other], *(["good"] if other == group else [])] for other in GROUPS
    }


def test_what_a_part_says_of_itself_is_kept() -> None:
    lossy = changed(GoodAcceptor, lossless=False)
    free = changed(GoodDrafter, needs_draft=False)
    registry = discover([entry("chatapp.acceptors", "good", lossy), entry("chatapp.drafters", "good", free)])
    acceptor, drafter = registry.acceptors["good"], registry.drafters["good"]
    assert (acceptor.lossless, acceptor.description) == (False, GoodAcceptor.description)
    assert (drafter.needs_draft, drafter.description) == (False, GoodDrafter.description)
    assert acceptor.plugin == drafter.plugin == "stranger 1.0"


BROKEN: list[tuple[str, str, object, str]] = [
    *[
        (group, "good", ModuleNotFoundError("No module named 'gone'"), "No module named 'gone'")
        for group in GROUPS
    ],
    *[(group, "good", AttributeError("no such class"), "no such class") for group in GROUPS],
    *[(group, "good", SystemExit("bye"), "SystemExit: bye") for group in GROUPS],
    *[(group, "good", ZeroDivisionError(), "ZeroDivisionError") for group in GROUPS],
    *[(group, "good", SimpleNamespace(), "no attribute 'name'") for group in GROUPS],
    *[(group, "good", 7, "no attribute 'name'") for group in GROUPS],
    *[(group, "other", GOOD[group], "it calls itself 'good'") for group in GROUPS],
    *[(group, "good", changed(GOOD[group], description=3), "its description is 3") for group in GROUPS],
    *[(group, "good", changed(GOOD[group], api_version=99), "version 99") for group in GROUPS],
    *[(group, "greedy", changed(GOOD[group], name="greedy"), "name is taken") for group in GROUPS],
    ("chatapp.acceptors", "block", changed(GoodAcceptor, name="block"), "name is taken"),
    ("chatapp.drafters", "model", changed(GoodDrafter, name="model"), "name is taken"),
    ("chatapp.windows", "fixed", changed(GoodWindow, name="fixed"), "name is taken"),
    ("chatapp.backends", "torch", changed(GOOD["chatapp.backends"], name="torch"), "name is taken"),
    ("chatapp.acceptors", "good", changed(GoodAcceptor, lossless="yes"), "its lossless is 'yes'"),
    ("chatapp.acceptors", "good", changed(GoodAcceptor, __init__=raises), "no licence"),
    ("chatapp.acceptors", "good", changed(GoodAcceptor, verify=None), "no method 'verify'"),
    ("chatapp.drafters", "good", changed(GoodDrafter, needs_draft=1), "its needs_draft is 1"),
    ("chatapp.drafters", "good", changed(GoodDrafter, make=3), "no method 'make'"),
    ("chatapp.windows", "good", changed(GoodWindow, __init__=raises), "no licence"),
    ("chatapp.windows", "good", changed(GoodWindow, plan=None), "no method 'plan'"),
    ("chatapp.backends", "good", changed(GOOD["chatapp.backends"], claims=None), "no method 'claims'"),
    ("chatapp.backends", "good", changed(GOOD["chatapp.backends"], priority="high"), "'high', no number"),
]


@pytest.mark.parametrize(("group", "name", "part", "complaint"), BROKEN)
def test_a_broken_plugin_is_named_and_takes_nothing_with_it(
    group: str, name: str, part: object, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    others = [entry(other, "good", GOOD[other], "the-good") for other in GROUPS if other != group]
    with caplog.at_level(logging.WARNING):
        registry = discover([entry(group, name, part, "the-broken"), *others])
    [(plugin, what)] = registry.errors
    assert plugin == "the-broken 1.0"
    assert complaint in what
    assert group in what
    assert repr(name) in what
    assert what in caplog.text
    assert tables(registry) == {
        other: [*tables(discover([]))[other], *(["good"] if other != group else [])] for other in GROUPS
    }
    built_in = [part for part in registry.acceptors.values() if not part.plugin]
    assert built_in == list(ACCEPTORS.values())


def test_a_part_may_say_which_version_it_is_written_for() -> None:
    part = changed(GoodWindow, api_version=API_VERSION)
    assert discover([entry("chatapp.windows", "good", part)]).errors == ()


def test_of_two_plugins_with_one_name_the_first_by_name_wins_whatever_the_order() -> None:
    entries = [entry("chatapp.windows", "good", GoodWindow, plugin) for plugin in ("zebra", "aardvark")]
    for order in (entries, entries[::-1]):
        registry = discover(order)
        assert registry.policies["good"].plugin == "aardvark 1.0"
        assert [plugin for plugin, _ in registry.errors] == ["zebra 1.0"]


def test_one_distribution_found_twice_is_one() -> None:
    same = entry("chatapp.windows", "good", GoodWindow)
    assert discover([same, same]).errors == ()


def test_a_real_module_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, ModuleType(MODULE))
    missing = EntryPoint("good", f"{MODULE}:Gone", "chatapp.windows")
    absent = EntryPoint("good", "there_is_no_such_module:Gone", "chatapp.acceptors")
    errors = dict(discover([missing, absent]).errors)
    assert "Gone" in errors[MODULE]
    assert "there_is_no_such_module" in errors["there_is_no_such_module"]


def test_the_engine_finds_plugins_at_load_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def looks() -> Registry:
        looked.append("")
        raise GenerationFailed("far enough")

    monkeypatch.setattr("chatapp.engine.session.discover", looks)
    engine = Engine()
    assert looked == []
    pair = ROOT / "resources" / "pair"
    with pytest.raises(GenerationFailed):
        engine.load(PairLocation("built-in", pair / "target", pair / "draft"), lambda _: None)
    assert looked == [""]
