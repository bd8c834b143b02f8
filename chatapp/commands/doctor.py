"""`chatapp doctor`: looks at the machine and says for each thing whether it is good, and the mend. Changes nothing.

Reads files and asks tools; Qt and torch are not imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from chatapp import __version__
from chatapp.library.host.examination import Subject, examine
from chatapp.library.host.machine import Host
from chatapp.library.host.metadata_service import URL
from chatapp.library.host.report import as_json, as_text
from chatapp.resources import resource_path

EXIT_GOOD = 0
EXIT_BAD = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `chatapp doctor`."""
    parser.epilog = "The exit status is 0 when nothing is bad (warnings allowed), 1 when something is."
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--artefacts",
        type=Path,
        metavar="DIR",
        help="look at the disk that has this folder of prepared graphs",
    )
    parser.add_argument(
        "--metadata",
        action="store_true",
        help="ask the instance metadata service for the instance type (the only use of the network)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings; the status is 1 when something is bad."""
    artefacts = args.artefacts or _usual_artefacts()
    subject = Subject(artefacts, resource_path("pair"), URL if args.metadata else "")
    examination = examine(Host.here(), subject)
    if args.json:
        print(as_json(examination, __version__))
    else:
        print(as_text(examination, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return EXIT_GOOD if examination.good else EXIT_BAD


def _usual_artefacts() -> Path:
    """The data folder, where `chatapp prepare` keeps graphs unless it is told otherwise."""
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "chatapp" / "neuron"
