"""`chatapp plan`: whether a pair fits an Inferentia2 or Trainium instance, before anything is loaded or rented.

Arithmetic on the models' shapes: no checkpoint, no device and no torch are needed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from chatapp.domain.errors import ModelNotFound
from chatapp.domain.neuron import CONTEXT, TARGET_WINDOWS, NeuronSettings
from chatapp.domain.neuron_hosts import HOSTS, neuron_host
from chatapp.library.planner.memory import BYTES, INT8
from chatapp.library.planner.planning import AS_STORED, PairRequest
from chatapp.library.planner.report import plan_json, plan_text, table_text
from chatapp.library.planner.shapes import KNOWN, ModelShape, model_shape
from chatapp.library.planner.suggestions import best_degree, planned, recommended
from chatapp.resources import builtin_pair

EXIT_FITS = 0
EXIT_DOES_NOT_FIT = 1
DEFAULT_DTYPE = "bf16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `chatapp plan`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        f"Exit status: 0 when it fits, 1 when it does not.\n\nModels known by name:\n  {', '.join(KNOWN)}"
    )
    parser.add_argument(
        "--target", metavar="MODEL", help="name or directory of the target (default: the built-in pair)"
    )
    parser.add_argument("--draft", metavar="MODEL", help="name or directory of the draft (default: none)")
    parser.add_argument(
        "--instance",
        choices=[host.name for host in HOSTS],
        metavar="TYPE",
        help=f"one of {', '.join(host.name for host in HOSTS)} (default: all of them, in a table)",
    )
    parser.add_argument(
        "--tp",
        type=_positive,
        metavar="N",
        help="NeuronCores to spread both models over (default: all of the instance; in the table: what suits each)",
    )
    parser.add_argument(
        "--context", type=_positive, default=CONTEXT, metavar="N", help=f"positions (default: {CONTEXT})"
    )
    parser.add_argument(
        "--dtype",
        choices=[*BYTES, INT8],
        default=DEFAULT_DTYPE,
        help=f"numbers of weights and KV cache; int8: the layers' weights, the rest in {DEFAULT_DTYPE} (default: {DEFAULT_DTYPE})",
    )
    parser.add_argument(
        "--windows",
        type=_windows,
        default=TARGET_WINDOWS,
        metavar="K,…",
        help=f"rows of the target's passes to compile (default: {','.join(map(str, TARGET_WINDOWS))})",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the plan, or the table of all instances."""
    if args.instance is not None:
        return _one(_request(args, args.instance), as_json=args.json)
    requests = [_request(args, host.name) for host in HOSTS]
    plans = [planned(request if args.tp else best_degree(request)) for request in requests]
    best = recommended(plans)
    if args.json:
        name = best.host.name if best is not None else None
        print(json.dumps({"recommended": name, "plans": [plan_json(plan) for plan in plans]}, indent=1))
    else:
        print(table_text(plans, best))
    return EXIT_FITS if best is not None else EXIT_DOES_NOT_FIT


def _one(request: PairRequest, *, as_json: bool) -> int:
    plan = planned(request)
    print(json.dumps(plan_json(plan), indent=1) if as_json else plan_text(plan))
    return EXIT_FITS if plan.fits else EXIT_DOES_NOT_FIT


def _request(args: argparse.Namespace, instance: str) -> PairRequest:
    target, draft = _shapes(args)
    weights = INT8 if args.dtype == INT8 else AS_STORED
    settings = NeuronSettings(
        tp_degree=args.tp or 0,
        positions=args.context,
        windows=args.windows,
        dtype=DEFAULT_DTYPE if args.dtype == INT8 else args.dtype,
    )
    return PairRequest(target, draft, neuron_host(instance), settings, weights, weights)


def _shapes(args: argparse.Namespace) -> tuple[ModelShape, ModelShape | None]:
    if args.target is not None:
        return model_shape(args.target), model_shape(args.draft) if args.draft is not None else None
    if args.draft is not None:
        raise ModelNotFound(
            "There is a draft and no target to plan with it.", remedy="Name one with --target."
        )
    pair = builtin_pair()
    sides = [
        replace(model_shape(str(directory)), name=f"built-in {role}")
        for role, directory in (("target", pair.target), ("draft", pair.draft))
    ]
    return sides[0], sides[1]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _windows(text: str) -> tuple[int, ...]:
    return tuple(sorted({_positive(word) for word in text.split(",")}))
