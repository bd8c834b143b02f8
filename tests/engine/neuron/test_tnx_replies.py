"""Whole replies on emulated NeuronCores: their texts, their launches, and everything that may happen on the way."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from chatapp.bench.neuron_launches import ExpectedLaunches
from chatapp.bench.neuron_samples import World
from chatapp.bench.neuron_texts import CHANGING, Reference, compare, emulated
from chatapp.domain.errors import DeviceUnavailable, UnsupportedModel
from chatapp.domain.events import EndReason, Notice, Prefilled, RunEvent
from chatapp.domain.ports import LoadProgress, PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends import emulator
from chatapp.engine.backends.neuron import holding, loading
from chatapp.engine.backends.neuron.library import imported_library
from chatapp.engine.backends.neuron.tnx import TnxModel
from chatapp.engine.contracts import Control
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine, PreparedRun
from chatapp.resources import builtin_pair
from tests.helpers import checkpoints
from tests.helpers.engine import Schedule, end_of, ids_of, steps_of
from tests.helpers.neuron import SETTINGS, after_launch, launched, opened

ANY = (Message(Role.USER, "ids"),)
PROMPT = tuple((7 * place) % 400 + 10 for place in range(20))


def reply(
    engine: Engine,
    prompt: Sequence[int] = PROMPT,
    *,
    tokens: int = 30,
    window: int = 5,
    control: Control | None = None,
    temperature: float = 0.0,
) -> list[RunEvent]:
    """Events of a reply to these ids."""
    request = GenerationRequest(ANY, SamplingSettings(temperature=temperature, max_tokens=tokens), window)
    prepared = PreparedRun(request, tuple(prompt), 0)
    return list(engine.run(prepared, control or RunControl.of(request)))


def on_processor(pair: PairLocation) -> Engine:
    engine = Engine(threads=1, device="cpu")
    engine.load(pair, lambda _: None)
    return engine


def models(engine: Engine) -> tuple[TnxModel, TnxModel]:
    target, draft = engine.pair.target.model, engine.pair.draft.model if engine.pair.draft else None
    assert isinstance(target, TnxModel)
    assert isinstance(draft, TnxModel)
    return target, draft


def read(events: Sequence[RunEvent], model: str) -> list[Prefilled]:
    return [event for event in events if isinstance(event, Prefilled) and event.model == model]


@pytest.fixture
def close(tmp_path: Path) -> PairLocation:
    """A pair whose draft is often right, without an end of text: target and draft differ by a little noise."""
    config = checkpoints.llama_config(rope_theta=10_000.0, eos_token_id=None)
    checkpoints.save(tmp_path / "target", config)
    checkpoints.save(tmp_path / "draft", config)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        blurred = {
            name: tensor + 0.05 * tensor.std() * torch.randn_like(tensor)
            for name, tensor in load_file(tmp_path / "draft" / "model.safetensors").items()
            if tensor.ndim > 1
        }
    checkpoints.change_weights(
        tmp_path / "draft", **{name.replace(".", "__"): tensor for name, tensor in blurred.items()}
    )
    return PairLocation("close", tmp_path / "target", tmp_path / "draft")


# -- texts ----------------------------------------------------------------------------------------------------


def test_conversations_of_the_built_in_pair_are_those_of_transformers_launch_by_launch() -> None:
    """What `chatapp bench --suite neuron` does at length."""
    pair = builtin_pair()
    reference, engine = Reference(pair), emulated(pair, "f32")
    outcome = compare(engine, reference, [1], 24, ways=(1, 2, 5, 16, CHANGING))
    assert (outcome.replies, outcome.identical, outcome.partings) == (15, 15, [])
    assert outcome.off_plan == []
    assert outcome.accepted > 100
    assert outcome.reused > 0
    half = compare(emulated(pair, "bf16"), reference, [2], 24, ways=(6,))
    assert half.off_plan == []
    assert all(parting.steps < 4.0 for parting in half.partings)


@pytest.mark.parametrize("seed", range(3))
def test_k_and_toggle_may_change_at_every_step(close: PairLocation, seed: int) -> None:
    chooser = random.Random(seed)
    steps = [(chooser.randint(1, 16), chooser.random() < 0.8) for _ in range(40)]
    engine, other = opened(close), on_processor(close)
    expected = ids_of(reply(other, tokens=60, control=RunControl(1, False)))
    events = reply(engine, tokens=60, control=Schedule(steps))
    assert ids_of(events) == expected
    assert len({step.window for step in steps_of(events)}) > 4


def test_sampled_ids_have_the_targets_distribution(tmp_path: Path) -> None:
    """A wrong acceptance shows as 0.1 and more here; so many perfect draws are off by 0.017 on average."""
    world = World(tmp_path, builtin_pair().target, tokens=5)
    for k in (4, CHANGING):
        distance = world.measure(k, 350)
        assert distance.pairs < 0.05
        assert distance.tokens_per_step > 1.3


# -- launches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7, 8, 9, 12, 16])
def test_launches_are_one_per_verify_step_and_one_per_draft(close: PairLocation, k: int) -> None:
    engine = opened(close)
    target, draft = models(engine)
    events = reply(engine, tokens=40, window=k)
    steps = steps_of(events)[1:]
    verify = Counter(
        ("window", next(size for size in (2, 4, 8, 16) if size >= step.window))
        if step.window > 1
        else ("token", 1)
        for step in steps
    )
    assert launched(target) == verify + Counter({("context", 32): 1}), "and one for the prompt"
    drafts = 0
    whole = False
    for step in steps:
        drafts += len(step.drafted) + (whole and bool(step.drafted))
        whole = bool(step.drafted) and step.accepted == len(step.drafted)
    if k > 1:
        assert sum(step.accepted for step in steps) > 0
        assert launched(draft) == Counter({("token", 1): drafts, ("context", 32): 1})
    else:
        assert launched(draft) == Counter()


def test_at_the_end_of_the_context_too(close: PairLocation) -> None:
    """The last windows begin among ids that were computed before: one launch each, and the same text."""
    engine, other = opened(close), on_processor(close)
    target, _ = models(engine)
    prompt = PROMPT * 5
    plain = reply(other, prompt, tokens=200, control=RunControl(1, False))
    for k in (3, 6, 16):
        engine.forget()
        before = launched(target)
        events = reply(engine, prompt, tokens=200, window=k)
        assert end_of(events).reason is EndReason.CONTEXT_FULL
        assert ids_of(events) == ids_of(plain)[: len(ids_of(events))]
        assert len(prompt) + len(ids_of(events)) == 129, "the last token needs no place in the KV"
        expected = ExpectedLaunches(target.graphs, models(engine)[1].graphs)
        for event in events:
            expected.see(event, 0)
        assert launched(target) - before == expected.of_target


def test_a_cancel_is_heard_behind_the_launch_that_runs(close: PairLocation) -> None:
    engine = opened(close)
    for number in (1, 2, 3):  # in the target's prompt, behind it, in the draft's
        engine.forget()
        control = RunControl(5, True)
        with after_launch(number, control.cancel) as kinds:
            events = reply(engine, PROMPT * 4, control=control)
        assert end_of(events).reason is EndReason.CANCELLED
        assert len(kinds) == number
    again = reply(engine, PROMPT * 4)
    engine.forget()
    assert ids_of(again) == ids_of(reply(engine, PROMPT * 4)), "what was computed before is of use"


def test_an_edited_prompt_reuses_what_it_shares_and_a_short_rest_is_read_again(close: PairLocation) -> None:
    engine = opened(close)
    target, _ = models(engine)
    first = [*PROMPT, *PROMPT, *PROMPT]
    fresh = ids_of(reply(engine, first))
    before = launched(target)
    events = reply(engine, first)  # regenerated
    assert ids_of(events) == fresh
    assert (read(events, "target")[0].positions, read(events, "target")[0].reused) == (1, 59)
    assert (launched(target) - before)["token", 1] >= 1
    before = launched(target)
    edited = [*first[:50], 7, 8, 9]
    events = reply(engine, edited, tokens=1)
    assert (read(events, "target")[0].positions, read(events, "target")[0].reused) == (3, 50)
    assert launched(target) - before == Counter({("window", 4): 1})
    before = launched(target)
    events = reply(engine, [*first[:4], *range(60, 110)], tokens=1)
    assert (read(events, "target")[0].positions, read(events, "target")[0].reused) == (54, 0)
    assert launched(target) - before == Counter({("context", 64): 1}), "reading all of it costs less"
    engine.forget()
    assert ids_of(reply(engine, first)) == fresh


def test_any_of_several_ends_ends_a_reply(close: PairLocation) -> None:
    engine = opened(close)
    ids = ids_of(reply(engine))
    ends = [ids[12], ids[20]]
    generation = {"eos_token_id": [ends[1], ends[0]]}
    (close.target / "generation_config.json").write_text(json.dumps(generation))
    engine = opened(close)
    assert set(ends) <= engine.pair.prompt.eos_ids
    events = reply(engine, window=8)
    first = min(ids.index(end) for end in ends)
    assert ids_of(events) == ids[: first + 1]
    ended = [[draft.id in ends for draft in step.drafted] for step in steps_of(events)]
    assert not any(True in drafted[:-1] for drafted in ended), "nothing is drafted behind an end"
    assert end_of(events).reason is EndReason.END_OF_TEXT


# -- failures in a run ----------------------------------------------------------------------------------------


def test_a_target_that_fails_ends_the_reply_in_words(close: PairLocation) -> None:
    engine = opened(close)
    good = ids_of(reply(engine))
    engine.forget()

    def hang() -> None:
        emulator.behaviour.executions_hang = True

    with after_launch(8, hang):
        events = reply(engine)
    emulator.behaviour.executions_hang = False
    ended = end_of(events)
    assert ended.reason is EndReason.FAILED
    assert "did not answer in time" in ended.error
    assert "The reply up to here is kept" in ended.error
    assert ids_of(events) == good[: len(ids_of(events))]
    assert ids_of(reply(engine)) == good


class Broken(TnxModel):
    """A draft that fails from its tenth launch on, in the library's most dangerous way."""

    def _launch(self, launch: Any) -> torch.Tensor:
        if self.launched.total() > 10:
            raise StopIteration
        return super()._launch(launch)


