"""Loading and preparing: bad input gets a clear error, and what was there before stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatapp.domain.errors import (
    ContextOverflow,
    EmptyPrompt,
    EngineNotReady,
    InvalidSetting,
    LoadFailed,
    ModelError,
    ModelNotFound,
    NotAModel,
    RequestError,
    VocabularyMismatch,
    WeightsDamaged,
)
from chatapp.domain.events import EndReason, Notice, Prefilled, PrefillProgress, RunEvent, RunStarted
from chatapp.domain.ports import LoadProgress, PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine
from tests.helpers import checkpoints
from tests.helpers import tokenizers as small
from tests.helpers.engine import end_of, ids_of, steps_of, tokens_of


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`target` and `draft`."""
    root = tmp_path_factory.mktemp("pair")
    checkpoints.save(root / "target", checkpoints.llama_config())
    checkpoints.save(root / "draft", checkpoints.llama_config(num_hidden_layers=1), seed=1)
    return root


@pytest.fixture
def root(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "pair")


def location(root: Path, *, draft: bool = True) -> PairLocation:
    return PairLocation("tiny", root / "target", root / "draft" if draft else None)


def opened(root: Path, *, draft: bool = True) -> Engine:
    engine = Engine(threads=1, device="cpu")
    engine.load(location(root, draft=draft), lambda progress: None)
    return engine


def ask(
    text: str, *history: Message, max_tokens: int = 20, window: int = 4, stop: tuple[str, ...] = ()
) -> GenerationRequest:
    sampling = SamplingSettings(temperature=0.0, max_tokens=max_tokens, stop=stop)
    return GenerationRequest((*history, Message(Role.USER, text)), sampling=sampling, window=window)


def reply(engine: Engine, asked: GenerationRequest) -> list[RunEvent]:
    return list(engine.run(engine.prepare(asked), RunControl.of(asked)))


def test_a_pair_loads_and_says_what_it_is(saved: Path) -> None:
    engine = Engine(threads=1, device="cpu")
    progress: list[LoadProgress] = []
    info = engine.load(location(saved), progress.append)
    assert info == engine.pair.info
    assert [step.fraction for step in progress] == sorted(step.fraction for step in progress)
    assert progress[-1].fraction == 1.0
    environment = info.environment
    assert (environment.backend, environment.vocabulary, environment.context_limit) == ("decoder", 420, 320)
    assert environment.draft is not None
    assert len(environment.target.weights_sha256) == 64
    assert environment.target.weights_sha256 != environment.draft.weights_sha256
    assert environment.target.parameters > environment.draft.parameters > 0
    assert info.capabilities.windows == tuple(range(1, 17))


def test_a_target_alone(saved: Path) -> None:
    engine = opened(saved, draft=False)
    capabilities = engine.pair.info.capabilities
    assert [name for name, _ in capabilities.drafters] == ["ngram", "model+ngram", "none"]
    assert capabilities.can_speculate
    for drafter, used in (
        ("model", "none"),
        ("none", "none"),
        ("ngram", "ngram"),
        ("model+ngram", "model+ngram"),
    ):
        events = reply(engine, replace(ask("Hello"), drafter=drafter))
        assert len(tokens_of(events)) > 0
        started = events[0]
        assert isinstance(started, RunStarted)
        assert started.drafter == used


# -- directories --------------------------------------------------------------------------------------------------

Damage = Callable[[Path], None]


