"""A stranger's part that fails or answers nonsense in mid-run: the reply ends in order, and the plugin is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from chatapp.domain.events import EndReason, Notice, RunEvent, RunStarted
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.contracts import Budget, Proposal, TargetRows, Verdict
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.windows.records import PRIOR_KEPT
from tests.helpers.engine import end_of
from tests.helpers.strangers import (
    GOOD,
    GROUPS,
    GoodAcceptor,
    GoodDrafter,
    GoodWindow,
    OwnEngine,
    changed,
    entry,
    failing,
    notices,
    raises,
    said,
    steps,
)
from tests.helpers.toys import LETTERS


def ending(events: Sequence[RunEvent]) -> tuple[EndReason, str]:
    return end_of(events).reason, end_of(events).error


def test_good_parts_of_strangers_give_the_built_ins_text() -> None:
    engine = OwnEngine(*(entry(group, "good", GOOD[group]) for group in GROUPS[:3]))
    capabilities = engine.pair.info.capabilities
    assert ("good", True, GoodAcceptor.description) in capabilities.acceptors
    assert ("good", GoodDrafter.description) in capabilities.drafters
    assert ("good", GoodWindow.description) in capabilities.policies
    events = engine.reply(acceptor="good", drafter="good", policy="good")
    assert isinstance(events[0], RunStarted)
    assert (events[0].acceptor, events[0].drafter, events[0].policy) == ("good",) * 3
    assert said(events) == said(engine.reply())
    assert [step.window for step in steps(events)[1:3]] == [4, 4]


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("method", ["draw_draft", "draw_target", "verify"])
def test_an_acceptor_that_fails_ends_the_reply_in_words(method: str, call: int) -> None:
    engine = OwnEngine(entry("chatapp.acceptors", "good", failing(GoodAcceptor, method, call)))
    events = engine.reply(acceptor="good")
    reason, error = ending(events)
    assert reason is EndReason.FAILED
    assert "'good' of the plugin stranger 1.0 failed (Odd: worn out)" in error
    assert notices(events) == [], "the draft is not blamed"
    assert said(events) == said(engine.reply())[: len(said(events))]


def verdict(give: Callable[[Verdict], object]) -> type:
    def verify(self: GoodAcceptor, proposal: Proposal, target_rows: TargetRows, position: int) -> object:
        return give(RejectionAcceptor.verify(self, proposal, target_rows, position))

    return type("Wrong", (GoodAcceptor,), {"verify": verify})


@pytest.mark.parametrize(
    "kind",
    [
        verdict(lambda _: None),
        verdict(lambda v: Verdict(9, v.final_id, v.draws)),
        verdict(lambda v: Verdict(-1, v.final_id, v.draws)),
        verdict(lambda v: Verdict(v.accepted, -1, v.draws)),
        verdict(lambda v: Verdict(v.accepted, 9999, v.draws)),
        verdict(lambda v: Verdict(v.accepted, torch.tensor(1), v.draws)),  # type: ignore[arg-type]  # on purpose
        verdict(lambda v: Verdict(v.accepted, v.final_id, ())),
        type("Wrong", (GoodAcceptor,), {"draw_target": lambda *_: 1.5}),
        type("Wrong", (GoodAcceptor,), {"draw_draft": lambda *_: -3}),
    ],
)
def test_an_acceptor_that_answers_nonsense_ends_the_reply_in_words(kind: type) -> None:
    reason, error = ending(OwnEngine(entry("chatapp.acceptors", "good", kind)).reply(acceptor="good"))
    assert reason is EndReason.FAILED
    assert "plugin stranger 1.0 failed (BreachOfContract" in error


@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("method", ["begin", "catch_up", "propose", "rewind"])
def test_a_drafter_that_fails_ends_speculation_and_not_the_reply(method: str, call: int) -> None:
    kind = failing(ModelDrafter, method, call)
    part = changed(GoodDrafter, make=staticmethod(lambda c: kind(c.draft, c.processor, c.acceptor, c.ends)))
    engine = OwnEngine(entry("chatapp.drafters", "good", part))
    events = engine.reply(drafter="good")
    assert ending(events)[0] is EndReason.MAX_TOKENS
    if method == "begin" and call > 1:
        assert notices(events) == [], "it is called once a reply"
        return
    [(code, message)] = notices(events)
    assert code == "draft_failed"
    assert message.startswith("The drafter 'good' of the plugin stranger 1.0 failed (Odd: worn out)")
    place = next(index for index, event in enumerate(events) if isinstance(event, Notice))
    assert all(not step.drafted for step in steps(events[place:]))


def proposal(give: Callable[[Proposal], object]) -> type:
    def propose(self: ModelDrafter, prefix: Sequence[int], budget: Any) -> object:
        return give(ModelDrafter.propose(self, prefix, budget))

    return type("Wrong", (ModelDrafter,), {"propose": propose})


@pytest.mark.parametrize(
    "kind",
    [
        proposal(lambda _: None),
        proposal(lambda p: Proposal(p.ids * 3, p.rows * 3)),
        proposal(lambda p: Proposal(p.ids, p.rows[:-1])),
        proposal(lambda p: Proposal((-1, *p.ids[1:]), p.rows)),
        proposal(lambda p: Proposal((len(LETTERS), *p.ids[1:]), p.rows)),
        proposal(lambda p: Proposal(p.ids, p.rows, ("a",))),
        proposal(lambda p: Proposal(p.ids, p.rows, (), (0.5,))),
        proposal(lambda p: Proposal(p.ids, p.rows, (), (None,) * len(p.ids))),  # type: ignore[arg-type]  # on purpose
        type("Wrong", (ModelDrafter,), {"bytes_read": property(raises)}),
    ],
)
def test_a_drafter_that_answers_nonsense_ends_speculation(kind: type) -> None:
    part = changed(GoodDrafter, make=staticmethod(lambda c: kind(c.draft, c.processor, c.acceptor, c.ends)))
    events = OwnEngine(entry("chatapp.drafters", "good", part)).reply(drafter="good")
    assert ending(events)[0] is EndReason.MAX_TOKENS
    [(code, message)] = notices(events)
    assert code == "draft_failed"
    assert "plugin stranger 1.0 failed" in message


def without_asking(drafter: ModelDrafter, prefix: Sequence[int], budget: Budget) -> Proposal:
    """A whole window, and not a word about it."""

    class Yes:
        count, cancelled = budget.count, False

        def more(self, confidence: float, source: str) -> bool:
            return True

    whole = ModelDrafter.propose(drafter, prefix, Yes())
    return Proposal(whole.ids, whole.rows)


@pytest.mark.parametrize(
    "kind",
    [
        type("Silent", (ModelDrafter,), {"propose": without_asking}),
        proposal(lambda p: Proposal(p.ids, p.rows, ("own",) * len(p.ids))),
        proposal(lambda p: Proposal(p.ids, p.rows, (), (0.5,) * len(p.ids))),
    ],
)
def test_a_window_policy_learns_from_a_drafter_that_does_not_say_what_it_thinks(kind: type) -> None:
    part = changed(GoodDrafter, make=staticmethod(lambda c: kind(c.draft, c.processor, c.acceptor, c.ends)))
    events = OwnEngine(entry("chatapp.drafters", "good", part)).reply(drafter="good", policy="adaptive")
    assert ending(events) == (EndReason.MAX_TOKENS, "")
    assert notices(events) == []
    choice = steps(events)[-1].choice
    assert choice is not None
    assert dict(choice.estimates)["first_kept"] != PRIOR_KEPT


def test_a_drafter_cannot_change_the_reply_through_its_prefix() -> None:
    class Scribbles(ModelDrafter):
        def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
            computed = super().catch_up(prefix, cancelled)
            prefix.clear()
            return computed

    part = changed(
        GoodDrafter, make=staticmethod(lambda c: Scribbles(c.draft, c.processor, c.acceptor, c.ends))
    )
    engine = OwnEngine(entry("chatapp.drafters", "good", part))
    assert said(engine.reply(drafter="good")) == said(engine.reply())


def test_a_drafter_that_cannot_be_made_is_not_offered() -> None:
    engine = OwnEngine(entry("chatapp.drafters", "good", changed(GoodDrafter, make=staticmethod(raises))))
    capabilities = engine.pair.info.capabilities
    assert "good" not in dict(capabilities.drafters)
    [(plugin, what)] = capabilities.plugin_errors
    assert plugin == "stranger 1.0"
    assert "'good' cannot be made: OSError: no licence" in what


def test_a_drafter_without_its_methods_is_not_offered() -> None:
    part = changed(GoodDrafter, make=staticmethod(lambda _: object()))
    capabilities = OwnEngine(entry("chatapp.drafters", "good", part)).pair.info.capabilities
    assert "no method 'begin'" in dict(capabilities.plugin_errors)["stranger 1.0"]
    assert "good" not in dict(capabilities.drafters)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("method", ["begin", "plan", "more", "choice", "observe"])
def test_a_policy_that_fails_leaves_windows_as_asked_and_is_tried_afresh(method: str, call: int) -> None:
    engine = OwnEngine(entry("chatapp.windows", "good", failing(GoodWindow, method, call)))
    plain = engine.reply()
    events = engine.reply(policy="good")
    assert ending(events)[0] is EndReason.MAX_TOKENS
    assert said(events) == said(plain), "a policy that is fixed by another name, before and after"
    if method == "begin" and call > 1:
        assert notices(events) == [], "it is called once a reply"
        return
    [(code, message)] = notices(events)
    assert code == "plugin_failed"
    assert message.startswith("The window policy 'good' of the plugin stranger 1.0 failed (Odd: worn out)")
    policies = [step.choice.policy for step in steps(events) if step.choice is not None]
    assert policies[-1] == "fixed"
    again = engine.reply(policy="good")
    assert notices(again) == []
    assert {step.choice.policy for step in steps(again) if step.choice is not None} == {"good"}


@pytest.mark.parametrize("planned", [0, -1, 5, 2.0, True, None, math.nan])
def test_a_policy_that_plans_nonsense_is_not_obeyed(planned: object) -> None:
    kind = type("Wrong", (GoodWindow,), {"plan": lambda *_: planned})
    events = OwnEngine(entry("chatapp.windows", "good", kind)).reply(policy="good")
    assert ending(events)[0] is EndReason.MAX_TOKENS
    assert [code for code, _ in notices(events)] == ["plugin_failed"]
    assert steps(events)[1].window == 4


def test_a_policy_that_gives_no_choice_is_replaced() -> None:
    kind = type("Wrong", (GoodWindow,), {"choice": lambda _: "k 3"})
    events = OwnEngine(entry("chatapp.windows", "good", kind)).reply(policy="good")
    assert [code for code, _ in notices(events)] == ["plugin_failed"]
    choice = steps(events)[1].choice
    assert choice is not None
    assert choice.policy == "fixed"
