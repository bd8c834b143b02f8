"""The guide: the pages of `resources/help` in a window of their own. Pages are ours, so Markdown is safe here."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QKeyEvent, QTextDocument
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QTextBrowser, QWidget

from chatapp.resources import resource_path
from chatapp.ui.theme import SPACE_3_PX

PAGES = ("getting-started", "colours-and-k", "reading-the-numbers", "exporting")
LIST_WIDTH_PX = 200


def page_title(path: Path) -> str:
    """The first heading of a page."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip()


class HelpViewer(QWidget):
    """Contents on the left, the page on the right; links between pages work, Esc closes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Guide")
        self.resize(QSize(820, 640))
        self._paths = [resource_path("help", f"{name}.md") for name in PAGES]
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE_3_PX, SPACE_3_PX, SPACE_3_PX, SPACE_3_PX)
        row.setSpacing(SPACE_3_PX)
        self.contents = QListWidget()
        self.contents.setFixedWidth(LIST_WIDTH_PX)
        self.contents.setAccessibleName("Pages of the guide")
        self.contents.addItems([page_title(path) for path in self._paths])
        row.addWidget(self.contents)
        self.page = QTextBrowser()
        self.page.setProperty("kind", "guide")
        self.page.setAccessibleName("Page of the guide")
        self.page.setOpenLinks(False)
        self.page.anchorClicked.connect(self._follow)
        row.addWidget(self.page, 1)
        self.contents.currentRowChanged.connect(self._show)
        self.contents.setCurrentRow(0)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)

    def _show(self, place: int) -> None:
        document: QTextDocument = self.page.document()
        document.setBaseUrl(QUrl.fromLocalFile(str(self._paths[place])))
        self.page.setMarkdown(self._paths[place].read_text(encoding="utf-8"))

    def _follow(self, link: QUrl) -> None:
        name = link.path().rsplit("/", 1)[-1].removesuffix(".md")
        if name in PAGES:
            self.contents.setCurrentRow(PAGES.index(name))
        else:
            QDesktopServices.openUrl(link)
