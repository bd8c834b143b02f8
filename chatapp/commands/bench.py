"""`chatapp bench`: conditions, then TPOT, TTFT, acceptance and speed-up per kind of prompt and k; ends in one JSON line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from chatapp.domain.request import DEFAULT_WINDOW, MAX_WINDOW, SamplingSettings

DEFAULT_WINDOWS = [1, 2, 3, 4, 5, 6, 8, 12, 16]
NOT_WITH_GUI = ("k", "threads", "device", "against")
"""The window runs as it does for a person: at its own k, threads and device."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from chatapp.bench.prompts import PROMPTS

    parser.add_argument(
        "--target", type=Path, help="directory of the target model (default: the built-in pair)"
    )
    parser.add_argument("--draft", type=Path, help="directory of the draft model")
    parser.add_argument(
        "--kinds", type=_kinds, default=list(PROMPTS), help=f"of {', '.join(PROMPTS)} (default: all)"
    )
    parser.add_argument(
        "--k",
        type=_windows,
        help=f"windows, such as 1,2,5,8 (default: {','.join(map(str, DEFAULT_WINDOWS))})",
    )
    parser.add_argument("--prompts", type=_positive, default=4, help="prompts of each kind (default: 4)")
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="measured rounds, after one thrown away (default: 3)"
    )
    parser.add_argument(
        "--max-tokens", type=_positive, default=96, help="longest reply, in tokens (default: 96)"
    )
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--acceptor", default="rejection", choices=["rejection", "block", "coupled"])
    parser.add_argument("--threads", type=int, help="compute threads (default: physical cores less one)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument(
        "--against",
        choices=["transformers"],
        help="also run Hugging Face generate, with and without assistant_model",
    )
    parser.add_argument(
        "--gui",
        action="store_true",
        help="measure the window instead: its heartbeat while a reply streams, and its cost",
    )
    parser.set_defaults(window=DEFAULT_WINDOW, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    if args.draft is not None and args.target is None:
        args.usage_error("--draft needs --target")
    if args.gui:
        for name in NOT_WITH_GUI:
            if getattr(args, name) is not None:
                args.usage_error(f"--{name} does not go with --gui")
        from chatapp.bench.gui import measure_window

        result = measure_window(args)
    else:
        from chatapp.bench.sweep import sweep

        args.k = args.k or DEFAULT_WINDOWS
        sampling = SamplingSettings(
            temperature=args.temperature, top_p=args.top_p, max_tokens=args.max_tokens, seed=args.seed
        )
        result = sweep(args, sampling)
    sys.stdout.flush()
    print(json.dumps(result, sort_keys=True))
    return 0


def _kinds(text: str) -> list[str]:
    from chatapp.bench.prompts import PROMPTS

    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in PROMPTS]
    if unknown or not kinds:
        raise argparse.ArgumentTypeError(
            f"unknown kind {', '.join(unknown) or text!r}; known are {', '.join(PROMPTS)}"
        )
    return kinds


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _windows(text: str) -> list[int]:
    try:
        windows = sorted({int(part) for part in text.split(",")} | {1})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers") from None
    if windows[0] < 1 or windows[-1] > MAX_WINDOW:
        raise argparse.ArgumentTypeError(f"k lies between 1 and {MAX_WINDOW}")
    return windows
