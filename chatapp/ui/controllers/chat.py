"""The conversation and the reply that runs: submit → start → batches of events → record → views.

    IDLE ──submit──▶ STARTING ──handle──▶ RUNNING ──last event──▶ IDLE
                        │ refused: text stays        │ stop
                        ▼                            ▼
                       IDLE                       STOPPING ──last event──▶ IDLE (and the message sent meanwhile goes out)

It must not know a widget, a thread or a model.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from PySide6.QtCore import QObject, Signal

from chatapp.domain.errors import ChatappError, EmptyPrompt, EngineBusy, EngineNotReady, GenerationFailed
from chatapp.domain.events import EndReason, Notice, RunEnded, RunEvent
from chatapp.domain.ports import EnginePort, RunHandle, StorePort
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.domain.request import (
    DEFAULT_WINDOW,
    FIXED_POLICY,
    GenerationRequest,
    Message,
    Role,
    SamplingSettings,
)
from chatapp.ui.controllers.tasks import TaskKeeper
from chatapp.ui.text_hygiene import clean_prompt, readable

TITLE_CHARS = 48
DEFAULT_DRAFTER = "model"


class ChatState(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What a request takes from the Sampling card."""

    sampling: SamplingSettings
    acceptor: str
    system_prompt: str
    drafter: str = DEFAULT_DRAFTER


def new_conversation() -> Conversation:
    return Conversation(
        str(uuid.uuid4()), "New chat", datetime.now(timezone.utc).isoformat(timespec="seconds")
    )


def history(conversation: Conversation, system_prompt: str, prompt: str) -> tuple[Message, ...]:
    """The messages of the next request. A turn whose reply has no text is left out: templates want an alternation."""
    messages = [Message(Role.SYSTEM, system_prompt)] if system_prompt.strip() else []
    for turn in conversation.turns:
        if turn.record.text:
            messages.append(Message(Role.USER, turn.prompt))
            messages.append(Message(Role.ASSISTANT, turn.record.text))
    return (*messages, Message(Role.USER, prompt))


