"""The one style sheet of the application, generated from the design tokens.

Widgets say what they are with the dynamic properties `role` (of a label), `kind` (of a button) and `card` (of a frame);
the looks are decided here. This module must not know any widget class of the window by name.
"""

from __future__ import annotations

from chatapp.resources import resource_path
from chatapp.ui.theme import (
    CONTROL_HEIGHT_PX,
    RADIUS_LARGE_PX,
    RADIUS_PX,
    RADIUS_SMALL_PX,
    SPACE_1_PX,
    SPACE_2_PX,
    SPACE_3_PX,
    SPACE_6_PX,
    Tokens,
    TypeScale,
)


def style_sheet(tokens: Tokens, scale: TypeScale) -> str:
    coloured = (_frames, _buttons, _menus, _scrolling)
    written = (_base, _labels, _fields, _dialogs)
    return "\n".join([part(tokens, scale) for part in written] + [part(tokens) for part in coloured])


def _icon_url(name: str, tokens: Tokens) -> str:
    return resource_path("icons", f"{name}-{tokens.theme.value}.svg").as_posix()


def _base(t: Tokens, s: TypeScale) -> str:
    return f"""
QMainWindow, QDialog {{ background: {t.window}; color: {t.text}; }}
QToolTip {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.border_strong};
  padding: {SPACE_1_PX // 2}px {SPACE_1_PX}px; font-size: {s.caption}px; }}
QSplitter::handle {{ background: transparent; }}
"""


def _labels(t: Tokens, s: TypeScale) -> str:
    return f"""
QLabel {{ background: transparent; color: {t.text}; }}
QLabel:disabled {{ color: {t.disabled}; }}
QLabel[role="title"] {{ font-size: {s.title}px; font-weight: 600; }}
QLabel[role="card-title"] {{ font-weight: 600; }}
QLabel[role="muted"] {{ color: {t.muted}; }}
QLabel[role="caption"] {{ color: {t.muted}; font-size: {s.caption}px; }}
QLabel[role="error"] {{ color: {t.danger}; font-size: {s.caption}px; }}
QLabel[role="good"] {{ color: {t.accent}; font-size: {s.caption}px; }}
QLabel[role="good-verdict"] {{ color: {t.text}; font-weight: 600; }}
QLabel[role="bad-verdict"] {{ color: {t.danger}; font-weight: 600; }}
QLabel[role="chip"] {{ background: {t.sunken}; color: {t.muted}; border: 1px solid {t.border};
  border-radius: {RADIUS_SMALL_PX}px; padding: 2px {SPACE_2_PX}px; font-size: {s.caption}px; }}
QLabel[role="warning-chip"] {{ background: {t.warning_soft}; color: {t.warning}; border: 1px solid {t.warning};
  border-radius: {RADIUS_SMALL_PX}px; padding: 0 {SPACE_2_PX}px; font-size: {s.caption}px; font-weight: 600; }}
QLabel[role="rehearsal"] {{ background: {t.warning_soft}; color: {t.warning}; border: 1px solid {t.warning};
  border-radius: {RADIUS_SMALL_PX}px; padding: 2px {SPACE_2_PX}px; font-size: {s.caption}px; font-weight: 600; }}
QLabel[role="token"] {{ background: {t.sunken}; border: 1px solid {t.border}; border-radius: {RADIUS_SMALL_PX}px;
  padding: 3px {SPACE_2_PX}px; }}
"""


def _frames(t: Tokens) -> str:
    return f"""
QFrame[card="true"] {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: {RADIUS_LARGE_PX}px; }}
QFrame[card="header"] {{ background: {t.surface}; border: none; border-bottom: 1px solid {t.border}; }}
QFrame[card="composer"] {{ background: {t.surface}; border: 1px solid {t.border_strong};
  border-radius: {RADIUS_LARGE_PX}px; }}
QFrame[card="composer"][focused="true"] {{ border: 1px solid {t.focus}; }}
QFrame[card="segments"] {{ background: {t.sunken}; border: 1px solid {t.border}; border-radius: {RADIUS_PX}px; }}
QFrame[card="rule"] {{ background: {t.border}; border: none; max-height: 1px; min-height: 1px; }}
QFrame[card="attachment"] {{ background: {t.sunken}; border: 1px solid {t.border}; border-radius: {RADIUS_PX}px; }}
QFrame[banner="error"] {{ background: {t.danger_soft}; border: 1px solid {t.danger}; border-radius: {RADIUS_PX}px; }}
QFrame[banner="warning"] {{ background: {t.warning_soft}; border: 1px solid {t.warning};
  border-radius: {RADIUS_PX}px; }}
QFrame[banner="info"] {{ background: {t.info_soft}; border: 1px solid {t.border_strong};
  border-radius: {RADIUS_PX}px; }}
QProgressBar {{ background: {t.sunken}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; }}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 3px; }}
"""


