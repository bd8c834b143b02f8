"""How a pair runs on NeuronCores, as options: for every command that loads, plans or prepares one. Light to import.

Must not know what the settings lead to, and must not import a Neuron library: whether one is there is looked up by name.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron import CONTEXT, LIBRARIES, NeuronSettings
from chatapp.domain.rehearsal import DEFAULT_PAIR, PAIRS, rehearsed_pair

FIRST_DEVICE = Path("/dev/neuron0")
MODULES = {"tnx": "transformers_neuronx", "nxdi": "neuronx_distributed_inference"}
"""What each library is imported as."""


def add_neuron_arguments(
    parser: argparse._ActionsContainer, *, rehearsal: bool = False, paced: bool = False
) -> None:
    """`--neuron`, `--tp`, `--context` and `--artefacts`; with `rehearsal` also `--rehearse`, and where that runs a pair,
    `paced`, also `--rehearse-pair`."""
    parser.add_argument(
        "--neuron",
        choices=LIBRARIES,
        help="run on AWS Inferentia2 or Trainium, by transformers-neuronx (tnx) or neuronx-distributed-inference (nxdi); "
        "auto takes the first that is installed (default: auto where there is a Neuron device)",
    )
    parser.add_argument("--tp", type=_positive, metavar="N", help="NeuronCores to use (default: all)")
    parser.add_argument(
        "--context",
        type=_positive,
        metavar="N",
        help=f"tokens of context on NeuronCores (default: {CONTEXT})",
    )
    parser.add_argument(
        "--artefacts",
        type=Path,
        metavar="DIR",
        help="where prepared graphs are kept (default: the data folder)",
    )
    if rehearsal:
        parser.add_argument(
            "--rehearse",
            metavar="INSTANCE",
            help="simulate an instance such as trn1.32xlarge on this machine: how a pair would feel there",
        )
    if paced:
        parser.add_argument(
            "--rehearse-pair",
            choices=tuple(PAIRS),
            help=f"whose published latencies the launches of a rehearsal last (default: {DEFAULT_PAIR})",
        )


def neuron_settings(args: argparse.Namespace) -> NeuronSettings | None:
    """What the options say; None where nothing asks for NeuronCores and the machine has none. Raises `InvalidSetting` for a
    rehearsal that nothing was published for."""
    rehearse: str = getattr(args, "rehearse", None) or ""
    rehearse_pair = ""
    if hasattr(args, "rehearse_pair"):
        rehearse_pair = _rehearsed(rehearse, args.rehearse_pair)
    asked = (args.neuron, args.tp, args.context, args.artefacts, rehearse)
    if not any(asked) and not on_neuron_host():
        return None
    return NeuronSettings(
        library=args.neuron or LIBRARIES[0],
        tp_degree=args.tp or 0,
        positions=args.context or CONTEXT,
        artefacts=args.artefacts,
        rehearse=rehearse,
        rehearse_pair=rehearse_pair,
    )


def _rehearsed(instance: str, pair: str | None) -> str:
    """The name of the pair that paces; empty without a rehearsal."""
    if not instance:
        if pair is not None:
            raise InvalidSetting("rehearse-pair", "--rehearse-pair needs --rehearse.")
        return ""
    rehearsed_pair(instance, pair or DEFAULT_PAIR)
    return pair or DEFAULT_PAIR


def on_neuron_host(device: Path = FIRST_DEVICE) -> bool:
    """There is a Neuron device, and a library to run on it."""
    return device.exists() and any(find_spec(module) is not None for module in MODULES.values())


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
