"""The command line: `chatapp [gui] | bench | export | replay | models | plan | prepare | doctor`.

Each subcommand is one module of `chatapp.commands` and is imported only when chosen, so that `chatapp --help` answers
at once and `chatapp export` never waits for torch. This module must not know what a subcommand does.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from chatapp import __version__
from chatapp.domain.errors import ChatappError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
HELP = ("-h", "--help")


class Command(Protocol):
    """What a module of `chatapp.commands` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: its name, and its line in `chatapp --help`."""

    name: str
    summary: str

    def load(self) -> Command:
        return cast(Command, importlib.import_module(f"chatapp.commands.{self.name}"))


DEFAULT = Entry("gui", "open the chat window (what happens without a command)")
ENTRIES = (
    DEFAULT,
    Entry("bench", "measure speculative decoding without the window"),
    Entry("export", "write a saved conversation as JSON, HTML or Markdown"),
    Entry("replay", "show a saved conversation again, in the terminal or in the window"),
    Entry("prepare", "compile a pair for NeuronCores ahead of time"),
    Entry("models", "show and check the built-in model pair, or a pair of yours"),
    Entry("plan", "say whether a pair fits an Inferentia2 or Trainium instance, before it is loaded"),
    Entry(
        "doctor", "look at this machine: NeuronCores, their software, screen, packages; say how to mend them"
    ),
)
DESCRIPTION = "A chat window over a speculative-decoding engine: every token is coloured by who made it."


def main(arguments: Sequence[str]) -> int:
    """Run `chatapp` with `arguments`; returns the exit status (2 for a wrong command line, as argparse has it)."""
    chosen = _with_default(arguments)
    entry = next((entry for entry in ENTRIES if chosen[0] == entry.name), None)
    command = entry.load() if entry else None
    parser = _parser(entry, command, _epilog() if chosen[0] in HELP else "")
    args = parser.parse_args(chosen)  # leaves by itself after --help, --version or an unknown command
    if command is None:
        parser.error(f"unknown command {chosen[0]!r}")
    try:
        return command.run(args)
    except ChatappError as error:
        print(f"chatapp: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `chatapp models | head`: the reader left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _with_default(arguments: Sequence[str]) -> list[str]:
    """`chatapp` and `chatapp --theme dark` mean the window; `chatapp --help` and `--version` stay."""
    if not arguments:
        return [DEFAULT.name]
    if arguments[0].startswith("-") and arguments[0] not in (*HELP, "--version"):
        return [DEFAULT.name, *arguments]
    return list(arguments)


def _parser(chosen: Entry | None, command: Command | None, epilog: str) -> argparse.ArgumentParser:
    """The whole parser, with options of the chosen subcommand alone."""
    parser = argparse.ArgumentParser(
        prog="chatapp",
        description=DESCRIPTION,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chatapp {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for entry in ENTRIES:
        subparser = commands.add_parser(entry.name, help=entry.summary, description=_sentence(entry.summary))
        if entry is chosen and command is not None:
            command.add_arguments(subparser)
    return parser


def _epilog() -> str:
    """The window's options, since `chatapp --help` is where people look for them."""
    window = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    DEFAULT.load().add_arguments(window)
    options = window.format_help().partition("\n")[2].rstrip()
    return (
        f"options of the window (chatapp [{DEFAULT.name}] …):\n{options}\n\n"
        "`chatapp COMMAND --help` shows the options of a command."
    )


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."
