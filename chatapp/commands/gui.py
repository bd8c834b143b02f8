"""`chatapp gui`, or `chatapp` alone: open the window. Reads the command line; Qt is imported only when it runs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from chatapp.commands.neuron_arguments import add_neuron_arguments, neuron_settings
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import WEIGHTS

SIZE = re.compile(r"(\d{3,5})x(\d{3,5})")


def _size(text: str) -> tuple[int, int]:
    found = SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 1280x800")
    return int(found[1]), int(found[2])


def add_weights_arguments(parser: argparse._ActionsContainer) -> None:
    """In which numbers the two models run; for every command that loads a pair."""
    for side, note in (("target", "; an int8 target is another model than its checkpoint"), ("draft", "")):
        parser.add_argument(
            f"--{side}-weights",
            choices=WEIGHTS,
            default=WEIGHTS[0],
            help=f"numbers that the {side} runs in (default: the checkpoint's own{note})",
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the window."""
    parser.add_argument(
        "--target", type=Path, metavar="DIR", help="load this model instead of the built-in pair"
    )
    parser.add_argument("--draft", type=Path, metavar="DIR", help="the draft model that goes with --target")
    add_weights_arguments(parser)
    add_neuron_arguments(parser, rehearsal=True, paced=True)
    parser.add_argument(
        "--theme", choices=("system", "light", "dark"), help="colours (default: as last time)"
    )
    parser.add_argument(
        "--display-mode",
        choices=("auto", "local", "remote"),
        help="fewer and smaller repaints for a remote desktop, or not (default: as last time; at first auto, which finds out)",
    )
    parser.add_argument("--prompt", metavar="TEXT", help="send this once the pair is loaded")
    parser.add_argument("--replay", type=Path, metavar="FILE.json", help="open this record")
    parser.add_argument("--size", type=_size, metavar="WxH", help="size of the window, in pixels")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the conversation and settings are kept"
    )
    parser.add_argument(
        "--screenshot", type=Path, metavar="FILE.png", help="save a picture of the window and quit"
    )
    parser.add_argument(
        "--screenshot-after",
        choices=("ready", "done"),
        default="done",
        help="take the picture when the pair is loaded, or when the reply to --prompt ended (default)",
    )
    parser.add_argument(
        "--select-token",
        type=int,
        metavar="N",
        help="for a picture: select token N of the last reply, counted from 1",
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Open the window; returns the exit status when it is closed."""
    if args.draft is not None and args.target is None:
        args.usage_error("--draft needs --target")
    neuron = _neuron_settings(args)
    from chatapp.app import GuiOptions, run_gui  # Qt from here on

    return run_gui(
        GuiOptions(
            target=args.target,
            draft=args.draft,
            target_weights=args.target_weights,
            draft_weights=args.draft_weights,
            theme=args.theme,
            display_mode=args.display_mode,
            prompt=args.prompt,
            replay=args.replay,
            size=args.size,
            data_dir=args.data_dir,
            screenshot=args.screenshot,
            screenshot_after=args.screenshot_after,
            select_token=args.select_token,
            neuron=neuron,
        )
    )


def _neuron_settings(args: argparse.Namespace) -> NeuronSettings | None:
    try:
        return neuron_settings(args)
    except InvalidSetting as error:
        args.usage_error(error.what)
        raise  # not reached: it leaves
