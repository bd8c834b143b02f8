"""The whole engine over the emulated library, with the built-in pair: text, launches, turns, the end of the context."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp import __version__
from chatapp.bench.neuron_samples import World
from chatapp.bench.neuron_texts import CHANGING as CHANGING_K
from chatapp.domain.errors import DeviceUnavailable, NotPrepared
from chatapp.domain.events import EndReason, Prefilled, RunEvent
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends import emulator
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.emulator import Launch
from chatapp.engine.backends.emulator.nxdi import uninstall
from chatapp.engine.backends.hf import TransformersModel
from chatapp.engine.backends.neuron import holding
from chatapp.engine.backends.neuron.artefacts import ArtefactStore
from chatapp.engine.backends.neuron.library import imported_library
from chatapp.engine.backends.nxdi import loading
from chatapp.engine.backends.nxdi.arguments import resolved
from chatapp.engine.backends.nxdi.library import make_application
from chatapp.engine.backends.nxdi.nxdi import NxdiModel
from chatapp.engine.contracts import Control
from chatapp.engine.control import RunControl
from chatapp.engine.devices import neuron_library
from chatapp.engine.prompt import Prompt
from chatapp.engine.session import Engine, assemble
from chatapp.resources import builtin_pair
from tests.helpers.engine import Schedule, end_of, ids_of, steps_of

SETTINGS = NeuronSettings(
    library="nxdi",
    rehearse="trn1.32xlarge",
    tp_degree=2,
    positions=512,
    token_buckets=(128, 512),
    context_buckets=(64, 256, 512),
    dtype="f32",
)
QUESTIONS = (
    "How do I start a new chat?",
    "What is 12 + 30?",
    "Tell me a story about a fox.",
    "Write a function that adds two numbers.",
)
CHANGING = [(2, True), (9, True), (16, True), (3, False), (5, True), (1, True), (12, True)]
TOKENS = 24


def asked(text: str, *history: Message, tokens: int = TOKENS, **changes: Any) -> GenerationRequest:
    sampling = SamplingSettings(temperature=0.0, max_tokens=tokens)
    return GenerationRequest((*history, Message(Role.USER, text)), sampling=sampling, **changes)


def reply(engine: Engine, request: GenerationRequest, control: Control | None = None) -> list[RunEvent]:
    return list(engine.run(engine.prepare(request), control or RunControl.of(request)))


def opened(settings: NeuronSettings = SETTINGS, pair: PairLocation | None = None) -> Engine:
    engine = Engine(threads=1)
    engine.load(replace(pair or builtin_pair(), neuron=settings), lambda progress: None)
    return engine


@pytest.fixture
def engine() -> Engine:
    return opened()


@pytest.fixture(scope="module")
def reference() -> Engine:
    """transformers' own model in float32, the target alone."""
    engine = Engine(threads=1, device="cpu")
    pair = replace(builtin_pair(), draft=None)
    files = read_checkpoint(pair.target)
    target = TransformersModel.load(files, "cpu", torch.float32, "float32")
    engine._pair = assemble(pair, target, None, Prompt.load(pair.target, files.eos_ids()), "cpu")
    return engine


def models(engine: Engine) -> tuple[NxdiModel, NxdiModel]:
    draft = engine.pair.draft
    assert draft is not None
    assert isinstance(engine.pair.target.model, NxdiModel)
    assert isinstance(draft.model, NxdiModel)
    return engine.pair.target.model, draft.model


def launches(engine: Engine) -> tuple[Counter[str], Counter[str]]:
    """Since they were last asked for, by kind, as the device counted them: of the target and of the draft."""
    found = []
    for model in models(engine):
        kinds: Counter[str] = Counter()
        for launch, count in emulator.launches.of(model.application).items():
            kinds[launch.kind] += count
        found.append(kinds)
    emulator.launches.clear()
    return found[0], found[1]


def test_what_a_record_says(engine: Engine) -> None:
    info = engine.pair.info
    assert info.environment.backend == "nxdi"
    assert info.environment.simulated
    assert info.environment.device == "emulated NeuronCores"
    assert info.capabilities.compiled_windows == (16,)
    assert info.capabilities.context_limit == 512
    versions = dict(info.environment.versions)
    assert versions["neuronx-distributed-inference"].startswith("emulated by chatapp")


@pytest.mark.parametrize("index", range(len(QUESTIONS)))
def test_greedy_text_is_that_of_the_torch_backend(engine: Engine, reference: Engine, index: int) -> None:
    """Speculation off, each k from 1 to 16 (a quarter of them per question), and k changing at every step."""
    request = asked(QUESTIONS[index])
    expected = ids_of(reply(reference, request))
    assert len(expected) > 5
    controls: list[Control] = [RunControl(4, False), Schedule(CHANGING)]
    controls += [RunControl(k, True) for k in range(1 + index, 17, len(QUESTIONS))]
    for control in controls:
        assert ids_of(reply(engine, request, control)) == expected


