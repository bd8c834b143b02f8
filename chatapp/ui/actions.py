"""Every action of the window with its menu and shortcut: one table, so that nothing is reachable by mouse alone.

It must not know what an action does; the window connects them.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from chatapp.ui.display_mode import DisplayChoice
from chatapp.ui.theme import ThemeChoice

DISPLAY_WORDS = {
    DisplayChoice.AUTO: ("&Automatic", "On where a remote desktop is found"),
    DisplayChoice.REMOTE: (
        "&On",
        "Fewer and smaller repaints: slower clocks, no animation, text moves by whole lines",
    ),
    DisplayChoice.LOCAL: ("O&ff", "Every frame, as on a screen of this machine"),
}


class WindowActions:
    """Builds the menu bar of `window`; each attribute is one `QAction`."""

    def __init__(self, window: QMainWindow) -> None:
        self._window = window
        file_menu = self._menu("&File")
        self.new_chat = self._action(file_menu, "&New chat", "Ctrl+N")
        self.open_record = self._action(file_menu, "&Open record…", "Ctrl+O")
        self.export = self._action(file_menu, "&Export…", "Ctrl+E")
        file_menu.addSeparator()
        self.open_pair = self._action(file_menu, "Open &pair…", "Ctrl+P")
        file_menu.addSeparator()
        self.quit = self._action(file_menu, "&Quit", "Ctrl+Q")
        self.quit.setMenuRole(QAction.MenuRole.QuitRole)

        edit_menu = self._menu("&Edit")
        self.copy_reply = self._action(edit_menu, "&Copy reply", "Ctrl+Shift+C")

        run_menu = self._menu("&Run")
        self.send = self._action(run_menu, "&Send", "Ctrl+Return")
        self.stop = self._action(run_menu, "S&top", Qt.Key.Key_Escape)
        run_menu.addSeparator()
        self.speculation = self._action(run_menu, "Spe&culation", "Ctrl+D", checkable=True)
        self.auto = self._action(run_menu, "&Auto: choose k up to the slider", "Ctrl+Shift+K", checkable=True)
        self.window_up = self._action(run_menu, "k &up", "Ctrl+Up")
        self.window_down = self._action(run_menu, "k &down", "Ctrl+Down")

        view_menu = self._menu("&View")
        theme_menu = QMenu("&Theme", view_menu)
        view_menu.addMenu(theme_menu)
        self.themes = self._theme_actions(theme_menu)
        self.display_menu = QMenu("&Remote display", view_menu)
        self.display_menu.setToolTipsVisible(True)
        view_menu.addMenu(self.display_menu)
        self.displays = self._display_actions(self.display_menu)
        self.legend = self._action(view_menu, "&Legend", "Ctrl+L", checkable=True)
        self.panel = self._action(view_menu, "Side &panel", "F9", checkable=True)

        help_menu = self._menu("&Help")
        self.guide = self._action(help_menu, "&Guide", "F1")
        self.about = self._action(help_menu, "&About chatapp", None)
        self.about.setMenuRole(QAction.MenuRole.AboutRole)

    def _menu(self, title: str) -> QMenu:
        menu = QMenu(title, self._window)
        self._window.menuBar().addMenu(menu)
        return menu

    def _action(
        self, menu: QMenu, text: str, shortcut: str | Qt.Key | None, *, checkable: bool = False
    ) -> QAction:
        action = QAction(text, self._window)
        action.setCheckable(checkable)
        if shortcut is not None:
            action.setShortcut(QKeySequence(shortcut))
        menu.addAction(action)
        return action

    def _theme_actions(self, menu: QMenu) -> dict[ThemeChoice, QAction]:
        group = QActionGroup(self._window)
        actions: dict[ThemeChoice, QAction] = {}
        for choice in ThemeChoice:
            action = self._action(menu, choice.value.capitalize(), None, checkable=True)
            action.setData(choice)
            group.addAction(action)
            actions[choice] = action
        return actions

    def _display_actions(self, menu: QMenu) -> dict[DisplayChoice, QAction]:
        group = QActionGroup(self._window)
        actions: dict[DisplayChoice, QAction] = {}
        for choice, (words, tip) in DISPLAY_WORDS.items():
            action = self._action(menu, words, None, checkable=True)
            action.setData(choice)
            action.setToolTip(tip)
            group.addAction(action)
            actions[choice] = action
        return actions