def test_a_draft_that_fails_ends_speculation_and_not_the_reply(close: PairLocation) -> None:
    engine = opened(close)
    expected = ids_of(reply(engine))
    engine = opened(close)
    models(engine)[1].__class__ = Broken
    events = reply(engine)
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.code for notice in notices] == ["draft_failed"]
    assert "past the context that was compiled" in notices[0].message
    assert ids_of(events) == expected
    assert end_of(events).reason is EndReason.MAX_TOKENS


# -- what is said ---------------------------------------------------------------------------------------------


def test_records_say_where_the_pair_ran_and_that_it_was_simulated(close: PairLocation) -> None:
    info = opened(close).pair.info
    environment = info.environment
    assert (environment.backend, environment.device, environment.simulated) == (
        "tnx",
        "emulated NeuronCores",
        True,
    )
    assert "emulated" in dict(environment.versions)["transformers-neuronx"]
    assert environment.bandwidth == 0.0, "the processor's would be another device's"
    assert environment.context_limit == 128
    assert "2 NeuronCores, windows 1, 2, 4, 8, 16 compiled, float32" in environment.target.runs_on
    assert info.capabilities.windows == tuple(range(1, 17))
    assert info.capabilities.compiled_windows == (1, 2, 4, 8, 16)
    assert opened(close, windows=(4, 32, 64)).pair.info.capabilities.compiled_windows == (1, 4, 32)


