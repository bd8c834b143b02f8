"""Who holds the display mode: finds it out or takes the choice, and tells every change, live.

What belongs to the whole application is set here (the caret's blinking, Qt's own menu effects); widgets that have a clock or
an animation listen to `changed`. This module must not know any widget of the window.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from chatapp.ui.display_facts import screen_facts
from chatapp.ui.display_mode import LOCAL, DisplayChoice, DisplayMode, Finding, decide, explain, find

EFFECTS = (
    Qt.UIEffect.UI_General,
    Qt.UIEffect.UI_AnimateMenu,
    Qt.UIEffect.UI_FadeMenu,
    Qt.UIEffect.UI_AnimateCombo,
    Qt.UIEffect.UI_AnimateTooltip,
    Qt.UIEffect.UI_FadeTooltip,
    Qt.UIEffect.UI_AnimateToolBox,
)


class DisplayManager(QObject):
    """`changed` carries the new `DisplayMode`. Without a `finding` the screen is looked at."""

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None, *, finding: Finding | None = None) -> None:
        super().__init__(parent)
        self.finding = finding or find(screen_facts(QGuiApplication.platformName()))
        self._choice = DisplayChoice.AUTO
        self._mode = LOCAL
        self._flash_ms = QGuiApplication.styleHints().cursorFlashTime()
        self._effects = {effect: QApplication.isEffectEnabled(effect) for effect in EFFECTS}
        self.set_choice(DisplayChoice.AUTO)

    @property
    def choice(self) -> DisplayChoice:
        return self._choice

    @property
    def mode(self) -> DisplayMode:
        return self._mode

    @property
    def explanation(self) -> str:
        """One sentence on which mode is on and why."""
        return explain(self._choice, self.finding)

    def set_choice(self, choice: DisplayChoice) -> None:
        self._choice = choice
        self._mode = decide(choice, self.finding)
        # A caret that does not blink is drawn once; 0 is Qt's word for it.
        QGuiApplication.styleHints().setCursorFlashTime(self._flash_ms if self._mode.animated else 0)
        for effect, was_on in self._effects.items():
            QApplication.setEffectEnabled(effect, was_on and self._mode.animated)
        self.changed.emit(self._mode)

    def restore(self) -> None:
        """Give the application its own caret and effects back."""
        QGuiApplication.styleHints().setCursorFlashTime(self._flash_ms)
        for effect, was_on in self._effects.items():
            QApplication.setEffectEnabled(effect, was_on)
