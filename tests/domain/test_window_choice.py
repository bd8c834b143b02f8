"""A window's choice says the same to whoever asks, however often, and wherever it was sent."""

from __future__ import annotations

import copy
import pickle

from chatapp.domain.events import Estimates, WindowChoice

SAID: tuple[str, Estimates] = ("drafting pays", (("draft_ms", 0.5), ("verify_ms", 2.0)))


def test_it_is_put_into_words_once() -> None:
    asked: list[int] = []

    def tell() -> tuple[str, Estimates]:
        asked.append(1)
        return SAID

    choice = WindowChoice.told_when_asked("adaptive", tell)
    assert not asked
    assert choice == WindowChoice("adaptive", *SAID)
    assert hash(choice) == hash(WindowChoice("adaptive", *SAID))
    assert repr(choice) == repr(WindowChoice("adaptive", *SAID))
    assert asked == [1]
    assert choice != WindowChoice("fixed", *SAID)


def test_a_copy_of_it_says_the_same() -> None:
    def fresh() -> WindowChoice:
        return WindowChoice.told_when_asked("adaptive", lambda: SAID)

    for other in (copy.copy(fresh()), copy.deepcopy(fresh()), pickle.loads(pickle.dumps(fresh()))):
        assert other == fresh()


def test_two_threads_may_ask_at_once() -> None:
    class Tell:
        """Between looking at it and calling it, another thread has the answer written down: `isinstance` looks here."""

        looked = False

        @property  # type: ignore[misc]  # to be there when it is looked at
        def __class__(self) -> type:
            if not self.looked:
                self.looked = True
                assert choice.reason == SAID[0]
            return Tell

        def __call__(self) -> tuple[str, Estimates]:
            return SAID

    choice = WindowChoice.told_when_asked("adaptive", Tell())
    assert (choice.reason, choice.estimates) == SAID