def test_loading_tells_layers_and_graphs(close: PairLocation) -> None:
    told: list[LoadProgress] = []
    Engine(threads=1).load(replace(close, neuron=SETTINGS), told.append)
    shares = [progress.fraction for progress in told]
    assert shares == sorted(shares)
    words = [progress.message for progress in told]
    assert words.index("Loading the target: layer 2 of 2") < words.index("Loading the target: graphs, 1 of 7")
    assert words.index("Loading the target: graphs, 7 of 7") < words.index("Loading the draft: layer 1 of 2")


def test_the_threads_of_the_processor_are_not_governed_by_the_devices_times(close: PairLocation) -> None:
    engine = Engine()
    engine.load(replace(close, neuron=SETTINGS), lambda _: None)
    assert engine._governor.threads == 1


def test_a_pair_that_does_not_load_leaves_the_one_before(close: PairLocation, tmp_path: Path) -> None:
    engine = opened(close)
    before = engine.pair
    with pytest.raises(UnsupportedModel, match="int8"):
        engine.load(replace(close, neuron=SETTINGS, target_weights="int8"), lambda _: None)
    with pytest.raises(DeviceUnavailable, match="There is no instance type"):
        engine.load(replace(close, neuron=replace(SETTINGS, rehearse="p5.48xlarge")), lambda _: None)
    assert engine.pair is before
    assert reply(engine)


@pytest.mark.filterwarnings("ignore:KV head replication")  # two heads on so many cores
def test_a_rehearsal_on_another_instance_begins_anew(close: PairLocation) -> None:
    """Not in the fixture's emulator, whose instance is the test's: in one that the backend installs, as a window's process."""
    emulator.uninstall()
    for instance, cores in (("trn1.2xlarge", 2), ("inf2.48xlarge", 24), ("trn1.32xlarge", 32)):
        info = opened(close, rehearse=instance, tp_degree=0).pair.info
        assert f"{cores} NeuronCores" in info.environment.target.runs_on
    opened(close, rehearse="inf2.24xlarge", tp_degree=12)  # on trn1 no topology


def test_a_process_holds_one_pair_on_a_real_device(
    close: PairLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PROCESS", holding.Process(used=True))
    monkeypatch.setattr(loading, "open_library", lambda: imported_library(()))
    with pytest.raises(DeviceUnavailable, match="cannot unload"):
        Engine().load(replace(close, neuron=replace(SETTINGS, rehearse="", tp_degree=2)), lambda _: None)