def test_turns_reuse_the_kv_and_say_the_same(engine: Engine, reference: Engine) -> None:
    history: list[Message] = []
    request, events = asked(QUESTIONS[0]), list[RunEvent]()
    for turn, question in enumerate(QUESTIONS[:3]):
        request = asked(question, *history)
        events = reply(engine, request, Schedule(CHANGING))
        assert ids_of(events) == ids_of(reply(reference, request))
        prefills = {event.model: event for event in events if isinstance(event, Prefilled)}
        if turn:
            assert prefills["target"].reused > 0
        said = engine.pair.prompt.decode(ids_of(events))
        history += [request.messages[-1], Message(Role.ASSISTANT, said)]
    engine.forget()
    assert ids_of(reply(engine, request)) == ids_of(events)


@pytest.mark.parametrize("k", [2, 5, 16])
def test_launches_of_a_reply(engine: Engine, k: int) -> None:
    """One target launch per verify step; the draft one per drafted token, and one more behind a window that was kept whole."""
    events = reply(engine, asked(QUESTIONS[2], window=k, tokens=40))
    steps = steps_of(events)
    target, draft = launches(engine)
    assert target == {"context": 1, "spec": len(steps) - 1}
    whole = [step.accepted == len(step.drafted) for step in steps[1:-1]]
    assert any(whole) == (k < 16)
    assert draft == {"context": 1, "token": sum(len(step.drafted) for step in steps) + sum(whole)}
    assert sum(len(step.tokens) for step in steps) == len(ids_of(events))


def test_launches_without_speculation(engine: Engine) -> None:
    """There is no graph for one token: each is a padded window."""
    events = reply(engine, asked(QUESTIONS[0], speculation=False))
    target, draft = launches(engine)
    assert target == {"context": 1, "spec": len(ids_of(events)) - 1}
    assert draft.total() == 0


def test_launches_of_a_second_turn(engine: Engine) -> None:
    """What is new goes through one window; where the draft would need a launch for each, it reads all afresh."""
    first = reply(engine, asked(QUESTIONS[0], tokens=60))
    said = engine.pair.prompt.decode(ids_of(first))
    history = (Message(Role.USER, QUESTIONS[0]), Message(Role.ASSISTANT, said))
    launches(engine)
    request = asked("And then?", *history, window=4)
    events = reply(engine, request)
    prefills = {event.model: event for event in events if isinstance(event, Prefilled)}
    target, draft = launches(engine)
    assert prefills["target"].positions <= 16
    assert target == {"spec": len(steps_of(events))}
    assert prefills["draft"].reused == 0
    assert draft["context"] == 1


def test_a_draft_that_lags_a_little_is_brought_up_token_by_token(engine: Engine) -> None:
    """After steps without speculation; its last launch is never for nothing."""
    schedule = Schedule([(4, True), (4, True), (1, False), (4, True)])
    events = reply(engine, asked(QUESTIONS[2], tokens=30), schedule)
    steps = steps_of(events)
    _, draft = launches(engine)
    assert draft["context"] == 1
    lag = 0
    expected = 0
    for step in steps[1:]:
        if step.drafted:
            expected += len(step.drafted) + lag
            lag = int(step.accepted == len(step.drafted))
        else:
            lag += 1
    assert draft["token"] == expected


def long_history(engine: Engine, tokens: int) -> tuple[Message, ...]:
    """A conversation whose next prompt is about `tokens` long."""
    history: list[Message] = []
    while True:
        more = [
            Message(Role.USER, "Tell me more."),
            Message(Role.ASSISTANT, "The fox ran over the hill and back."),
        ]
        if len(engine.prepare(asked("Go on.", *history, *more)).prompt_ids) > tokens:
            return tuple(history)
        history += more


@pytest.mark.parametrize("control", [RunControl(16, True), RunControl(5, False), Schedule(CHANGING)])
def test_up_to_the_end_of_the_context(reference: Engine, control: Control) -> None:
    """The last windows do not fit behind the text: they begin over it. The reply is what it is without that end, cut."""
    positions = 160
    engine = opened(
        replace(SETTINGS, positions=positions, token_buckets=(128, 160), context_buckets=(64, 160))
    )
    request = asked("Go on.", *long_history(engine, 140), tokens=200)
    prompt = len(engine.prepare(request).prompt_ids)
    assert 120 < prompt < positions
    events = reply(engine, request, control)
    expected = ids_of(reply(reference, request))
    found = ids_of(events)
    assert found == expected[: len(found)]
    assert end_of(events).reason is EndReason.CONTEXT_FULL
    # The last token is said and never read.
    assert prompt + len(found) == positions + 1


def test_in_bfloat16_speculation_changes_no_text_either() -> None:
    """Every pass is a window of the same rows, computed alike wherever an id stands in it; the emulator shows that, and no more
    than that: hardware may round by place."""
    engine = opened(replace(SETTINGS, dtype="bf16"))
    for question in QUESTIONS:
        request = asked(question)
        plain = ids_of(reply(engine, request, RunControl(1, False)))
        assert ids_of(reply(engine, request, Schedule(CHANGING))) == plain


