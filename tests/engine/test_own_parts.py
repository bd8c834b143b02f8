"""The guide's page on own parts does what it says: its package is built, installed, found, checked and used, as it stands there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from chatapp.domain.events import EndReason, RunStarted
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.domain.tokens import TokenKind
from chatapp.engine.control import RunControl
from chatapp.engine.registry import discover
from chatapp.engine.session import Engine
from tests.helpers.engine import end_of, ids_of, steps_of, tokens_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "resources" / "help" / "own-parts.md"
LINES = 80
PROMPT = "Say the word banana five times, and then say the word banana five times again."


def blocks(language: str) -> list[str]:
    """The page's code in one language, in order."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package of the page as a distribution on the module path; nothing is fetched to build it."""
    source = tmp_path_factory.mktemp("bigram-parts")
    [project] = blocks("toml")
    module, test = blocks("python")
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    (source / "bigram_parts.py").write_text(module, encoding="utf-8")
    (source / "test_bigram_parts.py").write_text(test, encoding="utf-8")
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(site), str(source)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield source
    sys.modules.pop("bigram_parts", None)


def test_the_package_is_under_eighty_lines() -> None:
    [project] = blocks("toml")
    module, _ = blocks("python")
    assert len((project + module).splitlines()) < LINES


def test_the_package_is_found_beside_the_built_ins(installed: Path) -> None:
    registry = discover()
    assert registry.errors == ()
    acceptor, drafter = registry.acceptors["matching"], registry.drafters["bigram"]
    assert acceptor.plugin == drafter.plugin == "bigram-parts 1.0"
    assert (acceptor.lossless, drafter.needs_draft) == (True, False)


@pytest.mark.statistical
def test_its_own_tests_pass(installed: Path) -> None:
    """The page's second listing, run as written: an author's tests against the suites."""
    module = ModuleType("test_bigram_parts")
    importlib.import_module("bigram_parts")
    exec(compile(blocks("python")[1], "test_bigram_parts.py", "exec"), vars(module))
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.fixture(scope="module")
def engine(installed: Path) -> Engine:
    """The built-in pair, loaded as the window loads it."""
    pair = ROOT / "resources" / "pair"
    engine = Engine(threads=1)
    engine.load(PairLocation("built-in", pair / "target", pair / "draft"), lambda _: None)
    return engine


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("drafter", ["bigram", "model"])
@pytest.mark.parametrize("acceptor", ["matching", "rejection"])
def test_a_reply_of_the_built_in_pair(
    engine: Engine, acceptor: str, drafter: str, temperature: float
) -> None:
    capabilities = engine.pair.info.capabilities
    assert "bigram" in dict(capabilities.drafters)
    assert "matching" in [name for name, _, _ in capabilities.acceptors]
    assert capabilities.plugin_errors == ()
    request = GenerationRequest(
        (Message(Role.USER, PROMPT),),
        sampling=SamplingSettings(temperature=temperature, max_tokens=48, seed=4),
        acceptor=acceptor,
        drafter=drafter,
    )
    events = list(engine.run(engine.prepare(request), RunControl.of(request)))
    assert end_of(events).reason in (EndReason.END_OF_TEXT, EndReason.MAX_TOKENS)
    started = events[0]
    assert isinstance(started, RunStarted)
    assert (started.drafter, started.acceptor) == (drafter, acceptor if temperature else "greedy")
    drafted = [draft for step in steps_of(events) for draft in step.drafted]
    assert {draft.source for draft in drafted} == {drafter}
    assert TokenKind.ACCEPTED in {token.kind for token in tokens_of(events)}


def test_greedy_text_is_the_targets_own(engine: Engine) -> None:
    texts = []
    for drafter in ("bigram", "none"):
        request = GenerationRequest(
            (Message(Role.USER, PROMPT),),
            sampling=SamplingSettings(temperature=0.0, max_tokens=48),
            drafter=drafter,
        )
        texts.append(ids_of(list(engine.run(engine.prepare(request), RunControl.of(request)))))
    assert texts[0] == texts[1]
