"""`chatapp bench`: measures, prints tables, and ends in one JSON line. Without `--suite` it is the sweep over k."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.commands.gui import add_weights_arguments
from chatapp.commands.neuron_arguments import add_neuron_arguments, neuron_settings
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import DEFAULT_WINDOW, MAX_WINDOW

if TYPE_CHECKING:
    from chatapp.bench.suites import SuiteOptions

NOT_WITH_WINDOW = ("k", "threads", "device", "against", "suite", "policy", "drafter")
"""The window runs as it does for a person: at its own k, threads and device."""


HOST_COST = "host-cost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from chatapp.bench.prompts import PROMPTS
    from chatapp.bench.suites import DEFAULT_WINDOWS, SUITES

    suites = "\n".join(f"  {name:<14}{suite.summary}" for name, suite in SUITES.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"suites:\n{suites}"
    what = parser.add_argument_group("what is measured")
    what.add_argument("--suite", type=_suites, help="one or more of those below, such as exact,soak")
    what.add_argument(
        "--gui",
        action="store_true",
        help="measure the window instead: its heartbeat while a reply streams, and its cost",
    )
    what.add_argument(
        "--repaint",
        action="store_true",
        help="measure the window's repainted pixels while a reply streams, in the local and the remote display mode",
    )
    what.add_argument(
        "--host-cost",
        action="store_true",
        help="the suite host-cost: what the host of a NeuronCore pair does per verify step",
    )
    what.add_argument(
        "--against",
        choices=["transformers"],
        help="sweep: also run Hugging Face generate, with and without assistant_model",
    )
    what.add_argument(
        "--target", type=Path, help="directory of the target model (default: the built-in pair)"
    )
    what.add_argument("--draft", type=Path, help="directory of the draft model")
    add_weights_arguments(what)
    add_neuron_arguments(what)
    what.add_argument("--rehearse", help=argparse.SUPPRESS)  # known, so that it is refused with a reason
    what.add_argument(
        "--shape",
        type=_names,
        default=(),
        help="models, rigged, context: random shapes, such as 110M,5M; shapes: pairs of them, such as 8B+1B",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--kinds", type=_kinds, default=(), help=f"of {', '.join(PROMPTS)} (default: all)")
    how.add_argument(
        "--k",
        type=_windows,
        help=f"sweep: windows, such as 1,2,5,8 (default: {','.join(map(str, DEFAULT_WINDOWS))})",
    )
    how.add_argument("--temperature", type=float, help="default: 0")
    how.add_argument("--top-p", type=float, default=1.0)
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--acceptor", default="rejection", help="acceptance rule (default: rejection)")
    how.add_argument("--drafter", help="who proposes (default: model)")
    how.add_argument(
        "--policy",
        type=_names,
        help="sweep: window policies that get a row beside the fixed k, such as adaptive",
    )
    how.add_argument("--threads", type=_positive, help="compute threads (default: physical cores less one)")
    how.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    how.add_argument(
        "--compile",
        action="store_true",
        help="NeuronCores: compile here what was not prepared, instead of refusing (chatapp prepare is better)",
    )
    _add_amounts(parser.add_argument_group("how much"))
    parser.set_defaults(usage_error=parser.error)


def _add_amounts(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prompts", type=_positive, default=4, help="prompts of each kind (default: 4)")
    group.add_argument(
        "--rounds", type=_positive, default=3, help="measured rounds, after one thrown away (default: 3)"
    )
    group.add_argument(
        "--max-tokens", type=_positive, help="longest reply, in tokens (default: 96 in the sweep)"
    )
    group.add_argument("--replies", type=_positive, default=1_000, help="exact: replies (default: 1000)")
    group.add_argument("--runs", type=_positive, default=10_000, help="soak: runs (default: 10000)")
    group.add_argument(
        "--samples",
        type=_positive,
        default=200_000,
        help="distribution: samples per combination; neuron: sampled tokens per k (default: 200000)",
    )
    group.add_argument(
        "--jobs", type=_positive, default=1, help="exact, distribution: processes (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    if args.draft is not None and args.target is None:
        args.usage_error("--draft needs --target")
    if args.device is not None and args.neuron is not None:
        args.usage_error("--neuron is a device of its own: it does not go with --device")
    if args.rehearse is not None:
        from chatapp.bench.suites import NO_REHEARSAL

        args.usage_error(NO_REHEARSAL)
    if args.gui or args.repaint:
        result = _measure_window(args)
    else:
        from chatapp.bench.suites import run_suites

        names = args.suite or []
        if args.host_cost and HOST_COST not in names:
            names = [*names, HOST_COST]
        results = run_suites(names or ["sweep"], _options(args))
        result = {"suites": results} if names else results["sweep"]
    sys.stdout.flush()
    print(json.dumps(result, sort_keys=True))
    return 0


def _measure_window(args: argparse.Namespace) -> dict[str, Any]:
    flag = "--gui" if args.gui else "--repaint"
    if args.gui and args.repaint:
        args.usage_error("--repaint does not go with --gui")
    if args.host_cost:
        args.usage_error(f"--{HOST_COST} does not go with {flag}")
    for name in NOT_WITH_WINDOW:
        if getattr(args, name) is not None:
            args.usage_error(f"--{name} does not go with {flag}")
    if args.gui:
        from chatapp.bench.gui import measure_window

        return measure_window(_options(args))
    from chatapp.bench.repaint import measure_repaint

    return measure_repaint(_options(args))


def _location(args: argparse.Namespace) -> PairLocation | None:
    """None means the built-in pair in its own numbers."""
    from chatapp.resources import builtin_pair

    pair = builtin_pair() if args.target is None else PairLocation(args.target.name, args.target, args.draft)
    chosen = replace(
        pair,
        target_weights=args.target_weights,
        draft_weights=args.draft_weights,
        neuron=neuron_settings(args) if args.device is None else None,
    )
    return None if chosen == builtin_pair() else chosen


def _options(args: argparse.Namespace) -> SuiteOptions:
    from chatapp.bench.suites import DEFAULT_WINDOWS, SuiteOptions

    return SuiteOptions(
        location=_location(args),
        device=args.device,
        may_compile=args.compile,
        threads=args.threads,
        kinds=tuple(args.kinds),
        windows=tuple(args.k or DEFAULT_WINDOWS),
        window=DEFAULT_WINDOW,
        prompts=args.prompts,
        rounds=args.rounds,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        acceptor=args.acceptor,
        drafter=args.drafter or "model",
        policies=tuple(args.policy or ()),
        against=args.against,
        shapes=tuple(args.shape),
        samples=args.samples,
        replies=args.replies,
        runs=args.runs,
        jobs=args.jobs,
    )


def _names(text: str) -> tuple[str, ...]:
    """Parts of a list; whether they exist is for those to say who know them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _suites(text: str) -> list[str]:
    from chatapp.bench.suites import SUITES

    return _known(text, "suite", list(SUITES))


def _kinds(text: str) -> list[str]:
    from chatapp.bench.prompts import PROMPTS

    return _known(text, "kind", list(PROMPTS))


def _known(text: str, what: str, known: list[str]) -> list[str]:
    names = list(_names(text))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"unknown {what} {', '.join(unknown) or text!r}; known are {', '.join(known)}"
        )
    return names


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
