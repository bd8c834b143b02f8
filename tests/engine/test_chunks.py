"""Models whose passes have compiled sizes say how a text is cut, and where reading it afresh is cheaper."""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.domain.events import EndReason, Prefilled, PrefillProgress
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.sequence import CachedSequence
from tests.helpers.engine import GREEDY, CancelAtCall, Rig, end_of, finished, ids_of


class Chunked(ToyModel):
    """Implements `ChunkingModel`: reads 8, then 2, then 8 …; a prefix shorter than half of the text is read again."""

    compiled_windows = (2, 8)

    def next_chunk(self, count: int, start: int) -> int:
        return min(count, 8 if start % 10 == 0 else 2)

    def worth_keeping(self, common: int, total: int) -> int:
        return common if 2 * common >= total else 0


def rig() -> Rig:
    return Rig(Chunked(8, seed=3), Chunked(8, seed=3, noise=0.7))


PROMPT = [index % 8 for index in range(25)]


def test_the_model_cuts_the_prompt() -> None:
    cut, whole = rig(), Rig(ToyModel(8, seed=3), ToyModel(8, seed=3, noise=0.7))
    events = finished(cut, cut.run(PROMPT, sampling=GREEDY), PROMPT)
    assert cut.target_model.calls[:5] == [(0, 8), (8, 2), (10, 8), (18, 2), (20, 5)]
    assert isinstance(cut.draft_model, Chunked)
    assert cut.draft_model.calls[:5] == [(0, 8), (8, 2), (10, 8), (18, 2), (20, 5)]
    assert [event.done for event in events if isinstance(event, PrefillProgress)] == [8, 10, 18, 20, 25]
    assert ids_of(events) == ids_of(finished(whole, whole.run(PROMPT, sampling=GREEDY), PROMPT))


def test_a_cancel_is_heard_between_chunks() -> None:
    cut = rig()
    control = CancelAtCall(4, lambda: cut.calls, 3)
    events = finished(cut, cut.run(PROMPT, control=control), PROMPT)
    assert end_of(events).reason is EndReason.CANCELLED
    assert (cut.target.length, len(cut.target_model.calls)) == (18, 3)


def read_again(kept: int, total: int) -> tuple[int, list[tuple[int, int]]]:
    """What is kept of `kept` common ids for a text of `total`, and the calls that read the rest."""
    model = Chunked(8, seed=3)
    sequence = CachedSequence(model)
    sequence.feed(PROMPT[:kept], lambda: False)
    model.calls.clear()
    text: Sequence[int] = [*PROMPT[:kept], *[7 - PROMPT[kept]] * (total - kept)]
    reused = sequence.keep_common_prefix(list(text), total - 1)
    sequence.feed(text[reused:], lambda: False)
    assert sequence.ids == list(text)
    return reused, model.calls


def test_a_short_common_prefix_is_given_up_where_the_model_says_so() -> None:
    assert read_again(11, 20)[0] == 11
    reused, calls = read_again(9, 20)
    assert reused == 0
    assert calls[0] == (0, 8)


def test_what_was_read_again_is_not_called_reused() -> None:
    cut = rig()
    list(cut.run(PROMPT[:9], sampling=GREEDY).events())
    cut.target.rewind(9)
    events = finished(cut, cut.run(PROMPT, sampling=GREEDY), PROMPT)
    read = next(event for event in events if isinstance(event, Prefilled) and event.model == "target")
    assert (read.positions, read.reused) == (25, 0)
