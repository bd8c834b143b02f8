"""Models that come through transformers: rewinding, the loop on top of them, and pairs of both paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MambaConfig

from chatapp.domain.errors import LoadFailed, ModelError, UnsupportedModel, WeightsDamaged
from chatapp.domain.events import EndReason, Prefilled, RunEvent
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.domain.tokens import TokenKind
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.decoder.linears import bfloat16_available
from chatapp.engine.backends.decoder.whole import WholeDecoder
from chatapp.engine.backends.hf import TransformersModel
from chatapp.engine.backends.loading import load_model
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine
from tests.helpers import checkpoints
from tests.helpers.engine import end_of, ids_of, steps_of, tokens_of

CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": checkpoints.gpt2_config,
    "yarn": checkpoints.yarn_config,
    "mistral": checkpoints.mistral_config,  # its window of 24 positions is shorter than the conversation
}
IDS = [(index * 13 + 5) % checkpoints.VOCABULARY for index in range(60)]


@pytest.fixture(scope="module", params=CONFIGS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp(request.param), CONFIGS[request.param]())


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp("llama"), checkpoints.llama_config())


def load(path: Path) -> TransformersModel:
    model = load_model(read_checkpoint(path), "cpu", role="target")
    assert isinstance(model, TransformersModel)
    return model


def test_rewound_logits_are_those_of_one_pass(directory: Path) -> None:
    model = load(directory)
    whole = model.forward(IDS, 0, len(IDS))
    assert whole.shape == (len(IDS), model.vocabulary)
    for start in (50, 30, 31, 3, 0, 1):
        model.forward([7, 8, 9], start, 1)
        again = model.forward(IDS[start : start + 8], start, 8)
        assert torch.allclose(again, whole[start : start + 8], atol=1e-3)
        model.forward(IDS, 0, 1)


def test_what_runs_and_why_is_said(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "gpt2", checkpoints.gpt2_config())
    checkpoints.save(tmp_path / "mistral", checkpoints.mistral_config(), dtype=torch.bfloat16)
    checkpoints.save(tmp_path / "half", checkpoints.yarn_config(), dtype=torch.float16)
    assert load(tmp_path / "gpt2").info.runs_on == "transformers, float32, because: architecture gpt2"
    half = load(tmp_path / "half").info
    assert half.dtype == "float32"
    assert half.runs_on.startswith(
        "transformers, float32 (processors are slow in the checkpoint's float16), "
    )
    if bfloat16_available():
        kept = load(tmp_path / "mistral").info
        assert kept.dtype == "bfloat16"
        assert kept.runs_on.endswith("because: attention over a sliding window of 24 positions")


def test_int8_is_for_the_fast_path_alone(directory: Path) -> None:
    with pytest.raises(UnsupportedModel, match="cannot run with int8 weights: it runs on transformers"):
        load_model(read_checkpoint(directory), "cpu", role="draft", weights="int8")


def test_what_a_pass_must_read(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "tied", checkpoints.yarn_config())
    checkpoints.save(tmp_path / "untied", checkpoints.yarn_config(tie_word_embeddings=False))
    tied, untied = load(tmp_path / "tied"), load(tmp_path / "untied")
    # Two layers of two KV heads of 8 numbers, keys and values, 4 bytes each.
    assert tied.traffic(1, 10) - tied.traffic(1, 9) == 4 * 2 * 2 * 2 * 8
    # Two copies of the embedding are stored; a pass reads one whole and a row of the other.
    assert untied.traffic(1, 0) - tied.traffic(1, 0) == 4 * 32
    assert untied.traffic(3, 0) - untied.traffic(2, 1) == 4 * 32


def request(
    text: str = "The quick brown fox?",
    *,
    temperature: float = 0.0,
    acceptor: str = "rejection",
    window: int = 5,
    speculation: bool = True,
    history: tuple[Message, ...] = (),
    max_tokens: int = 40,
) -> GenerationRequest:
    return GenerationRequest(
        (*history, Message(Role.USER, text)),
        sampling=SamplingSettings(temperature=temperature, max_tokens=max_tokens, seed=4),
        window=window,
        speculation=speculation,
        acceptor=acceptor,
    )


def opened(target: Path, draft: Path | None) -> Engine:
    engine = Engine(threads=1, device="cpu")
    engine.load(PairLocation("tiny", target, draft), lambda progress: None)
    return engine


def reply(engine: Engine, asked: GenerationRequest) -> list[RunEvent]:
    control = RunControl.of(asked)
    return list(engine.run(engine.prepare(asked), control))


@pytest.mark.parametrize(("temperature", "acceptor"), [(0.0, "rejection"), (1.0, "coupled")])
def test_one_text_with_speculation_on_and_off(directory: Path, temperature: float, acceptor: str) -> None:
    engine = opened(directory, directory)
    plain = reply(engine, request(temperature=temperature, acceptor=acceptor, speculation=False))
    for k in (2, 5, 16):
        events = reply(engine, request(temperature=temperature, acceptor=acceptor, window=k))
        assert ids_of(events) == ids_of(plain)
        assert TokenKind.ACCEPTED in {token.kind for token in tokens_of(events)}


def test_a_fast_target_with_a_draft_of_another_architecture(directory: Path, llama: Path) -> None:
    engine = opened(llama, directory)
    assert isinstance(engine.pair.target.model, WholeDecoder)
    assert engine.pair.draft is not None
    assert isinstance(engine.pair.draft.model, TransformersModel)
    assert engine.pair.info.environment.backend == "decoder"
    for temperature, acceptor in ((0.0, "rejection"), (1.0, "coupled")):
        plain = reply(engine, request(temperature=temperature, acceptor=acceptor, speculation=False))
        events = reply(engine, request(temperature=temperature, acceptor=acceptor, window=4))
        assert ids_of(events) == ids_of(plain)
        assert any(step.drafted for step in steps_of(events))


def test_the_draft_of_one_turn_is_good_for_the_next(directory: Path, llama: Path) -> None:
    engine = opened(llama, directory)
    first = reply(engine, request(max_tokens=12))
    said = engine.pair.prompt.decode(ids_of(first))
    history = (request().messages[0], Message(Role.ASSISTANT, said))
    second = reply(engine, request("And then?", history=history, max_tokens=12))
    reused = [(event.model, event.reused >= 10) for event in second if isinstance(event, Prefilled)]
    assert reused == [("target", True), ("draft", True)]
    engine.forget()
    cold = reply(engine, request("And then?", history=history, max_tokens=12))
    assert ids_of(cold) == ids_of(second)
    assert all(
        event.reused == 0 for event in cold if isinstance(event, Prefilled) and event.model == "target"
    )


def test_a_pass_that_failed_half_way_leaves_nothing_behind(directory: Path) -> None:
    """The first layer's cache is then longer than the second's."""
    engine = opened(directory, None)
    backend = engine.pair.target.model
    assert isinstance(backend, TransformersModel)
    inner = backend._model.base_model
    second = (inner.h if hasattr(inner, "h") else inner.layers)[1]
    passes = 0

    def fail(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 4:
            raise RuntimeError("out of memory")

    whole = ids_of(reply(engine, request()))
    hook = second.register_forward_pre_hook(fail)
    broken = reply(engine, request())
    hook.remove()
    assert end_of(broken).reason is EndReason.FAILED
    assert 0 < len(ids_of(broken)) < len(whole)
    assert ids_of(reply(engine, request())) == whole


def test_a_model_without_rewindable_cache_is_refused(tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=checkpoints.VOCABULARY, hidden_size=32, state_size=8, num_hidden_layers=2)
    checkpoints.save(tmp_path, config)
    with pytest.raises(UnsupportedModel, match=r"Mamba.* cannot be rewound") as raised:
        load(tmp_path)
    assert raised.value.remedy


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    """transformers would fill it with random numbers."""
    checkpoints.save(tmp_path, checkpoints.yarn_config())
    checkpoints.change_weights(tmp_path, model__layers__1__mlp__up_proj__weight=None)
    with pytest.raises(WeightsDamaged, match=r"layers\.1\.mlp\.up_proj\.weight"):
        load(tmp_path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoints.gpt2_config())
    checkpoints.change_weights(tmp_path, transformer__ln_f__weight=torch.full((32,), float("nan")))
    with pytest.raises(WeightsDamaged, match="not finite"):
        load(tmp_path)


def test_weights_of_the_wrong_shape(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoints.yarn_config())
    checkpoints.change_weights(tmp_path, model__norm__weight=torch.ones(7))
    with pytest.raises(ModelError, match="norm"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["no_such_model", ""])
def test_an_architecture_that_nobody_knows(tmp_path: Path, name: str) -> None:
    checkpoints.save(tmp_path, checkpoints.yarn_config())
    checkpoints.change_config(tmp_path, model_type=name, architectures=["Nobody"])
    with pytest.raises(LoadFailed, match="transformers cannot load"):
        load(tmp_path)


def test_steps_of_a_real_pair_are_plain_values(directory: Path, llama: Path) -> None:
    events = reply(opened(llama, directory), request(max_tokens=10))
    for step in steps_of(events):
        said = [(token.id, token.text, token.target_prob) for token in step.tokens]
        drafted = [(draft.id, draft.text, draft.draft_prob) for draft in step.drafted]
        for values in (*said, *drafted):
            assert [type(value) for value in values] == [int, str, float]
