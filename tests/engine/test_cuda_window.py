"""Windows on the device, on the CPU: the same replies as step by step, and nothing but one copy to the host."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from chatapp.bench.chi_square import chi_square_p
from chatapp.domain.events import EndReason, Notice, RunEvent
from chatapp.domain.request import SamplingSettings
from chatapp.domain.tokens import DraftOutcome
from chatapp.engine.contracts import FusedStep, FusedWindow
from chatapp.engine.control import RunControl
from chatapp.engine.randomness import Streams
from chatapp.engine.sampling import Processor
from tests.helpers.device import PROMPT, DevicePair, device_model, tiny_pair, tiny_shape
from tests.helpers.engine import check_step, end_of, ids_of, steps_of

GREEDY = SamplingSettings(temperature=0.0, max_tokens=60)
WARM = SamplingSettings(temperature=0.9, top_p=1.0, max_tokens=60, seed=11)
SETTINGS = {
    "plain": WARM,
    "top-p": replace(WARM, top_p=0.8),
    "top-k": replace(WARM, top_k=6),
    "all": replace(WARM, top_k=20, top_p=0.9, min_p=0.05),
}
RULES = ("greedy", "rejection", "coupled")


class Counted:
    """Wraps a fused window and counts its steps."""

    def __init__(self, fused: FusedWindow) -> None:
        self.fused = fused
        self.steps: list[int] = []

    def serves(self, acceptor: str) -> bool:
        return self.fused.serves(acceptor)

    def step(self, acceptor: str, prefix: Sequence[int], count: int) -> FusedStep:
        self.steps.append(count)
        return self.fused.step(acceptor, prefix, count)


def decisions(events: list[RunEvent]) -> list[Any]:
    """Everything of the steps but times and probabilities."""
    return [
        (
            step.window,
            [(token.id, token.kind, token.text) for token in step.tokens],
            [(draft.id, draft.outcome, draft.draw) for draft in step.drafted],
            step.residual_fallbacks,
            step.acceptor,
        )
        for step in steps_of(events)
    ]


def probabilities(events: list[RunEvent]) -> list[float]:
    found: list[float | None] = []
    for step in steps_of(events):
        for token in step.tokens:
            found += [token.target_prob, token.draft_prob]
        for draft in step.drafted:
            found += [draft.draft_prob, draft.target_prob]
    return [-1.0 if value is None else value for value in found]


def settings_for(rule: str, name: str) -> SamplingSettings:
    return GREEDY if rule == "greedy" else SETTINGS[name]


@pytest.mark.parametrize("window", [1, 2, 5, 16])
@pytest.mark.parametrize(
    ("rule", "name"), [("greedy", "plain"), *[(rule, name) for rule in RULES[1:] for name in SETTINGS]]
)
def test_a_fused_reply_is_the_reply_step_by_step(rule: str, name: str, window: int) -> None:
    """Tokens, kinds, drafts, draws; probabilities to float32's grain. With the same random numbers the two could only part
    where a number falls within 1e-6 of a border: that is settled by these seeds."""
    pair, settings = tiny_pair(), settings_for(rule, name)
    counted: list[Counted] = []

    def count(fused: FusedWindow) -> FusedWindow:
        counted.append(Counted(fused))
        return counted[0]

    fused = pair.events(settings, acceptor=rule, window=window, wrap=count)
    plain = pair.events(settings, acceptor=rule, window=window, fuse=False)
    assert decisions(fused) == decisions(plain)
    assert probabilities(fused) == pytest.approx(probabilities(plain), abs=1e-5)
    assert len(counted[0].steps) == len(steps_of(fused)) - 1, "every step behind the prefill is fused"
    for step in steps_of(fused):
        check_step(step)
    if window > 1:
        outcomes = {draft.outcome for step in steps_of(fused) for draft in step.drafted}
        assert {DraftOutcome.ACCEPTED, DraftOutcome.REJECTED} <= outcomes


@pytest.mark.parametrize("rule", ["greedy", "coupled"])
def test_the_text_does_not_depend_on_windows_and_switches(rule: str) -> None:
    """Same bits on and off, for every k, over the border of the KV's reach (256 positions)."""
    pair = tiny_pair()
    prompt = [(7 * index + 3) % 40 for index in range(200)]
    settings = replace(settings_for(rule, "top-p"), max_tokens=90)
    texts = {
        tuple(ids_of(pair.events(settings, acceptor=rule, window=window, prompt=prompt)))
        for window in (1, 2, 3, 8, 16)
    }
    assert len(texts) == 1
    assert len(next(iter(texts))) == 90