@pytest.mark.statistical
@pytest.mark.parametrize("k", [5, CHANGING_K])
def test_what_is_sampled_is_the_targets(tmp_path: Path, k: int) -> None:
    """Over three ids, against the exact distribution. Perfect draws would be off by 0.02 on average, and by 0.05 in less than
    one of a thousand runs; the seeds are fixed."""
    settings = replace(
        SETTINGS, positions=64, token_buckets=(64,), context_buckets=(32,), windows=(2, 4, 8, 16)
    )
    distance = World(tmp_path, builtin_pair().target, tokens=5, settings=settings).measure(k, 300)
    assert distance.pairs < 0.05
    assert distance.tokens_per_step > 1.2


# -- loading ----------------------------------------------------------------------------------------------------------


class Hardware:
    """The emulator taken for the device: what is not rehearsed must be prepared."""

    def __init__(self, root: Path) -> None:
        self.settings = replace(SETTINGS, rehearse="", artefacts=root, positions=256, token_buckets=(256,))
        self.settings = replace(self.settings, context_buckets=(64, 256))
        self.store = ArtefactStore(root)

    def prepare(self, **changes: Any) -> None:
        settings = resolved(replace(self.settings, **changes))
        pair = builtin_pair()
        assert pair.draft is not None
        for role, directory in (("target", pair.target), ("draft", pair.draft)):
            side: Any = role
            files = read_checkpoint(directory)
            recipe = loading.recipe_of(files, settings, side)
            with self.store.begun(recipe) as folder:
                made = make_application(files, settings, side)
                made.compile(str(folder))
                self.store.finish(recipe, graphs=3, seconds=1.0, version=__version__)


@pytest.fixture
def hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hardware:
    monkeypatch.setattr(holding, "PROCESS", holding.Process())
    return Hardware(tmp_path / "artefacts")


def test_a_pair_that_is_not_prepared_is_said_to_be(hardware: Hardware) -> None:
    with pytest.raises(NotPrepared, match=r"target \(target\) is not prepared for this device"):
        opened(hardware.settings)


def test_a_prepared_pair_loads_and_a_process_holds_one(hardware: Hardware) -> None:
    hardware.prepare()
    engine = opened(hardware.settings)
    assert not engine.pair.info.environment.simulated
    assert ids_of(reply(engine, asked(QUESTIONS[0])))
    with pytest.raises(DeviceUnavailable, match="hold the pair that was loaded before"):
        opened(hardware.settings)
    with emulator.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("chatapp.engine.backends.neuron.loading.open_library", lambda: imported_library(()))
        with pytest.raises(DeviceUnavailable, match="hold the pair that was loaded before"):
            opened(replace(hardware.settings, library="tnx"))


def test_a_device_that_could_not_be_had_may_be_asked_again(hardware: Hardware) -> None:
    hardware.prepare()
    emulator.behaviour.devices = False
    with pytest.raises(DeviceUnavailable, match="no Neuron device"):
        opened(hardware.settings)
    emulator.behaviour.devices = True
    assert ids_of(reply(opened(hardware.settings), asked(QUESTIONS[0])))


def test_what_is_prepared_for_other_settings_is_named(hardware: Hardware) -> None:
    hardware.prepare(tp_degree=1)
    with pytest.raises(NotPrepared, match=r"differs in NeuronCores \(tp\): 1 prepared, 2 asked for"):
        opened(hardware.settings)


def test_compiling_here_only_where_that_is_allowed(hardware: Hardware) -> None:
    engine = Engine(threads=1, may_compile=True)
    engine.load(replace(builtin_pair(), neuron=hardware.settings), lambda progress: None)
    assert ids_of(reply(engine, asked(QUESTIONS[0])))
    assert hardware.store.manifests() == []


def test_auto_takes_the_library_that_is_installed() -> None:
    auto = NeuronSettings()
    assert neuron_library(auto) == "nxdi", "the emulator of this one alone is in place"
    assert neuron_library(replace(auto, rehearse="inf2.xlarge")) == "tnx"
    with emulator.installed():
        assert neuron_library(auto) == "tnx"
    assert neuron_library(replace(auto, library="nxdi")) == "nxdi"
    uninstall()
    assert neuron_library(auto) == "tnx"


def test_the_graph_of_each_launch_is_one_that_was_compiled(engine: Engine) -> None:
    reply(engine, asked(QUESTIONS[1]), Schedule(CHANGING))
    target, draft = (set(emulator.launches.of(model.application)) for model in models(engine))
    assert target <= {
        *(Launch("context", bucket, bucket) for bucket in (64, 256, 512)),
        *(Launch("spec", 16, bucket) for bucket in (128, 512)),
    }
    assert draft <= {
        *(Launch("context", bucket, bucket) for bucket in (64, 256, 512)),
        *(Launch("token", 1, bucket) for bucket in (128, 512)),
    }
