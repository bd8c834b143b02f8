"""Strangers' parts, held at arm's length: whatever they raise or return ends in words that name the plugin.

A built-in part is trusted and never wrapped. A plugin's part is, and then:

    acceptor fails    the run fails, clearly, with its reply so far kept: nobody else can say what a right token is
    drafter fails     `PartFailed`, for which the loop ends speculation and goes on with the target alone
    policy fails      the rest of the reply gets windows as asked, with a notice; the next reply tries it afresh
    model fails       `PartFailed`, to the loop a model that failed

This module must not know how plugins are found. It and `discovery` are the places that may catch any exception.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from numbers import Real
from typing import NoReturn, TypeVar

import torch

from chatapp.domain.errors import ChatappError, GenerationFailed
from chatapp.domain.events import ModelInfo, WindowChoice
from chatapp.engine.contracts import (
    Acceptor,
    Budget,
    CausalModel,
    Drafter,
    PartFailed,
    Proposal,
    StepOutcome,
    TargetRows,
    Verdict,
    WindowPolicy,
)
from chatapp.engine.distribution import Row
from chatapp.engine.randomness import Streams
from chatapp.engine.registry.parts import DraftingContext, MakeAcceptor, MakeDrafter, MakePolicy
from chatapp.engine.windows.fixed import FixedWindow

log = logging.getLogger(__name__)
T = TypeVar("T")


class BreachOfContract(ValueError):
    """A part returned what its contract rules out."""


def words(error: BaseException) -> str:
    """An exception in one line: `ValueError: bad value`."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_id(token: object, vocabulary: int) -> bool:
    """numpy's integers index as well as Python's, but a record must hold plain values."""
    return type(token) is int and 0 <= token < vocabulary


def no_id(token: object, vocabulary: int) -> str:
    return f"is {token!r} of type {type(token).__name__}, no int from 0 to {vocabulary - 1}"


def check_verdict(verdict: object, proposal: Proposal, vocabulary: int) -> None:
    """Raises `BreachOfContract`."""
    count = len(proposal.ids)
    if not isinstance(verdict, Verdict):
        raise BreachOfContract(f"verify returned {type(verdict).__name__} instead of a Verdict")
    if type(verdict.accepted) is not int or not 0 <= verdict.accepted <= count:
        raise BreachOfContract(f"it kept {verdict.accepted!r} of {count} drafts")
    if not is_id(verdict.final_id, vocabulary):
        raise BreachOfContract(f"its final token {no_id(verdict.final_id, vocabulary)}")
    if len(verdict.draws) < min(verdict.accepted + 1, count):
        raise BreachOfContract(
            f"it tells {len(verdict.draws)} draws of {verdict.accepted} kept of {count} drafts"
        )


def check_proposal(proposal: object, most: int, vocabulary: int) -> None:
    """Raises `BreachOfContract`."""
    if not isinstance(proposal, Proposal):
        raise BreachOfContract(f"propose returned {type(proposal).__name__} instead of a Proposal")
    count = len(proposal.ids)
    if count > most:
        raise BreachOfContract(f"it proposed {count} tokens where {most} were allowed")
    if len(proposal.rows) != count:
        raise BreachOfContract(f"it proposed {count} tokens with {len(proposal.rows)} distributions")
    for name, values in (("sources", proposal.sources), ("confidences", proposal.confidences)):
        if len(values) not in (0, count):
            raise BreachOfContract(f"it proposed {count} tokens with {len(values)} {name}")
    confidences: Sequence[object] = proposal.confidences
    for confidence in confidences:
        if not isinstance(confidence, Real):
            raise BreachOfContract(f"a confidence is {confidence!r}, no number")
    for token, row in zip(proposal.ids, proposal.rows, strict=True):
        if not is_id(token, vocabulary):
            raise BreachOfContract(f"its token {no_id(token, vocabulary)}")
        if row.size != vocabulary:
            raise BreachOfContract(f"its distribution is over {row.size} ids, the target's over {vocabulary}")
        if not row.prob(token) > 0.0:
            raise BreachOfContract(f"it gave token {token} of probability 0 in its own distribution")


