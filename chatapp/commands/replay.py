"""`chatapp replay IN.json`: a saved conversation in the terminal, or with `--gui` in the window.

The terminal way needs neither Qt nor torch.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from chatapp.domain.errors import ChatappError
from chatapp.domain.palette import Theme
from chatapp.export.reading import open_record
from chatapp.export.terminal import TerminalLook, render

EXIT_FAILED = 1
MAX_COLUMNS = 100
"""Longer lines are hard to read, however wide the terminal is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="IN.json", type=Path, help="a conversation that chatapp exported as JSON"
    )
    parser.add_argument("--gui", action="store_true", help="open it in the window instead")
    parser.add_argument(
        "--no-colour",
        action="store_true",
        help="marks only (also when NO_COLOR is set or output is no terminal)",
    )
    parser.add_argument(
        "--theme",
        choices=[theme.value for theme in Theme],
        default=Theme.DARK.value,
        help="the terminal's background (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    try:
        conversation = open_record(args.source)
    except ChatappError as error:
        print(f"chatapp replay: {error}", file=sys.stderr)
        return EXIT_FAILED
    if args.gui:
        return _open_window(args.source)
    colour = not args.no_colour and "NO_COLOR" not in os.environ and sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, MAX_COLUMNS)
    text = render(conversation, TerminalLook(colour, Theme(args.theme), width))
    # A terminal of another encoding shows what it can instead of failing half-way.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
    return 0


def _open_window(source: Path) -> int:
    from chatapp.commands import gui  # brings Qt: only when the window is wanted

    parser = argparse.ArgumentParser(prog="chatapp gui")
    gui.add_arguments(parser)
    return gui.run(parser.parse_args(["--replay", str(source)]))
