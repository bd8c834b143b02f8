"""The guide: the pages of `resources/help` in a window of their own. Pages are ours, so Markdown is safe here."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QSize, Qt, QUrl
from PySide6.QtGui import (
    QDesktopServices,
    QFont,
    QFontInfo,
    QKeyEvent,
    QPalette,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)
from PySide6.QtWidgets import QFrame, QHBoxLayout, QListWidget, QListWidgetItem, QTextBrowser, QWidget

from chatapp.resources import resource_path
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, SPACE_6_PX

PAGES = (
    "getting-started",
    "colours-and-k",
    "reading-the-numbers",
    "exporting",
    "device-and-doctor",
    "remote-display",
    "own-parts",
    "preparing",
    "rehearsal",
    "neuron-contract",
)
LIST_WIDTH_PX = 200
ITEM_HEIGHT_PX = 36
HEADING_SIZES = {1: 1.5, 2: 1.15}


def page_title(path: Path) -> str:
    """The first heading of a page."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip()


class HelpViewer(QWidget):
    """Contents on the left, the page on the right; links between pages work, Esc closes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Guide")
        self.setProperty("kind", "guide-window")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.resize(QSize(820, 640))
        self.move(parent.frameGeometry().center() - self.rect().center())  # not every desktop places windows
        self._paths = [resource_path("help", f"{name}.md") for name in PAGES]
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE_3_PX, SPACE_3_PX, SPACE_3_PX, SPACE_3_PX)
        row.setSpacing(SPACE_3_PX)
        self.contents = QListWidget()
        self.contents.setProperty("kind", "contents")
        self.contents.setFixedWidth(LIST_WIDTH_PX)
        self.contents.setAccessibleName("Pages of the guide")
        self.contents.setFrameShape(QFrame.Shape.NoFrame)
        for path in self._paths:
            item = QListWidgetItem(page_title(path))
            item.setSizeHint(QSize(0, ITEM_HEIGHT_PX))
            self.contents.addItem(item)
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
        _set_type(document, self.page.palette())
        self.page.moveCursor(QTextCursor.MoveOperation.Start)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self.page.document().blockCount() > 1:
            self._show(self.contents.currentRow())

    def _follow(self, link: QUrl) -> None:
        name = link.path().rsplit("/", 1)[-1].removesuffix(".md")
        if name in PAGES:
            self.contents.setCurrentRow(PAGES.index(name))
        else:
            QDesktopServices.openUrl(link)


def _set_type(document: QTextDocument, palette: QPalette) -> None:
    """Give the page air: Qt lays Markdown out without space between paragraphs, and rules tables in the text's colour."""
    size = QFontInfo(document.defaultFont()).pixelSize()
    block = document.begin()
    while block.isValid():
        if is_code(block):
            _set_code(block, palette)
        else:
            _set_block(block, size)
        block = block.next()
    for frame in document.rootFrame().childFrames():
        if isinstance(frame, QTextTable):
            _set_table(frame, palette)


def is_code(block: QTextBlock) -> bool:
    """A line of a fenced listing: Qt makes a paragraph of each."""
    return block.blockFormat().hasProperty(QTextFormat.Property.BlockCodeFence)


def _set_code(block: QTextBlock, palette: QPalette) -> None:
    """Listings stand together, on a ground of their own."""
    looks = QTextBlockFormat()
    looks.setBackground(palette.alternateBase())
    looks.setBottomMargin(0 if is_code(block.next()) else SPACE_3_PX)
    QTextCursor(block).mergeBlockFormat(looks)


def _set_block(block: QTextBlock, size_px: int) -> None:
    cursor = QTextCursor(block)
    looks = QTextBlockFormat()
    level = block.blockFormat().headingLevel()
    in_table = cursor.currentTable() is not None
    if level:
        looks.setTopMargin(0 if block.blockNumber() == 0 else SPACE_6_PX)
        cursor.movePosition(QTextCursor.MoveOperation.NextCharacter)
        letters = QTextCharFormat(cursor.charFormat())
        letters.setFontWeight(QFont.Weight.DemiBold)
        letters.clearProperty(QTextCharFormat.Property.FontSizeAdjustment)  # else Qt's size for headings wins
        letters.setProperty(
            QTextCharFormat.Property.FontPixelSize, round(size_px * HEADING_SIZES.get(level, 1.0))
        )
        cursor.select(QTextCursor.SelectionType.BlockUnderCursor)
        cursor.setCharFormat(letters)
        cursor = QTextCursor(block)
    looks.setBottomMargin(0 if in_table else SPACE_2_PX)
    looks.setLineHeight(125, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
    cursor.mergeBlockFormat(looks)


def _set_table(table: QTextTable, palette: QPalette) -> None:
    looks = table.format().toTableFormat()
    looks.setBorder(1)
    looks.setBorderBrush(palette.alternateBase())
    looks.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
    looks.setBorderCollapse(True)
    looks.setCellPadding(6)
    looks.setWidth(QTextLength(QTextLength.Type.PercentageLength, 100))
    looks.setTopMargin(SPACE_2_PX)
    looks.setBottomMargin(SPACE_3_PX)
    table.setFormat(looks)
    for column in range(table.columns()):
        cell = table.cellAt(0, column)
        head = cell.format()
        head.setBackground(palette.alternateBase())
        cell.setFormat(head.toTableCellFormat())