class ChatController(QObject):
    """Owns the conversation. Signals carry domain values only.

    `taken` fires when the engine took the message (the box may be cleared), `refused` when it did not, with the error;
    `failed` when a reply broke, with the error and the prompt that was answered; `noticed` carries a notice's code (empty
    for the window's own) and its words.
    """

    conversation_replaced = Signal(object)
    turn_begun = Signal(str, object)
    record_changed = Signal()
    run_ended = Signal(object)
    state_changed = Signal(object)
    taken = Signal()
    refused = Signal(object)
    failed = Signal(object, str)
    noticed = Signal(str, str)

    def __init__(self, engine: EnginePort, store: StorePort, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self._store = store
        self._tasks = TaskKeeper()
        self._conversation = new_conversation()
        self._state = ChatState.IDLE
        self._handle: RunHandle | None = None
        self._next: tuple[str, RequestSettings] | None = None
        self._window = DEFAULT_WINDOW
        self._speculation = True
        self._policy = FIXED_POLICY
        self._acceptor = ""

    @property
    def conversation(self) -> Conversation:
        return self._conversation

    @property
    def state(self) -> ChatState:
        return self._state

    @property
    def records(self) -> list[RunRecord]:
        return [turn.record for turn in self._conversation.turns]

    def show_conversation(self, conversation: Conversation) -> None:
        """Replace the conversation. Raises `EngineBusy` while a reply runs."""
        self._refuse_while_busy()
        self._conversation = conversation
        self.conversation_replaced.emit(conversation)

    def new_chat(self) -> None:
        self.show_conversation(new_conversation())

    def set_window(self, k: int) -> None:
        self._window = k
        if self._handle is not None:
            self._handle.set_window(k)

    def set_speculation(self, on: bool) -> None:
        self._speculation = on
        if self._handle is not None:
            self._handle.set_speculation(on)

    def set_policy(self, name: str) -> None:
        """Who chooses each step's window, from the next verify step on."""
        self._policy = name
        if self._handle is not None:
            self._handle.set_policy(name)

    def set_acceptor(self, name: str) -> None:
        """The rule from the next verify step on, where a reply runs or begins; the next request brings its own."""
        if name != self._acceptor:
            self._acceptor = name
            if self._handle is not None:
                self._handle.set_acceptor(name)

    def submit(self, text: str, settings: RequestSettings) -> None:
        """Send `text`. While the last reply is still stopping it waits for that one's end."""
        if self._state is ChatState.STOPPING:
            self._next = (text, settings)
            return
        try:
            self._refuse_while_busy()
            request = self._request(text, settings)
        except ChatappError as error:
            self.refused.emit(error)
            return
        self._set_state(ChatState.STARTING)
        self._tasks.spawn(self._run(request))

    def stop(self) -> None:
        """End the reply that runs; does nothing when none does."""
        if self._state in (ChatState.STARTING, ChatState.RUNNING):
            self._set_state(ChatState.STOPPING)
            if self._handle is not None:
                self._handle.cancel()

    def _refuse_while_busy(self) -> None:
        if self._state is not ChatState.IDLE:
            raise EngineBusy(
                "A reply is still running.",
                kept="Your text is still in the box.",
                remedy="Stop it first (Esc).",
            )

    def _request(self, text: str, settings: RequestSettings) -> GenerationRequest:
        cleaned = clean_prompt(text)
        if not cleaned.text.strip():
            raise EmptyPrompt(
                "There is nothing to send: the message is empty.", remedy="Type a message first."
            )
        system = clean_prompt(settings.system_prompt).text
        request = GenerationRequest(
            messages=history(self._conversation, system, cleaned.text),
            sampling=settings.sampling,
            window=self._window,
            speculation=self._speculation,
            acceptor=settings.acceptor,
            drafter=settings.drafter,
            policy=self._policy,
        )
        self._acceptor = settings.acceptor
        if cleaned.notice:
            self.noticed.emit("", cleaned.notice)
        return request

    async def _run(self, request: GenerationRequest) -> None:
        prompt = request.messages[-1].content
        try:
            handle = await self._engine.start(request)
        except ChatappError as error:
            self._set_state(ChatState.IDLE)
            self._drop_next()
            self.refused.emit(_with_text_kept(error))
            return
        self._handle = handle
        record = self._begin_turn(prompt)
        if self._state is ChatState.STOPPING:
            handle.cancel()
        else:
            self._set_state(ChatState.RUNNING)
        # The slider and the switches may have moved while the engine was starting.
        handle.set_window(self._window)
        handle.set_speculation(self._speculation)
        handle.set_policy(self._policy)
        handle.set_acceptor(self._acceptor)
        try:
            await self._follow(handle, record)
        finally:
            self._handle = None
            self._set_state(ChatState.IDLE)
            self._report_end(record, prompt)
            self._send_next()

    def _begin_turn(self, prompt: str) -> RunRecord:
        record = RunRecord()
        if not self._conversation.turns:
            self._conversation.title = readable(" ".join(prompt.split()), TITLE_CHARS)
        self._conversation.turns.append(Turn(prompt, record))
        self._store.begin_turn(self._conversation, len(self._conversation.turns) - 1)
        self.taken.emit()
        self.turn_begun.emit(prompt, record)
        return record

    async def _follow(self, handle: RunHandle, record: RunRecord) -> None:
        place = len(self._conversation.turns) - 1
        async for batch in handle:
            self._take(batch, record)
            self._store.append(self._conversation, place, batch)
            self.record_changed.emit()

    def _take(self, batch: Sequence[RunEvent], record: RunRecord) -> None:
        for event in batch:
            record.apply(event)
            if isinstance(event, Notice):
                self.noticed.emit(event.code, event.message)

    def _report_end(self, record: RunRecord, prompt: str) -> None:
        ended = record.ended
        if ended is None or ended.reason is EndReason.FAILED:
            self.failed.emit(_failure(ended), prompt)
        self.run_ended.emit(record)

    def _send_next(self) -> None:
        if self._next is not None:
            text, settings = self._next
            self._next = None
            self.submit(text, settings)

    def _drop_next(self) -> None:
        self._next = None

    def _set_state(self, state: ChatState) -> None:
        if state is not self._state:
            self._state = state
            self.state_changed.emit(state)


def _failure(ended: RunEnded | None) -> GenerationFailed:
    why = ended.error if ended is not None and ended.error else "The reply ended unexpectedly."
    return GenerationFailed(
        why,
        kept="What was written so far is kept.",
        remedy="Send it again, or open another pair (Ctrl+P).",
    )


def _with_text_kept(error: ChatappError) -> ChatappError:
    """Errors of the engine do not know of the box; the person should read that nothing is lost."""
    if not error.kept and not isinstance(error, EmptyPrompt):
        error.kept = "Your text is still in the box."
    if isinstance(error, EngineNotReady) and not error.remedy:
        error.remedy = "Send it again once the pair is ready."
    return error