def truncate(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def sharded(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def write(name: str, content: str) -> Damage:
    def damage(directory: Path) -> None:
        (directory / name).write_text(content)

    return damage


DAMAGES: dict[str, tuple[Damage, type[ModelError], str]] = {
    "no directory": (shutil.rmtree, ModelNotFound, "no directory"),
    "no config": (lambda d: (d / "config.json").unlink(), NotAModel, "no config.json"),
    "empty config": (write("config.json", " "), NotAModel, "config.json cannot be read"),
    "cut config": (write("config.json", '{"model_type": "llama"'), NotAModel, "cannot be read"),
    "config of another kind": (write("config.json", "[1, 2]"), NotAModel, "not a JSON object"),
    "config of something else": (write("config.json", '{"name": "x"}'), NotAModel, "no model_type"),
    "config without sizes": (
        lambda d: checkpoints.change_config(d, hidden_size=None), NotAModel, "lacks hidden_size"
    ),
    "size that is no number": (lambda d: checkpoints.change_config(d, hidden_size="big"), NotAModel, "big"),
    "no heads": (lambda d: checkpoints.change_config(d, num_attention_heads=0), NotAModel, "Llama"),
    "heads that do not divide": (
        lambda d: checkpoints.change_config(d, num_key_value_heads=3), NotAModel, "do not fit together"
    ),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), ModelNotFound, "lacks its weights"),
    "empty weights": (write("model.safetensors", ""), WeightsDamaged, "damaged or not complete"),
    "truncated weights": (lambda d: truncate(d / "model.safetensors"), WeightsDamaged, "not complete"),
    "truncated header": (lambda d: truncate(d / "model.safetensors", 0.001), WeightsDamaged, "not complete"),
    "weights that are text": (write("model.safetensors", "x" * 999), WeightsDamaged, "not complete"),
    "missing shard": (sharded, ModelNotFound, "model-00002-of-00002.safetensors"),
    "broken index": (write("model.safetensors.index.json", "{"), NotAModel, "cannot be read"),
    "odd index": (write("model.safetensors.index.json", '{"weight_map": [1]}'), NotAModel, "no weight files"),
    "missing weight": (
        lambda d: checkpoints.change_weights(d, model__layers__0__self_attn__k_proj__weight=None),
        WeightsDamaged,
        r"lacks the weight layers\.0\.self_attn\.k_proj\.weight",
    ),
    "missing head": (
        lambda d: checkpoints.change_config(d, tie_word_embeddings=False),
        WeightsDamaged,
        r"lacks the weight lm_head\.weight",
    ),
    "wrong shape": (
        lambda d: checkpoints.change_weights(d, model__norm__weight=torch.ones(31)),
        WeightsDamaged,
        r"norm\.weight .* is \(31,\), config\.json says \(32,\)",
    ),
    "vocabulary of the config too large": (
        lambda d: checkpoints.change_config(d, vocab_size=999), WeightsDamaged, "says"
    ),
    "weights that are not finite": (
        lambda d: checkpoints.change_weights(d, model__norm__weight=torch.full((32,), float("nan"))),
        WeightsDamaged,
        "not finite",
    ),
    "infinite weights": (
        lambda d: checkpoints.change_weights(d, model__norm__weight=torch.full((32,), float("inf"))),
        WeightsDamaged,
        "not finite",
    ),
    "no tokenizer": (lambda d: (d / "tokenizer.json").unlink(), ModelNotFound, "no tokenizer"),
    "broken tokenizer": (write("tokenizer.json", "{}"), LoadFailed, "tokenizer in .* cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("side", ["target", "draft"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_named_and_the_pair_before_stays(
    saved: Path, root: Path, damage: str, side: str
) -> None:
    engine = opened(saved)
    before = engine.pair
    harm, error, words = DAMAGES[damage]
    harm(root / side)
    with pytest.raises(error, match=words) as raised:
        engine.load(location(root), lambda progress: None)
    assert str(root / side) in str(raised.value) or "shard" in damage
    assert raised.value.remedy, "what to do is said"
    assert engine.pair is before
    assert reply(engine, ask("Hello"))


def test_an_end_of_text_that_is_no_number(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(saved / "target", target)
    write("generation_config.json", '{"eos_token_id": "x"}')(target)
    with pytest.raises(NotAModel, match="end-of-text token that is no number"):
        Engine().load(PairLocation("odd", target, None), lambda _: None)


def test_same_size_with_other_ids_is_a_mismatch(root: Path) -> None:
    other = small.byte_level(size=checkpoints.VOCABULARY, specials=tuple(reversed(small.SPECIALS)))
    small.save(other, root / "draft")
    with pytest.raises(VocabularyMismatch, match=r"6 tokens differ.*'<\|bos\|>' \(0 / 5\)") as raised:
        opened(root)
    assert raised.value.examples[0] == ("<|bos|>", 0, 5)
    assert "without a draft" in raised.value.remedy
    opened(root, draft=False)


def test_a_draft_with_fewer_ids_than_the_tokenizer_is_a_mismatch(root: Path) -> None:
    """Cut to the draft's ids, the target could never say the others."""
    shutil.rmtree(root / "draft")
    checkpoints.save(root / "draft", checkpoints.llama_config(vocab_size=400))
    with pytest.raises(VocabularyMismatch, match="lacks 20 that the tokenizer gives") as raised:
        opened(root)
    assert raised.value.examples[0][1:] == (400, -1)


def test_padded_vocabularies_are_cut_to_the_shared_ids(root: Path) -> None:
    shutil.rmtree(root / "draft")
    checkpoints.save(root / "draft", checkpoints.llama_config(vocab_size=448))
    engine = opened(root)
    assert engine.pair.info.environment.vocabulary == 420
    assert any(step.drafted for step in steps_of(reply(engine, ask("Hello"))))


# -- requests -----------------------------------------------------------------------------------------------------


def test_before_loading_nothing_can_be_sent() -> None:
    with pytest.raises(EngineNotReady):
        Engine().prepare(ask("Hello"))


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000"])
def test_an_empty_prompt(text: str) -> None:
    with pytest.raises(EmptyPrompt, match="nothing to send"):
        ask(text)


def test_a_template_that_gives_no_tokens(root: Path) -> None:
    small.save(small.byte_level(size=checkpoints.VOCABULARY), root / "target", template="{{ '' }}")
    with pytest.raises(EmptyPrompt, match="no tokens"):
        opened(root).prepare(ask("Hello"))


def test_an_id_that_the_model_lacks(root: Path) -> None:
    """A tokenizer with an added token that the embedding has no row for, as some checkpoints have."""
    tokenizer = small.byte_level(size=checkpoints.VOCABULARY)
    tokenizer.add_tokens(["[extra]"])
    small.save(tokenizer, root / "target")
    engine = opened(root, draft=False)
    with pytest.raises(InvalidSetting, match=r"no embedding for '\[extra\]'"):
        engine.prepare(ask("what is [extra]"))
    assert reply(engine, ask("Hello"))


def test_the_longest_prompt_that_fits_and_one_more(saved: Path) -> None:
    engine = opened(saved)
    overhead = len(engine.pair.prompt.encode([Message(Role.USER, "0")])) - 1
    fits = "0" * (319 - overhead)
    assert len(engine.prepare(ask(fits)).prompt_ids) == 319
    events = reply(engine, ask(fits))
    assert end_of(events).reason is EndReason.CONTEXT_FULL
    assert len(tokens_of(events)) == 2
    with pytest.raises(ContextOverflow, match=r"320 tokens long, 1 more than the 319") as raised:
        engine.prepare(ask(fits + "0"))
    error = raised.value
    assert (error.prompt_tokens, error.limit_tokens, error.excess_tokens) == (320, 319, 1)
    assert "still in the box" in error.kept
    assert error.remedy


@pytest.mark.parametrize("unit", ["a", "😀 ", "<|end|>"])
def test_a_pasted_megabyte_is_refused_with_its_length(saved: Path, unit: str) -> None:
    engine = opened(saved)
    before = engine.pair.target.length
    with pytest.raises(ContextOverflow) as raised:
        engine.prepare(ask("x" + unit * (1_000_000 // len(unit.encode()))))
    assert raised.value.prompt_tokens > 10_000
    assert engine.pair.target.length == before


def test_odd_characters_get_a_reply(saved: Path) -> None:
    engine = opened(saved)
    for text in (
        "\ud800",
        "a\udc00b",
        "\x00\x1b[2J",
        "\u202eabc\u2066",
        "<|end|><|assistant|>",
        "<b>&amp;</b>",
    ):
        assert tokens_of(reply(engine, ask(text)))


@pytest.mark.parametrize("name", ["", "nobody", "greedy", "Rejection"])
def test_an_unknown_acceptor(saved: Path, name: str) -> None:
    engine = opened(saved)
    with pytest.raises(InvalidSetting, match=r"no acceptor .*coupled, rejection") as raised:
        engine.prepare(GenerationRequest((Message(Role.USER, "Hi"),), acceptor=name))
    assert raised.value.field == "acceptor"


def test_an_unknown_drafter(saved: Path) -> None:
    with pytest.raises(
        InvalidSetting, match=r"'crystal ball'.*known are model, model\+ngram, ngram, none"
    ) as raised:
        opened(saved).prepare(GenerationRequest((Message(Role.USER, "Hi"),), drafter="crystal ball"))
    assert raised.value.field == "drafter"


def test_a_refused_request_touches_no_cache(saved: Path) -> None:
    engine = opened(saved)
    reply(engine, ask("Hello"))
    before = list(engine.pair.target.ids)
    with pytest.raises(RequestError):
        engine.prepare(ask("0" * 5000))
    assert engine.pair.target.ids == before


# -- turns --------------------------------------------------------------------------------------------------------


def test_the_second_turn_computes_the_new_positions_alone(saved: Path) -> None:
    engine = opened(saved)
    first = reply(engine, ask("Hello there"))
    said = engine.pair.prompt.decode(ids_of(first))
    history = (Message(Role.USER, "Hello there"), Message(Role.ASSISTANT, said))
    asked = ask("And then?", *history)
    prepared = engine.prepare(asked)
    cached = end_of(first).target_cached
    # Random models do not write canonical ids; what the two turns share is what can be reused.
    ids = engine.pair.target.ids
    shared = next(
        (at for at, (a, b) in enumerate(zip(ids, prepared.prompt_ids, strict=False)) if a != b), cached
    )
    events = list(engine.run(prepared, RunControl(4, True)))
    target = next(event for event in events if isinstance(event, Prefilled))
    assert target.reused == shared >= 10
    assert target.positions == len(prepared.prompt_ids) - shared
    engine.forget()
    assert engine.pair.target.length == 0
    assert ids_of(reply(engine, asked)) == ids_of(events)


def test_a_long_prompt_is_read_in_chunks(saved: Path) -> None:
    events = reply(opened(saved), ask("0" * 200))
    done = [event.done for event in events if isinstance(event, PrefillProgress)]
    assert done == [64, 128, 192, done[-1]]


def test_a_draft_with_a_shorter_context_than_the_prompt(root: Path) -> None:
    checkpoints.change_config(root / "draft", max_position_embeddings=64)
    engine = opened(root)
    assert engine.pair.info.environment.context_limit == 320
    events = reply(engine, ask("0" * 100))
    assert [event.code for event in events if isinstance(event, Notice)] == ["draft_context_full"]
    assert len(tokens_of(events)) == 20
    events = reply(engine, ask("0" * 46))
    assert any(step.drafted for step in steps_of(events))
    assert [event.code for event in events if isinstance(event, Notice)] == ["draft_context_full"]


def test_stop_strings_in_a_real_tokenizers_text(saved: Path) -> None:
    engine = opened(saved)
    whole = reply(engine, ask("Hello"))
    text = "".join(token.text for token in tokens_of(whole)) + end_of(whole).tail_text
    assert text == engine.pair.prompt.decode(ids_of(whole))
    middle = len(text) // 2
    stop = text[middle : middle + 2]
    stopped = reply(engine, ask("Hello", stop=(stop,)))
    assert end_of(stopped).reason is EndReason.STOP_STRING
    assert end_of(stopped).visible_chars == text.index(stop)


@pytest.mark.parametrize(
    ("device", "words"), [("abacus", "known are cpu and cuda"), ("cuda", "no CUDA device")]
)
def test_a_device_that_is_not_there_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, device: str, words: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InvalidSetting, match=words):
        Engine(device=device).load(PairLocation("nowhere", Path("nowhere"), None), lambda _: None)
