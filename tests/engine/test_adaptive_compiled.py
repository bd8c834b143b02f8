"""The adaptive window's arithmetic as machine code and in Python, and its reasons, which are put into words late."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.contracts import StepOutcome
from chatapp.engine.windows import records
from chatapp.engine.windows.adaptive import AdaptiveWindow
from chatapp.engine.windows.arithmetic import Arithmetic, fastest, plain
from tests.helpers.windows import UNIT, flat


class Told(NamedTuple):
    """What a step of a story was."""

    window: int
    reason: str
    estimates: tuple[float, ...]


def story(arithmetic: Arithmetic, seed: int, *, sources: Sequence[str], asks: bool) -> list[Told]:
    """What a policy decided and said over 600 steps of texts easy and hopeless, under two rules."""
    rng, policy, told = random.Random(seed), AdaptiveWindow(arithmetic), list[Told]()
    for step in range(600):
        if step % 40 == 0:
            policy.begin("model", ("coupled", "rejection")[step // 200 % 2])
        k, drafted = policy.plan(rng.choice((16, 16, 16, 7, 3, 1))), list[tuple[str, float]]()
        while len(drafted) < k - 1:
            drafted.append((rng.choice(sources), rng.random() ** 0.3))
            if (
                len(drafted) < k - 1
                and asks
                and not policy.more(len(drafted), drafted[-1][1], drafted[-1][0])
            ):
                break
        choice = policy.choice()
        rate = (0.05, 0.5, 0.9, 0.98)[step // 150]
        accepted = next((place for place in range(len(drafted)) if rng.random() > rate), len(drafted))
        tested, window = min(accepted + 1, len(drafted)), len(drafted) + 1
        draft_ns, verify_ns = (
            int(UNIT * cost * math.exp(rng.gauss(0, 0.1))) for cost in (0.05 * len(drafted), flat(window))
        )
        names, confidences = tuple(name for name, _ in drafted), tuple(sure for _, sure in drafted)
        policy.observe(StepOutcome(window, names, confidences, accepted, tested, draft_ns, verify_ns, 1000))
        told.append(Told(window, choice.reason, tuple(value for _, value in choice.estimates)))
    return told


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("sources", [("model",), ("model", "ngram")])
def test_compiled_arithmetic_decides_as_it_does_in_python(sources: Sequence[str], asks: bool) -> None:
    """And says so, to the last bit."""
    if fastest().plan is plain().plan:
        pytest.skip("numba is not there")
    for seed in range(3):
        of_python = story(plain(), seed, sources=sources, asks=asks)
        assert story(fastest(), seed, sources=sources, asks=asks) == of_python
        assert len({step.window for step in of_python}) > 8


@pytest.mark.parametrize("arithmetic", [plain(), fastest()], ids=["python", "fastest"])
def test_a_window_beyond_what_is_remembered_is_cut(arithmetic: Arithmetic) -> None:
    policy, window = AdaptiveWindow(arithmetic), 1
    for _ in range(20):
        window = policy.plan(10 * MAX_WINDOW)
        assert 1 <= window <= MAX_WINDOW
        drafts = window - 1
        outcome = ("model",) * drafts, (0.9,) * drafts, drafts, drafts
        policy.observe(StepOutcome(window, *outcome, UNIT * drafts // 50, UNIT, 1000))
    assert window > 2


def test_machine_code_for_records_of_other_sizes_is_not_taken_from_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their sizes follow from a constant of another package."""
    compiled = pytest.importorskip("chatapp.engine.windows.compiled", exc_type=ImportError)
    before = compiled._stamp()
    assert compiled._stamp() == before
    monkeypatch.setattr(records, "MAX_WINDOW", MAX_WINDOW + 1)
    assert compiled._stamp() != before


def test_without_a_compiler_python_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chatapp.engine.windows.compiled", None)
    fastest.cache_clear()
    try:
        assert fastest().plan is plain().plan
    finally:
        fastest.cache_clear()


def test_numba_that_is_told_not_to_compile_is_as_good_as_none() -> None:
    """`NUMBA_DISABLE_JIT` is read when numba is imported: in a process of its own."""
    program = (
        "from chatapp.engine.windows.arithmetic import fastest, plain\n"
        "from chatapp.engine.backends.decoder.fused import kernels\n"
        "assert fastest().plan is plain().plan and kernels() is None"
    )
    told = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", program], env=told, check=True, timeout=120)


def test_the_reason_is_that_of_the_step_whenever_it_is_asked_for() -> None:
    """It is put into words late, when the next steps have long been decided."""
    policy, choices, reasons = AdaptiveWindow(), [], []
    policy.begin("model", "rejection")
    for step in range(60):
        k = policy.plan(8)
        drafted = min(k - 1, 1 + step % 4)
        for place in range(1, drafted + 1):
            policy.more(place, 0.5, "model")
        choices.append(policy.choice())
        if step % 2:
            reasons.append((choices[-1].reason, choices[-1].estimates))
        accepted, window = step % (drafted + 1), drafted + 1
        outcome = ("model",) * drafted, (0.5,) * drafted, accepted, min(accepted + 1, drafted)
        policy.observe(StepOutcome(window, *outcome, UNIT * drafted // 20, UNIT, 0))
    assert [(choice.reason, choice.estimates) for choice in choices[1::2]] == reasons
    assert len(set(reasons)) > 10
