"""`chatapp export IN.json OUT`: a saved conversation in another format. Needs neither Qt nor torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chatapp.domain.errors import ChatappError
from chatapp.export.service import FileExporter

EXIT_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats = FileExporter().formats()
    parser.add_argument(
        "source", metavar="IN.json", type=Path, help="a conversation that chatapp exported as JSON"
    )
    parser.add_argument(
        "destination",
        metavar="OUT",
        type=Path,
        help=f"the file to write; its ending ({', '.join(suffix for _, suffix, _ in formats)}) says the format",
    )
    parser.add_argument(
        "--format",
        choices=[name for name, _, _ in formats],
        help="the format, whatever the ending: " + "; ".join(description for _, _, description in formats),
    )


def run(args: argparse.Namespace) -> int:
    exporter = FileExporter()
    try:
        name = args.format or exporter.format_of(args.destination)
        exporter.export(exporter.open_record(args.source), args.destination, name)
    except ChatappError as error:
        print(f"chatapp export: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"Wrote {args.destination} ({name}).")
    return 0
