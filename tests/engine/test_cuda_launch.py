"""What a launcher may do with work: keep the first of a key, or give up capturing. And which drafters the engine fuses."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chatapp.domain.ports import PairLocation
from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.cuda.kernels import SERVED
from chatapp.engine.backends.cuda.launch import GraphLauncher, PlainLauncher
from chatapp.engine.backends.cuda.window import DeviceWindow, KnownRow, Lookahead
from chatapp.engine.prompt import Prompt
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.session import Engine, assemble
from chatapp.resources import builtin_pair
from tests.helpers.device import DevicePair, device_model, tiny_pair, tiny_shape
from tests.helpers.engine import ids_of

WARM = SamplingSettings(temperature=1.1, top_p=1.0, max_tokens=40)
SETTINGS = (WARM, replace(WARM, top_p=0.8), replace(WARM, top_k=6), replace(WARM, top_k=20, min_p=0.05))


class FirstWork(PlainLauncher):
    """Does for a key what it was first given, as a captured graph does."""

    captures = True

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.kept: dict[Hashable, Callable[[], None]] = {}

    def launch(self, key: Hashable, work: Callable[[], None]) -> None:
        self.kept.setdefault(key, work)()


def test_what_a_key_stands_for_never_changes() -> None:
    """Other windows, rules, settings, seeds, prompts and places over the same kept work: the replies of fresh work."""
    launcher = FirstWork()
    pair = DevicePair(
        device_model(tiny_shape(), launcher=launcher),
        device_model(tiny_shape(), noise=0.25, exact=False, launcher=launcher),
    )
    assert "CUDA graphs" in pair.target_model.info.runs_on
    chooser = random.Random(5)
    for turn in range(16):
        rule = chooser.choice(SERVED)
        settings = replace(chooser.choice(SETTINGS), seed=turn)
        if rule == "greedy":
            settings = replace(settings, temperature=0.0)
        prompt = [chooser.randrange(40) for _ in range(chooser.choice([2, 30, 240]))]
        window = chooser.randint(1, 16)
        fused = pair.events(settings, acceptor=rule, window=window, prompt=prompt)
        fresh = tiny_pair().events(settings, acceptor=rule, window=window, prompt=prompt)
        assert ids_of(fused) == ids_of(fresh), (turn, rule, window)
    kinds = {key[0] for key in launcher.kept if isinstance(key, tuple)}
    assert kinds == {"draft", "pass", "accept"}


class Refusing(GraphLauncher):
    """A device that captures one piece of work and refuses the next."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.captures = True
        self._graphs = OrderedDict()
        self.done: list[str] = []

    def _warm_up(self, work: Callable[[], None]) -> None:
        work()

    def _captured(self, work: Callable[[], None]) -> Any:
        if self._graphs:
            raise RuntimeError("operation not permitted when stream is capturing")
        return SimpleNamespace(replay=work)


def test_where_a_capture_is_refused_work_is_called_plainly(caplog: pytest.LogCaptureFixture) -> None:
    launcher = Refusing()
    with caplog.at_level("WARNING"):
        for key in ("one", "two", "three", "one"):
            launcher.launch(key, partial(launcher.done.append, key))
    assert launcher.done == ["one", "one", "two", "two", "three", "one"]
    assert not launcher.captures
    assert caplog.text.count("CUDA graphs are not used") == 1


def test_the_engine_fuses_where_the_draft_model_or_nobody_proposes() -> None:
    pair = tiny_pair()
    draft = pair.draft_model
    assert draft is not None
    engine = Engine(device="cpu")
    prompt = Prompt.load(builtin_pair().target, ())
    location = PairLocation("tiny", builtin_pair().target, None)
    engine._pair = assemble(location, pair.target_model, draft, prompt, "cpu")
    drafts = {}
    for name in ("model", "ngram", "model+ngram", "none"):
        drafter = engine._drafter(name, Processor(WARM), RunAcceptors(Streams(1), greedy=False))
        fused = engine._fused(WARM, Streams(1), drafter)
        assert isinstance(fused, DeviceWindow) == (name in ("model", "none")), name
        if isinstance(fused, DeviceWindow):
            drafts[name] = fused._draft
    assert drafts == {"model": engine.pair.draft, "none": None}


def test_numbers_that_were_looked_at_and_not_used_come_again() -> None:
    stream, same = random.Random(3), random.Random(3)
    ahead = Lookahead(stream)
    expected = [same.random() for _ in range(9)]
    assert list(ahead.peek(4)) == expected[:4]
    ahead.use(1)
    assert list(ahead.peek(4)) == expected[1:5]
    ahead.use(4)
    assert list(ahead.peek(4)) == expected[5:9]


def test_a_probability_that_stayed_on_the_device_is_not_made_up() -> None:
    row = KnownRow({3: 0.25})
    assert row.prob(3) == 0.25
    with pytest.raises(LookupError, match="id 4 is not known"):
        row.prob(4)