def _buttons(t: Tokens) -> str:
    return f"""
QPushButton, QToolButton {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.border_strong};
  border-radius: {RADIUS_PX - 2}px; padding: {SPACE_1_PX + 1}px {SPACE_3_PX}px; }}
QToolButton {{ padding: {SPACE_1_PX}px; }}
QPushButton:hover, QToolButton:hover {{ background: {t.hover}; }}
QPushButton:pressed, QToolButton:pressed {{ background: {t.border}; }}
QPushButton:focus {{ border: 2px solid {t.focus}; padding: {SPACE_1_PX}px {SPACE_3_PX - 1}px; }}
QToolButton:focus {{ border: 2px solid {t.focus}; padding: {SPACE_1_PX - 1}px; }}
QPushButton:disabled, QToolButton:disabled {{ color: {t.disabled}; border-color: {t.border}; }}
QPushButton[kind="primary"] {{ background: {t.accent}; color: {t.on_accent}; border: 1px solid {t.accent};
  font-weight: 600; }}
QPushButton[kind="primary"]:hover {{ background: {t.accent_hover}; border-color: {t.accent_hover}; }}
QPushButton[kind="primary"]:focus {{ border: 2px solid {t.text}; }}
QPushButton[kind="primary"]:disabled {{ background: {t.sunken}; color: {t.disabled}; border-color: {t.border}; }}
QPushButton[kind="stop"] {{ background: {t.danger_soft}; color: {t.danger}; border: 1px solid {t.danger};
  font-weight: 600; }}
QPushButton[kind="stop"]:focus {{ border: 2px solid {t.danger}; }}
QPushButton[kind="stop"]:disabled {{ color: {t.disabled}; border-color: {t.border}; background: {t.sunken}; }}
QPushButton[kind="segment"] {{ background: transparent; border: 1px solid transparent; color: {t.muted};
  border-radius: {RADIUS_PX - 3}px; padding: {SPACE_1_PX}px {SPACE_3_PX}px; }}
QPushButton[kind="segment"]:hover {{ color: {t.text}; }}
QPushButton[kind="segment"]:checked {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.border};
  font-weight: 600; }}
QPushButton[kind="segment"]:focus {{ border: 1px solid {t.focus}; }}
QToolButton[kind="plain"], QPushButton[kind="plain"] {{ background: transparent; border: 2px solid transparent;
  border-radius: {RADIUS_SMALL_PX}px; padding: 3px; }}
QToolButton[kind="plain"]:hover, QPushButton[kind="plain"]:hover {{ background: {t.hover}; }}
QToolButton[kind="plain"]:checked {{ background: {t.accent_soft}; }}
QToolButton[kind="plain"]:focus, QPushButton[kind="plain"]:focus {{ border: 2px solid {t.focus}; padding: 3px; }}
QPushButton[title="true"] {{ font-weight: 600; padding: 0 3px; text-align: left; }}
QPushButton[title="true"]:focus {{ padding: 0 3px; }}
QPushButton[kind="suggestion"] {{ background: {t.surface}; border: 1px solid {t.border};
  border-radius: {RADIUS_PX}px; padding: 0; }}
QPushButton[kind="suggestion"]:hover {{ border-color: {t.accent}; background: {t.surface}; }}
QPushButton[kind="suggestion"]:focus {{ border: 2px solid {t.focus}; padding: 0; }}
QToolButton[kind="section"] {{ background: transparent; border: none; border-top: 1px solid {t.border};
  border-radius: 0; padding: {SPACE_2_PX}px 0 {SPACE_1_PX}px 0; font-weight: 600; text-align: left; }}
QToolButton[kind="section"]:hover {{ color: {t.accent}; }}
QToolButton[kind="section"]:focus {{ border: none; border-top: 2px solid {t.focus};
  padding: {SPACE_2_PX - 1}px 0 {SPACE_1_PX}px 0; }}
QToolButton[kind="plain"]::menu-indicator {{ image: none; }}
QCheckBox {{ spacing: {SPACE_2_PX}px; color: {t.text}; background: transparent; padding: 2px; }}
QCheckBox::indicator {{ width: 15px; height: 15px; border: 1px solid {t.border_strong}; border-radius: 4px;
  background: {t.surface}; }}
QCheckBox::indicator:hover {{ border-color: {t.accent}; }}
QCheckBox::indicator:focus {{ border: 2px solid {t.focus}; width: 13px; height: 13px; }}
QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent};
  image: url({_icon_url("check", t)}); }}
"""


