"""The pair that comes with the application: speculation changes its speed and never its text, to the token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from chatapp.domain.events import Prefilled, RunEvent
from chatapp.domain.request import MAX_WINDOW, GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.decoder.whole import WholeDecoder
from chatapp.engine.contracts import Control
from chatapp.engine.control import RunControl
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.session import Engine
from chatapp.resources import builtin_pair
from pair_maker.kinds import KINDS
from tests.helpers.engine import Schedule, end_of, ids_of, steps_of

TOKENS = 32
GREEDY = SamplingSettings(temperature=0.0, max_tokens=TOKENS)
CHANGING = [(2, True), (9, True), (16, True), (3, False), (5, True), (1, True), (12, True)]


def held_out_prompts(count: int) -> list[tuple[Message, ...]]:
    """Conversations up to a question that waits for its answer, of every kind in turn, none of them seen in training."""
    rng = random.Random(2024)
    samples = [KINDS[index % len(KINDS)].sample(rng, True) for index in range(count)]
    return [tuple(Message(Role(role), text) for role, text in sample.prompt) for sample in samples]


PROMPTS = held_out_prompts(50)


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine(threads=1, device="cpu")
    engine.load(builtin_pair(), lambda progress: None)
    return engine


def reply(engine: Engine, request: GenerationRequest, control: Control | None = None) -> list[RunEvent]:
    return list(engine.run(engine.prepare(request), control or RunControl.of(request)))


def difference(engine: Engine, request: GenerationRequest, plain: Sequence[int], fast: Sequence[int]) -> str:
    """What to report where two texts part: the place, and by how much the target preferred its token."""
    at = next(
        (i for i, (a, b) in enumerate(zip(plain, fast, strict=False)) if a != b), min(len(plain), len(fast))
    )
    sequence: CachedSequence = engine.pair.target
    engine.forget()
    ids = [*engine.prepare(request).prompt_ids, *plain[:at]]
    logits = sequence.feed(ids, lambda: False)
    assert logits is not None
    top = torch.topk(logits[0], 2)
    margin = float(top.values[0] - top.values[1])
    return f"{request.messages[-1].content!r} parts at token {at}: logit margin {margin:.6f} between {top.indices.tolist()}"


def test_both_sides_run_on_the_fast_path_the_target_with_exact_rows(engine: Engine) -> None:
    assert engine.pair.draft is not None
    target = engine.pair.target.model
    assert isinstance(target, WholeDecoder)
    assert target.exact_rows
    assert isinstance(engine.pair.draft.model, WholeDecoder)


def test_greedy_text_is_the_same_for_every_k_and_without_speculation(engine: Engine) -> None:
    """50 held-out prompts: off, against one fixed k (each of 2…16 at least three times) and k changing at every step."""
    different: list[str] = []
    accepted = 0
    for index, messages in enumerate(PROMPTS):
        off = GenerationRequest(messages, sampling=GREEDY, speculation=False)
        plain = ids_of(reply(engine, off))
        k = 2 + index % (MAX_WINDOW - 1)
        on = GenerationRequest(messages, sampling=GREEDY, window=k)
        for control in (RunControl(k, True), Schedule(CHANGING)):
            events = reply(engine, on, control)
            accepted += sum(step.accepted for step in steps_of(events))
            if ids_of(events) != plain:
                different.append(difference(engine, off, plain, ids_of(events)))
    assert not different, "\n".join(different)
    assert accepted > 50, "the draft is of some use"


def test_coupled_text_of_a_seed_is_the_same_for_every_k_and_without_speculation(engine: Engine) -> None:
    different: list[str] = []
    for index, messages in enumerate(PROMPTS[:12]):
        sampling = SamplingSettings(temperature=0.8, max_tokens=TOKENS, seed=index)
        off = GenerationRequest(messages, sampling=sampling, acceptor="coupled", speculation=False)
        plain = ids_of(reply(engine, off))
        for control in (RunControl(2 + index, True, "coupled"), Schedule(CHANGING, "coupled")):
            fast = ids_of(
                reply(engine, GenerationRequest(messages, sampling=sampling, acceptor="coupled"), control)
            )
            if fast != plain:
                different.append(difference(engine, off, plain, fast))
    assert not different, "\n".join(different)


def test_the_second_turn_reads_only_what_is_new(engine: Engine) -> None:
    engine.forget()
    messages = PROMPTS[0]
    first = reply(engine, GenerationRequest(messages, sampling=GREEDY))
    said = "".join(token.text for step in steps_of(first) for token in step.tokens) + end_of(first).tail_text
    again = (*messages, Message(Role.ASSISTANT, said), Message(Role.USER, "Tell me more, please."))
    request = GenerationRequest(again, sampling=GREEDY)
    length = len(engine.prepare(request).prompt_ids)
    second = reply(engine, request)
    target, draft = [event for event in second if isinstance(event, Prefilled)]
    assert (target.model, draft.model) == ("target", "draft")
    # New: the reply's last token (it was pending), the end of the message, a role, six words or so, an end, a role.
    assert target.reused == end_of(first).target_cached
    assert target.positions == length - target.reused < 20
    assert draft.positions < 22
    engine.forget()
    assert ids_of(reply(engine, request)) == ids_of(second)


def test_edits_regenerations_and_branches_reuse_the_common_prefix(engine: Engine) -> None:
    """Whatever was said last, the KV of the longest common prefix stays, and the text is that of a cold start."""
    question = Message(Role.USER, "How do I start a new chat?")
    answer = Message(Role.ASSISTANT, "Press Ctrl+N.")
    conversations = {
        "first": (question,),
        "branch": (question, answer, Message(Role.USER, "And how do I export it?")),
        "edit of the last message": (question, answer, Message(Role.USER, "And how do I open a record?")),
        "regeneration": (question, answer, Message(Role.USER, "And how do I open a record?")),
        "back to the first branch": (question, answer, Message(Role.USER, "And how do I export it?")),
        "edit of the first message": (Message(Role.USER, "How do I stop a reply?"), answer, question),
    }
    cold: dict[str, list[int]] = {}
    for name, messages in conversations.items():
        engine.forget()
        cold[name] = ids_of(reply(engine, GenerationRequest(messages, sampling=GREEDY)))
    engine.forget()
    for name, messages in conversations.items():
        request = GenerationRequest(messages, sampling=GREEDY)
        ids = list(engine.prepare(request).prompt_ids)
        cached = list(engine.pair.target.ids)
        common = next((i for i, (a, b) in enumerate(zip(ids, cached, strict=False)) if a != b), None)
        common = min(len(ids), len(cached)) if common is None else common
        events = reply(engine, request)
        prefill = next(event for event in events if isinstance(event, Prefilled))
        assert prefill.reused == min(common, len(ids) - 1), name
        assert ids_of(events) == cold[name], name
        if name == "regeneration":
            assert prefill.positions == 1, "only the pending token is read again"


def test_an_int8_target_is_exact_in_itself_and_says_what_it_is() -> None:
    int8 = Engine(threads=1, device="cpu")
    info = int8.load(replace(builtin_pair(), target_weights="int8"), lambda progress: None)
    assert "int8" in info.environment.target.dtype
    assert "int8" in info.environment.target.runs_on
    for messages in PROMPTS[:6]:
        off = GenerationRequest(messages, sampling=GREEDY, speculation=False)
        plain = ids_of(reply(int8, off))
        assert ids_of(reply(int8, off, Schedule(CHANGING))) == plain