@pytest.mark.parametrize("seed", range(4))
def test_k_toggle_and_acceptor_change_at_every_step(seed: int) -> None:
    """Host steps (`block`, which stays there) and fused ones in any order, over the same caches."""
    chooser = random.Random(seed)

    class Changing(RunControl):
        """Sets itself anew at each look; the window is looked at once a step."""

        @property
        def window(self) -> int:
            self.speculation = chooser.random() < 0.8
            self.acceptor = chooser.choice(["rejection", "block", "coupled"])
            return chooser.randint(1, 16)

        @window.setter
        def window(self, value: int) -> None:
            """What the constructor sets is not kept."""

    pair = tiny_pair()
    events = pair.events(WARM, control=Changing(5, True))
    assert end_of(events).reason is EndReason.MAX_TOKENS
    assert len(ids_of(events)) == WARM.max_tokens
    assert {step.acceptor for step in steps_of(events)[1:]} == {"rejection", "block", "coupled"}
    for step in steps_of(events):
        check_step(step)
    # The caches hold what the reply holds, so that a reply step by step goes on from them as from fresh ones.
    ids = [*PROMPT, *ids_of(events)]
    assert pair.target.ids == ids[:-1]
    assert pair.draft is not None
    assert pair.draft.ids == ids[: pair.draft.length]
    for sequence in (pair.target, pair.draft):
        length = sequence.length
        again = sequence.model.forward([ids[length]], length, 1)
        fresh = sequence.model.forward(ids[: length + 1], 0, 1)
        assert float((again - fresh).abs().max()) < 1e-4


def test_an_end_of_text_inside_a_window_ends_the_reply_as_step_by_step() -> None:
    pair = tiny_pair(noise=0.03)
    inside = 0
    for seed in range(6):
        settings = replace(WARM, seed=seed)
        common = Counter(ids_of(pair.events(settings, window=16))).most_common(2)
        for token, _ in common:
            fused = pair.events(settings, window=16, eos=[token])
            assert decisions(fused) == decisions(pair.events(settings, window=16, eos=[token], fuse=False))
            if end_of(fused).reason is EndReason.END_OF_TEXT:
                last = steps_of(fused)[-1]
                inside += last.accepted == len(last.tokens) > 0
    assert inside > 1


@pytest.mark.parametrize("rule", RULES)
def test_the_ends_of_both_contexts(rule: str) -> None:
    """The draft's context ends first: a notice, then the target alone up to its own end."""
    pair = DevicePair(
        device_model(tiny_shape(context_limit=60)),
        device_model(tiny_shape(context_limit=40), noise=0.2, exact=False),
    )
    settings = settings_for(rule, "plain")
    fused = pair.events(settings, acceptor=rule, window=7)
    assert decisions(fused) == decisions(pair.events(settings, acceptor=rule, window=7, fuse=False))
    assert end_of(fused).reason is EndReason.CONTEXT_FULL
    assert [event.code for event in fused if isinstance(event, Notice)] == ["draft_context_full"]