def _fields(t: Tokens, s: TypeScale) -> str:
    inner = CONTROL_HEIGHT_PX - 10
    return f"""
QLineEdit, QComboBox, QPlainTextEdit[kind="field"] {{ background: {t.sunken}; color: {t.text};
  border: 1px solid {t.border}; border-radius: {RADIUS_PX - 2}px; padding: {SPACE_1_PX}px {SPACE_2_PX}px;
  selection-background-color: {t.accent}; selection-color: {t.on_accent}; }}
QLineEdit, QComboBox {{ min-height: {inner}px; }}
QLineEdit:hover, QComboBox:hover, QPlainTextEdit[kind="field"]:hover {{ border-color: {t.border_strong}; }}
QLineEdit:focus, QComboBox:focus, QPlainTextEdit[kind="field"]:focus {{ border: 1px solid {t.focus};
  background: {t.surface}; }}
QLineEdit[invalid="true"], QPlainTextEdit[invalid="true"] {{ border: 1px solid {t.danger};
  background: {t.danger_soft}; }}
QLineEdit:disabled, QComboBox:disabled {{ color: {t.disabled}; }}
QComboBox {{ combobox-popup: 0; }}
QComboBox::drop-down {{ border: none; width: 24px; }}
QComboBox::down-arrow {{ image: url({_icon_url("chevron-down", t)}); width: 16px; height: 16px; }}
QComboBox QAbstractItemView {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.border_strong};
  selection-background-color: {t.accent_soft}; selection-color: {t.text}; outline: none; padding: 4px; }}
QComboBox QAbstractItemView::item {{ min-height: 28px; padding-left: {SPACE_2_PX}px;
  border-radius: {RADIUS_SMALL_PX}px; }}
QComboBox QAbstractItemView::item:selected {{ background: {t.accent_soft}; color: {t.text}; }}
QPlainTextEdit[kind="composer"] {{ background: transparent; color: {t.text}; border: none;
  font-size: {s.chat}px; selection-background-color: {t.accent}; selection-color: {t.on_accent}; }}
"""


def _menus(t: Tokens) -> str:
    return f"""
QMenuBar {{ background: {t.surface}; color: {t.text}; border: none; padding: 2px {SPACE_1_PX}px; }}
QMenuBar::item {{ background: transparent; padding: {SPACE_1_PX}px {SPACE_2_PX}px;
  border-radius: {RADIUS_SMALL_PX}px; }}
QMenuBar::item:selected {{ background: {t.hover}; }}
QMenu {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.border_strong}; padding: {SPACE_1_PX}px; }}
QMenu::item {{ padding: {SPACE_1_PX + 2}px {SPACE_6_PX + 2}px {SPACE_1_PX + 2}px {SPACE_6_PX + 2}px;
  border-radius: {RADIUS_SMALL_PX}px; }}
QMenu::item:selected {{ background: {t.accent_soft}; }}
QMenu::item:disabled {{ color: {t.disabled}; }}
QMenu::separator {{ height: 1px; background: {t.border}; margin: {SPACE_1_PX}px {SPACE_2_PX}px; }}
QMenu::indicator {{ width: 14px; height: 14px; left: 6px; }}
QMenu::indicator:checked {{ image: url({_icon_url("menu-check", t)}); }}
"""


def _scrolling(t: Tokens) -> str:
    return f"""
QScrollArea {{ background: transparent; border: none; }}
QScrollArea > QWidget > QWidget[page="true"] {{ background: transparent; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 2px; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 2px; }}
QScrollBar::handle {{ background: {t.border_strong}; border-radius: 3px; }}
QScrollBar::handle:vertical {{ min-height: 32px; }}
QScrollBar::handle:horizontal {{ min-width: 32px; }}
QScrollBar::handle:hover {{ background: {t.muted}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
"""


def _dialogs(t: Tokens, s: TypeScale) -> str:
    return f"""
QTextBrowser[kind="guide"] {{ background: {t.surface}; color: {t.text}; border: 1px solid {t.border};
  border-radius: {RADIUS_LARGE_PX}px; padding: {SPACE_3_PX}px; font-size: {s.chat}px;
  selection-background-color: {t.accent}; selection-color: {t.on_accent}; }}
QWidget[kind="guide-window"] {{ background: {t.window}; }}
QListWidget[kind="contents"] {{ background: {t.window}; color: {t.text}; border: none; outline: none; }}
QListWidget[kind="contents"]::item {{ padding-left: {SPACE_3_PX}px; border-radius: {RADIUS_PX - 2}px; }}
QListWidget[kind="contents"]::item:hover {{ background: {t.hover}; }}
QListWidget[kind="contents"]::item:selected {{ background: {t.accent_soft}; color: {t.text}; }}
QListWidget[kind="contents"]::item:focus {{ border: 1px solid {t.focus}; }}
QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QTreeView, QListView {{ background: {t.surface}; color: {t.text}; alternate-background-color: {t.sunken}; }}
QHeaderView::section {{ background: {t.sunken}; color: {t.muted}; border: none; padding: {SPACE_1_PX}px; }}
"""
