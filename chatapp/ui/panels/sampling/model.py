"""The settings that the next request will use, with change signals. Knows no widget.

Widget → model by a setter, model → widget by a signal; a refused value leaves the model as it was.
"""

from __future__ import annotations

import dataclasses
import random

from PySide6.QtCore import QObject, Signal

from chatapp.domain.request import SamplingSettings

SEED_LIMIT = 2**32
DEFAULT_ACCEPTOR = "rejection"


class SamplingModel(QObject):
    """`changed` fires after any accepted change. `keep_seed` False means a new seed for every reply."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None, dice: random.Random | None = None) -> None:
        super().__init__(parent)
        self._dice = dice or random.SystemRandom()
        self._settings = SamplingSettings(seed=self._dice.randrange(SEED_LIMIT))
        self._acceptor = DEFAULT_ACCEPTOR
        self._drafter = ""
        self._auto_policy = ""
        self._system_prompt = ""
        self._keep_seed = False

    @property
    def settings(self) -> SamplingSettings:
        return self._settings

    @property
    def acceptor(self) -> str:
        return self._acceptor

    @property
    def drafter(self) -> str:
        """Empty until a person or a pair chose one: then the pair's first."""
        return self._drafter

    @property
    def auto_policy(self) -> str:
        """The window policy that the Auto switch stands for; empty where there is none."""
        return self._auto_policy

    @property
    def system_prompt(self) -> str:
        return self._system_prompt

    @property
    def keep_seed(self) -> bool:
        return self._keep_seed

    def set_field(self, name: str, value: object) -> None:
        """Change one field of the settings. Raises `InvalidSetting`, and then nothing has changed."""
        self.set_settings(dataclasses.replace(self._settings, **{name: value}))  # type: ignore[arg-type]  # field by name

    def set_settings(self, settings: SamplingSettings) -> None:
        if settings != self._settings:
            self._settings = settings
            self.changed.emit()

    def set_acceptor(self, name: str) -> None:
        if name != self._acceptor:
            self._acceptor = name
            self.changed.emit()

    def set_drafter(self, name: str) -> None:
        if name != self._drafter:
            self._drafter = name
            self.changed.emit()

    def set_auto_policy(self, name: str) -> None:
        if name != self._auto_policy:
            self._auto_policy = name
            self.changed.emit()

    def set_system_prompt(self, text: str) -> None:
        if text != self._system_prompt:
            self._system_prompt = text
            self.changed.emit()

    def set_keep_seed(self, keep: bool) -> None:
        if keep != self._keep_seed:
            self._keep_seed = keep
            self.changed.emit()

    def roll_seed(self) -> None:
        self.set_field("seed", self._dice.randrange(SEED_LIMIT))

    def before_request(self) -> None:
        """A new seed, unless a person asked to keep it."""
        if not self._keep_seed:
            self.roll_seed()
