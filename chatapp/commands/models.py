"""`chatapp models`: what the built-in pair is, whether its files are whole, and what `--target` and `--draft` accept.

Reads headers and hashes, and answers at once: torch is not imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from chatapp.commands.neuron_arguments import add_neuron_arguments, neuron_settings
from chatapp.domain.errors import ChatappError, WeightsDamaged
from chatapp.library.catalogue import ModelDescription, damaged_files, describe_model
from chatapp.resources import builtin_pair, resource_path

EXIT_OK = 0
EXIT_DAMAGED = 1
ACCEPTED = """\
--target DIR and --draft DIR take Hugging Face model directories:
  config.json, tokenizer.json, and weights in *.safetensors.
  Target and draft must share one vocabulary: the same id for the same token. Without --draft the target runs alone.
  The draft should cost at most a fifth of a target step, or drafting eats what it gains."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `chatapp models`."""
    parser.add_argument(
        "directories",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="model directories to look at, instead of the built-in pair",
    )
    add_neuron_arguments(parser.add_argument_group("on NeuronCores (chatapp plan says whether a pair fits)"))


def run(args: argparse.Namespace) -> int:
    """Print; the status is 1 when something is damaged or missing."""
    directories: list[Path] = args.directories
    on_neuron = neuron_settings(args) is not None
    if directories:
        return _show(((str(directory), directory) for directory in directories), on_neuron=on_neuron)
    pair = builtin_pair()
    print(f"{pair.name.capitalize()}: {resource_path('pair')}\n")
    models = (
        [("target", pair.target)] if pair.draft is None else [("target", pair.target), ("draft", pair.draft)]
    )
    status = _show(models, on_neuron=on_neuron) or _check(resource_path("pair"))
    print(f"\n{ACCEPTED}")
    return status


def _show(models: Iterable[tuple[str, Path]], *, on_neuron: bool) -> int:
    status = EXIT_OK
    for label, directory in models:
        try:
            print(f"{label}\n{_described(describe_model(directory), on_neuron=on_neuron)}")
        except ChatappError as error:
            print(f"chatapp: {error}", file=sys.stderr)
            status = EXIT_DAMAGED
    return status


def _described(model: ModelDescription, *, on_neuron: bool) -> str:
    rows = [
        ("architecture", f"{model.architecture}, {_counted(model.layers, 'layer')}"),
        ("parameters", f"{model.parameters:,}"),
        ("vocabulary", f"{model.vocabulary:,} tokens"),
        ("context", f"{model.context:,} tokens"),
        ("dtype", ", ".join(model.dtypes)),
        ("runs on", _runs_on(model)),
        ("weights", f"{model.size_bytes / 1e6:.1f} MB in {_counted(len(model.weights), 'file')}"),
    ]
    if on_neuron:
        rows.append(("NeuronCores", _runs_on_neuron(model)))
    return "\n".join(f"  {name:<13}{value}" for name, value in rows)


def _runs_on(model: ModelDescription) -> str:
    """Which code computes it, and why; in which numbers depends on the processor and is in the window and in every record."""
    return "fast path" if model.obstacle is None else f"transformers, because: {model.obstacle}"


def _runs_on_neuron(model: ModelDescription) -> str:
    if model.neuron_obstacle is None:
        return "by transformers-neuronx"
    return f"not by transformers-neuronx: {model.neuron_obstacle}"


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _check(pair: Path) -> int:
    """Compare the pair with its checksums."""
    wrong = list(damaged_files(pair))
    if wrong:
        raise WeightsDamaged(
            "The built-in pair is damaged: " + " ".join(wrong),
            remedy="Get the files again: clone the repository anew, or reinstall.",
        )
    print("\nFiles: whole, every checksum agrees.")
    return EXIT_OK
