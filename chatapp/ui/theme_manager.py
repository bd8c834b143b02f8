"""Who applies a theme: style sheet, palette and font of the whole application, live.

This module must not know any widget of the window; those that paint by hand listen to `ThemeManager.changed`.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QFont, QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QApplication

from chatapp.domain.palette import Theme
from chatapp.ui.stylesheet import style_sheet
from chatapp.ui.theme import ThemeChoice, make_palette, system_type_scale, tokens_of


class ThemeManager(QObject):
    """Applies a theme to the whole application and tells who paints by hand.

    `changed` carries the new `Tokens`. The desktop's scheme is followed while the choice is `SYSTEM`; `scheme` tells it.
    """

    changed = Signal(object)

    def __init__(
        self, parent: QObject | None = None, scheme: Callable[[], Qt.ColorScheme] | None = None
    ) -> None:
        super().__init__(parent)
        self._scheme = scheme or QGuiApplication.styleHints().colorScheme
        self._choice = ThemeChoice.SYSTEM
        self.scale = system_type_scale()
        self.tokens = tokens_of(self._wanted())
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_scheme_changed)

    @property
    def choice(self) -> ThemeChoice:
        return self._choice

    def set_choice(self, choice: ThemeChoice) -> None:
        self._choice = choice
        self.apply()

    def apply(self) -> None:
        self.tokens = tokens_of(self._wanted())
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        font = QFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont))
        font.setPixelSize(self.scale.body)
        app.setFont(font)
        app.setPalette(make_palette(self.tokens))
        app.setStyleSheet(style_sheet(self.tokens, self.scale))
        self.changed.emit(self.tokens)

    def _wanted(self) -> Theme:
        if self._choice is ThemeChoice.SYSTEM:
            dark = self._scheme() is Qt.ColorScheme.Dark
            return Theme.DARK if dark else Theme.LIGHT
        return Theme(self._choice.value)

    def _on_scheme_changed(self) -> None:
        if self._choice is ThemeChoice.SYSTEM:
            self.apply()
