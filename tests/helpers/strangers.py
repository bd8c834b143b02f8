"""Parts as strangers would write them, good and broken, their entry points, and a toy engine that runs with them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from chatapp.domain.events import Notice, RunEvent, StepCommitted
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.acceptors.rejection import RejectionAcceptor
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.control import RunControl
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.registry import discover
from chatapp.engine.session import Engine, assemble
from chatapp.engine.windows.fixed import FixedWindow
from tests.helpers.toys import LETTERS, LetterPrompt

MODULE = "planted_parts"
GROUPS = ("chatapp.acceptors", "chatapp.drafters", "chatapp.windows", "chatapp.backends")


class GoodAcceptor(RejectionAcceptor):
    name = "good"
    description = "Rejection by another name."


class GoodDrafter:
    name = "good"
    description = "The draft model by another name."
    needs_draft = True

    @staticmethod
    def make(context: Any) -> ModelDrafter:
        return ModelDrafter(context.draft, context.processor, context.acceptor, context.ends)


class GoodWindow(FixedWindow):
    name = "good"
    description = "Fixed by another name."


class GoodBackend:
    name = "good"
    description = "A toy for every checkpoint."

    def claims(self, checkpoint: Checkpoint, device: str) -> bool:
        return device == "cpu"

    def load(self, checkpoint: Checkpoint, device: str, *, role: str, weights: str) -> ToyModel:
        return ToyModel(8, seed=len(role) + len(weights))


GOOD = {
    "chatapp.acceptors": GoodAcceptor,
    "chatapp.drafters": GoodDrafter,
    "chatapp.windows": GoodWindow,
    "chatapp.backends": GoodBackend(),
}


def changed(part: object, **attributes: object) -> object:
    """The part with other attributes; `None` takes one away."""
    kind = part if isinstance(part, type) else type(part)
    other = type(
        kind.__name__, (kind,), {key: value for key, value in attributes.items() if value is not None}
    )
    for key in (key for key, value in attributes.items() if value is None):
        setattr(other, key, property())  # reading it from an instance raises AttributeError
    return other if isinstance(part, type) else other()


class Distribution:
    def __init__(self, name: str) -> None:
        self.name = name
        self.version = "1.0"


def entry(group: str, name: str, part: object, plugin: str = "stranger") -> EntryPoint:
    """An entry point of a distribution `plugin` that names `part`."""

    class Planted(EntryPoint):
        dist = Distribution(plugin)  # type: ignore[assignment]  # its name and version are all that is asked for

        def load(self) -> object:
            if isinstance(part, BaseException):
                raise part
            return part

    return Planted(name, f"{MODULE}:{name}", group)


def raises(*arguments: object) -> object:
    raise OSError("no licence")


class OwnEngine(Engine):
    """A toy pair with the built-ins and `entries`."""

    def __init__(self, *entries: EntryPoint) -> None:
        super().__init__()
        size = len(LETTERS)
        target, draft = ToyModel(size, seed=1), ToyModel(size, seed=1, noise=0.5)
        location = PairLocation("toy", Path("toy-target"), Path("toy-draft"))
        self._pair = assemble(location, target, draft, LetterPrompt(), "cpu", registry=discover(entries))

    def reply(self, *, tokens: int = 30, **parts: str) -> list[RunEvent]:
        sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=tokens)
        message = Message(Role.USER, "hello there")
        request = GenerationRequest((message,), sampling=sampling, window=4, **parts)  # type: ignore[arg-type]  # names
        return list(self.run(self.prepare(request), RunControl.of(request)))


def notices(events: Sequence[RunEvent]) -> list[tuple[str, str]]:
    return [(event.code, event.message) for event in events if isinstance(event, Notice)]


def steps(events: Sequence[RunEvent]) -> list[StepCommitted]:
    return [event for event in events if isinstance(event, StepCommitted)]


def said(events: Sequence[RunEvent]) -> list[int]:
    return [token.id for step in steps(events) for token in step.tokens]


class Odd(Exception):
    """An exception that no part of the engine has heard of."""


class Countdown:
    """Raises `Odd` at the call of a number."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Odd("worn out")


def failing(kind: type, method: str, calls: int) -> type:
    """A subclass whose `method` raises at call number `calls`."""
    countdown = Countdown(calls)

    def fails(self: object, *arguments: object, **named: object) -> object:
        countdown()
        return getattr(kind, method)(self, *arguments, **named)

    return type("Failing", (kind,), {method: fails})