class GuardedAcceptor:
    """Implements `contracts.Acceptor` around a stranger's. Every way to fail is a `GenerationFailed` that names it."""

    def __init__(
        self, name: str, plugin: str, *, lossless: bool, make: MakeAcceptor, streams: Streams
    ) -> None:
        self.name = name
        self.lossless = lossless
        self._plugin = plugin
        self._make = make
        self._streams = streams
        self._made: Acceptor | None = None

    def draw_draft(self, row: Row, position: int) -> int:
        return self._drawn(lambda rule: rule.draw_draft(row, position), row)

    def draw_target(self, row: Row, position: int) -> int:
        return self._drawn(lambda rule: rule.draw_target(row, position), row)

    def _drawn(self, draw: Callable[[Acceptor], int], row: Row) -> int:
        token = self._ask(draw)
        if not is_id(token, row.size):
            self._fail(BreachOfContract(f"the token that it drew {no_id(token, row.size)}"))
        return token

    def verify(self, proposal: Proposal, target_rows: TargetRows, position: int) -> Verdict:
        verdict = self._ask(lambda rule: rule.verify(proposal, target_rows, position))
        try:
            check_verdict(verdict, proposal, proposal.rows[0].size)
        except BreachOfContract as breach:
            self._fail(breach)
        return verdict

    def _ask(self, question: Callable[[Acceptor], T]) -> T:
        try:
            if self._made is None:
                self._made = self._make(self._streams)
            return question(self._made)
        except ChatappError:
            raise  # the target's row was not finite, say: not this rule's doing
        except Exception as error:
            log.exception("the acceptor %r of %s failed", self.name, self._plugin)
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        raise GenerationFailed(
            f"The acceptor {self.name!r} of the plugin {self._plugin} failed ({words(error)}).",
            kept="The reply up to here is kept.",
            remedy="Choose another acceptor.",
        ) from error


class GuardedDrafter:
    """Implements `contracts.Drafter` around a stranger's.

    The loop listens for failures in `catch_up`, `propose` and `exhausted`; what goes wrong elsewhere (when it is made, at
    `begin` or `rewind`) is kept until then. After a failure the stranger is not called again.
    """

    def __init__(self, name: str, plugin: str, make: MakeDrafter, context: DraftingContext) -> None:
        self._title = f"The drafter {name!r} of the plugin {plugin}"
        self._vocabulary = context.vocabulary
        self.failure: Exception | None = None
        self._bytes_read = 0
        self.made: Drafter | None = None
        self._later(lambda: self._set(make(context)))

    def _set(self, drafter: Drafter | None) -> None:
        self.made = drafter

    @property
    def bytes_read(self) -> int:
        def read() -> None:
            if self.made is not None:
                self._bytes_read = int(self.made.bytes_read)

        self._later(read)
        return self._bytes_read

    def begin(self, prompt: list[int]) -> None:
        # A copy, here and below: the loop's own list is the reply.
        self._later(lambda: self.made.begin(list(prompt)) if self.made is not None else None)

    def catch_up(self, prefix: list[int], cancelled: Callable[[], bool]) -> int:
        return self._now(lambda drafter: int(drafter.catch_up(list(prefix), cancelled)), 0)

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        def proposed(drafter: Drafter) -> Proposal:
            proposal = drafter.propose(tuple(prefix), budget)
            check_proposal(proposal, budget.count, self._vocabulary)
            return proposal

        return self._now(proposed, Proposal())

    def exhausted(self, prefix: Sequence[int]) -> bool:
        return self._now(lambda drafter: bool(drafter.exhausted(tuple(prefix))), False)

    def rewind(self, length: int) -> None:
        self._later(lambda: self.made.rewind(length) if self.made is not None else None)

    def _later(self, action: Callable[[], object]) -> None:
        if self.failure is None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
                self._failed(error)

    def _now(self, question: Callable[[Drafter], T], without: T) -> T:
        if self.failure is None:
            if self.made is None:
                return without
            try:
                return question(self.made)
            except ChatappError:
                raise  # a stranger's acceptor that drew the draft's token, say
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
        assert self.failure is not None
        raise PartFailed(f"{self._title} failed ({words(self.failure)})") from self.failure

    def _failed(self, error: Exception) -> None:
        log.error("%s failed", self._title, exc_info=error)
        self.failure = error