def test_a_cancel_is_heard_at_the_next_step() -> None:
    control = RunControl(5, True)

    class Cancelling(Counted):
        def step(self, acceptor: str, prefix: Sequence[int], count: int) -> FusedStep:
            if len(self.steps) == 3:
                control.cancel()
            return super().step(acceptor, prefix, count)

    events = tiny_pair().events(WARM, control=control, wrap=Cancelling)
    assert end_of(events).reason is EndReason.CANCELLED
    assert len(steps_of(events)) == 5, "prefill, three windows, and the one under way"


@pytest.mark.parametrize("failure", ["nan", "error"])
def test_a_failing_draft_ends_speculation_and_not_the_reply(
    failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = DevicePair(device_model(tiny_shape()), device_model(tiny_shape(), noise=0.2, exact=False))
    draft = pair.draft_model
    assert draft is not None
    plain = pair.events(replace(GREEDY, max_tokens=30), window=1)
    real, calls = draft.decoder.logits, 0

    def logits(states: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls < 10:
            return real(states)
        if failure == "error":
            raise RuntimeError("out of memory")
        return torch.full((len(states), 40), float("nan"))

    monkeypatch.setattr(draft.decoder, "logits", logits)
    events = pair.events(replace(GREEDY, max_tokens=30), window=5)
    assert end_of(events).reason is EndReason.MAX_TOKENS
    assert ids_of(events) == ids_of(plain)
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.code for notice in notices] == ["draft_failed"]
    assert ("out of memory" if failure == "error" else "not finite") in notices[0].message
    assert steps_of(events)[-1].window == 1


def test_a_target_that_is_not_finite_ends_the_reply_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = DevicePair(device_model(tiny_shape()), device_model(tiny_shape(), noise=0.2, exact=False))
    decoder = pair.target_model.decoder
    real, calls = decoder.logits, 0

    def logits(states: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(states) if calls < 5 else torch.full((len(states), 40), float("nan"))

    monkeypatch.setattr(decoder, "logits", logits)
    for rule in RULES:
        calls = 0
        settings = settings_for(rule, "top-p")
        ended = end_of(pair.events(settings, acceptor=rule, window=5))
        assert ended.reason is EndReason.FAILED
        assert "not finite" in ended.error
        assert ended.target_cached == 0


class HostLooks(TorchFunctionMode):
    """Counts every call that waits for the device or turns a tensor into Python's values."""

    NAMES = (
        "item",
        "tolist",
        "cpu",
        "numpy",
        "nonzero",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "is_nonzero",
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.NAMES or (name == "to" and "cpu" in map(str, args)):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def test_the_counter_of_looks_sees_them() -> None:
    with HostLooks() as looks:
        tensor = torch.ones(2)
        assert float(tensor[0]) == tensor[1].item() == tensor.tolist()[0]
        assert bool(tensor[0] == 1.0)
        tensor.to("cpu")
        tensor.cpu().nonzero()
    assert Counter(looks.seen) == Counter(
        {"__float__": 1, "item": 1, "tolist": 1, "__bool__": 1, "to": 1, "cpu": 1, "nonzero": 1}
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("window", [1, 2, 9])
def test_a_window_is_one_copy_to_the_host(rule: str, window: int) -> None:
    pair = tiny_pair()
    pair.forget()
    settings = settings_for(rule, "all")
    fused = pair.fused(settings, Streams(1), frozenset())
    assert fused is not None
    assert pair.draft is not None
    prefix = list(PROMPT)
    pair.target.advance(prefix[:-1], rows=1)
    pair.draft.advance(prefix[:-1], rows=1)
    with HostLooks() as looks:
        step = fused.step(rule, prefix, window - 1)
    assert looks.seen == ["tolist"]
    assert len(step.proposal.ids) == window - 1


def test_settings_that_look_at_the_text_stay_on_the_host() -> None:
    pair = tiny_pair()
    for settings in (
        replace(WARM, repetition_penalty=1.2),
        replace(WARM, presence_penalty=0.5),
        replace(WARM, frequency_penalty=0.5),
        replace(WARM, logit_bias=((3, 1.0),)),
    ):
        assert pair.fused(settings, Streams(1), frozenset()) is None
    assert pair.fused(WARM, Streams(1), frozenset()) is not None


def test_without_a_draft_plain_steps_stay_on_the_device() -> None:
    alone = DevicePair(device_model(tiny_shape()), None)
    events = alone.events(WARM, acceptor="coupled")
    assert ids_of(events) == ids_of(tiny_pair().events(WARM, acceptor="coupled", window=6))
    assert all(step.window == 1 for step in steps_of(events))


def test_the_time_of_a_step_is_divided_and_its_bytes_are_counted() -> None:
    pair = tiny_pair()
    events = pair.events(WARM, window=4)
    step = steps_of(events)[5]
    start = len(PROMPT) + sum(len(one.tokens) for one in steps_of(events)[:5]) - 1
    assert step.verify_bytes == pair.target_model.traffic(4, start)
    draft = pair.draft_model
    assert draft is not None
    assert step.draft_bytes == draft.traffic(2, start - 1) + sum(
        draft.traffic(1, start + index) for index in (1, 2)
    )


def test_the_devices_clock_divides_the_time_that_ours_measured() -> None:
    class Told(Counted):
        def step(self, acceptor: str, prefix: Sequence[int], count: int) -> FusedStep:
            return replace(super().step(acceptor, prefix, count), timings_ns=timings)

    pair = tiny_pair()
    timings = (0, 0, 0)
    untold = steps_of(pair.events(WARM, window=4, wrap=Told))[5]
    assert (untold.sample_ns, untold.verify_ns > 0) == (0, True)
    # More than there was, as another clock may say: in proportion.
    timings = (2_000_000, 5_000_000, 1_000_000)
    told = steps_of(pair.events(WARM, window=4, wrap=Told))[5]
    assert told.draft_ns > told.sample_ns > 0
    assert told.verify_ns > 2 * told.sample_ns
    check_step(told)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["plain", "all"])
def test_the_token_behind_a_prefix_is_distributed_as_the_target_says(name: str) -> None:
    """Chi-square of fused `rejection` at k = 4, 1,500 seeds, the first token behind one prefix.

    Fails by chance once in 1,000 runs of other seeds."""
    vocabulary = 12
    pair = tiny_pair(noise=0.15, vocabulary=vocabulary)
    settings = replace(SETTINGS[name], temperature=1.4, max_tokens=3)
    first = pair.events(replace(settings, seed=1), fuse=False)
    pair.forget()
    # One prefix for all: drawn behind it are a draft's token or its correction.
    prefix = [*PROMPT, ids_of(first)[0]]
    row = Processor(settings, len(PROMPT)).row(pair.target_model.forward(prefix, 0, 1)[0], prefix)
    expected = [row.prob(token) for token in range(vocabulary)]
    assert pair.draft is not None
    pair.target.advance(prefix[:-1], rows=1)
    pair.draft.advance(prefix[:-1], rows=1)
    seen: Counter[int] = Counter()
    samples = 1_500
    for seed in range(samples):
        fused = pair.fused(settings, Streams(seed), frozenset())
        assert fused is not None
        step = fused.step("rejection", prefix, 3)
        kept = [*step.proposal.ids[: step.verdict.accepted], step.verdict.final_id]
        seen[kept[0]] += 1
        pair.target.rewind(len(prefix) - 1)
        pair.draft.rewind(len(prefix) - 1)
    observed = [float(seen[token]) for token in range(vocabulary)]
    assert chi_square_p(observed, [samples * share for share in expected]) > 1e-3
    draft = Processor(settings, len(PROMPT)).row(pair.draft.model.forward(prefix, 0, 1)[0], prefix)
    wrong = [samples * draft.prob(token) for token in range(vocabulary)]
    assert chi_square_p(observed, wrong) < 1e-6, "the draft's own distribution must not pass"
