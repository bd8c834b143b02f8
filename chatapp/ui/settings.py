"""What the window remembers between starts: theme, display mode, panel, geometry, k, speculation, sampling, parts. An INI file.

Unreadable values are forgotten one by one: a damaged file never keeps the window from opening.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.request import DEFAULT_WINDOW, MAX_WINDOW, SLIDER_MIN_WINDOW, SamplingSettings
from chatapp.ui.display_mode import DisplayChoice
from chatapp.ui.theme import ThemeChoice

FILE_NAME = "window.ini"


class WindowSettings:
    """Typed access to the settings file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._store = QSettings(str(folder / FILE_NAME), QSettings.Format.IniFormat)

    def sync(self) -> None:
        self._store.sync()

    @property
    def theme(self) -> ThemeChoice:
        try:
            return ThemeChoice(str(self._store.value("view/theme", ThemeChoice.SYSTEM.value)))
        except ValueError:
            return ThemeChoice.SYSTEM

    @theme.setter
    def theme(self, choice: ThemeChoice) -> None:
        self._store.setValue("view/theme", choice.value)

    @property
    def display(self) -> DisplayChoice:
        try:
            return DisplayChoice(self.text("view/display", DisplayChoice.AUTO.value))
        except ValueError:
            return DisplayChoice.AUTO

    @display.setter
    def display(self, choice: DisplayChoice) -> None:
        self.set_text("view/display", choice.value)

    def flag(self, name: str, default: bool) -> bool:
        return str(self._store.value(name, default)).lower() == "true"

    def set_flag(self, name: str, on: bool) -> None:
        self._store.setValue(name, on)

    @property
    def geometry(self) -> QByteArray | None:
        value = self._store.value("view/geometry")
        return value if isinstance(value, QByteArray) else None

    @geometry.setter
    def geometry(self, value: QByteArray) -> None:
        self._store.setValue("view/geometry", value)

    @property
    def window(self) -> int:
        try:
            k = int(str(self._store.value("run/window", DEFAULT_WINDOW)))
        except ValueError:
            return DEFAULT_WINDOW
        return min(max(k, SLIDER_MIN_WINDOW), MAX_WINDOW)

    @window.setter
    def window(self, k: int) -> None:
        self._store.setValue("run/window", k)

    @property
    def sampling(self) -> SamplingSettings | None:
        """The settings of the last session, None when there are none or one of them is out of range by now."""
        try:
            values = json.loads(str(self._store.value("run/sampling", "")))
            biases = tuple((int(token), float(bias)) for token, bias in values.get("logit_bias", ()))
            return SamplingSettings(**{**values, "stop": tuple(values.get("stop", ())), "logit_bias": biases})
        except (ValueError, TypeError, AttributeError, InvalidSetting):
            return None

    @sampling.setter
    def sampling(self, settings: SamplingSettings) -> None:
        self._store.setValue("run/sampling", json.dumps(dataclasses.asdict(settings)))

    def text(self, name: str, default: str = "") -> str:
        return str(self._store.value(name, default))

    def set_text(self, name: str, text: str) -> None:
        self._store.setValue(name, text)
