"""A preparation without processes: it says what a test lets it say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from chatapp.domain.ports import PairLocation, PreparationHandle, PreparationPort
from chatapp.domain.preparation import Message, PreparationProgress


class ScriptedPreparation(PreparationHandle):
    def __init__(self, pair: PairLocation) -> None:
        self.pair = pair
        self.stopped = False
        self.left_alone = True
        self._messages: asyncio.Queue[Message] = asyncio.Queue()

    def say(self, message: Message) -> None:
        self._messages.put_nowait(message)

    def stop(self) -> None:
        self.stopped = True

    async def __aiter__(self) -> AsyncIterator[Message]:
        try:
            while True:
                message = await self._messages.get()
                yield message
                if not isinstance(message, PreparationProgress):
                    return
        finally:
            self.left_alone = False


class ScriptedPreparer(PreparationPort):
    """Hands out scripted preparations, or those of `real` where a test puts one there."""

    def __init__(self) -> None:
        self.handles: list[ScriptedPreparation] = []
        self.real: PreparationPort | None = None

    def start(self, pair: PairLocation) -> PreparationHandle:
        if self.real is not None:
            return self.real.start(pair)
        self.handles.append(ScriptedPreparation(pair))
        return self.handles[-1]