class GuardedPolicy:
    """Implements `contracts.WindowPolicy` around a stranger's: after a failure the slider's k, until the next reply."""

    def __init__(self, name: str, plugin: str, make: MakePolicy) -> None:
        self.name = name
        self._plugin = plugin
        self._make = make
        self._troubles: list[str] = []
        self._policy: WindowPolicy | None = None
        self._fixed = FixedWindow()

    def take_troubles(self) -> list[str]:
        """What went wrong since the last call, in words for the person who waits for the reply."""
        taken, self._troubles = self._troubles, []
        return taken

    def begin(self, drafter: str, acceptor: str) -> None:
        if self._policy is None:
            try:
                self._policy = self._make()
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
        self._ask(lambda policy: policy.begin(drafter, acceptor), None)

    def plan(self, most: int) -> int:
        asked = self._fixed.plan(most)
        planned = self._ask(lambda policy: policy.plan(most), asked)
        if type(planned) is int and 1 <= planned <= most:
            return planned
        self._failed(BreachOfContract(f"it planned k {planned!r} of at most {most}"))
        return asked

    def more(self, drafted: int, confidence: float, source: str) -> bool:
        return self._ask(lambda policy: bool(policy.more(drafted, confidence, source)), True)

    def choice(self) -> WindowChoice:
        choice = self._ask(lambda policy: policy.choice(), None)
        if isinstance(choice, WindowChoice):
            return choice
        if self._policy is not None:
            self._failed(BreachOfContract(f"its choice is {type(choice).__name__}, no WindowChoice"))
        return self._fixed.choice()

    def observe(self, outcome: StepOutcome) -> None:
        self._ask(lambda policy: policy.observe(outcome), None)

    def _ask(self, question: Callable[[WindowPolicy], T], without: T) -> T:
        if self._policy is None:
            return without
        try:
            return question(self._policy)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return without

    def _failed(self, error: Exception) -> None:
        log.error("the window policy %r of %s failed", self.name, self._plugin, exc_info=error)
        self._policy = None
        self._troubles.append(
            f"The window policy {self.name!r} of the plugin {self._plugin} failed ({words(error)}): "
            "windows are as asked from here."
        )


class GuardedModel:
    """Implements `contracts.CausalModel` around what a stranger's backend loaded. `backend` is its name."""

    def __init__(self, backend: str, plugin: str, model: CausalModel) -> None:
        """Raises `BreachOfContract` where the model does not say what it is."""
        self.backend = backend
        self._plugin = plugin
        self._model = model
        for name in ("vocabulary", "context_limit", "prefill_rows"):
            value = getattr(model, name)
            if type(value) is not int or value < 1:
                raise BreachOfContract(f"its {name} is {value!r}")
        if not isinstance(model.info, ModelInfo):
            raise BreachOfContract("its info is no ModelInfo")
        self.info = model.info
        self.vocabulary = model.vocabulary
        self.context_limit = model.context_limit
        self.prefill_rows = model.prefill_rows

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        try:
            logits: object = self._model.forward(tuple(ids), start, rows)
            if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (rows, self.vocabulary):
                shape = tuple(getattr(logits, "shape", ()))
                raise BreachOfContract(f"its logits are {shape}, not {(rows, self.vocabulary)}")
        except Exception as error:
            log.exception("a model of the backend %r of %s failed", self.backend, self._plugin)
            raise PartFailed(
                f"the backend {self.backend!r} of the plugin {self._plugin}: {words(error)}"
            ) from error
        return logits

    def traffic(self, count: int, start: int) -> int:
        try:
            return max(0, int(self._model.traffic(count, start)))
        except Exception as error:
            raise PartFailed(
                f"the backend {self.backend!r} of the plugin {self._plugin}: {words(error)}"
            ) from error
