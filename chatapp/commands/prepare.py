"""`chatapp prepare`: compile a pair's graphs for NeuronCores ahead of time, in a process of its own, on any machine.

Ctrl+C, SIGTERM and a closed terminal stop it; what is finished is kept, and the same command goes on from there. torch is imported
only when something is prepared.
"""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

from chatapp.commands.neuron_arguments import add_neuron_arguments, neuron_settings
from chatapp.commands.prepare_report import Output, Reporter, make_reporter, own_output
from chatapp.domain.errors import ChatappError, PrepareFailed
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import PairLocation
from chatapp.domain.preparation import (
    PreparationDone,
    PreparationFailed,
    PreparationProgress,
    PreparationStopped,
    counted,
    duration,
)
from chatapp.engine.backends.neuron.artefacts import ArtefactStore, Manifest
from chatapp.resources import builtin_pair

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
CACHE_VARIABLE = "NEURON_COMPILE_CACHE_URL"
FLAGS_VARIABLE = "NEURON_CC_FLAGS"
RETRY_FLAG = "--retry_failed_compilation"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOWN_DIGITS = 8
SHOWN_FACTS = ("NeuronCores (tp)", "context (positions)", "windows", "dtype")
GO_ON = "The same command goes on from there."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `chatapp prepare`."""
    parser.add_argument(
        "--target", type=Path, metavar="DIR", help="the target's directory (default: the built-in pair)"
    )
    parser.add_argument("--draft", type=Path, metavar="DIR", help="the draft model that goes with --target")
    add_neuron_arguments(parser, rehearsal=True)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="graphs compiled at once (default: as many as memory and cores allow)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="compile again what the compiler's cache remembers as failed",
    )
    parser.add_argument("--list", action="store_true", help="show what is prepared, and leave")
    parser.add_argument("--remove", metavar="KEY", help="remove a prepared or unfinished set, and leave")
    parser.add_argument(
        "--json-progress", action="store_true", help="progress as lines of JSON, for other programs"
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Prepare, list or remove; returns the exit status, 130 when it was stopped."""
    if args.draft is not None and args.target is None:
        args.usage_error("--draft needs --target")
    if args.workers is not None and args.workers < 1:
        args.usage_error("--workers needs a number above 0")
    store = ArtefactStore(args.artefacts)
    if args.list:
        print(listing(store))
        return EXIT_OK
    if args.remove is not None:
        print(f"Removed {', '.join(store.remove(args.remove))}.")
        return EXIT_OK
    pair = builtin_pair()
    target, draft = (pair.target, pair.draft) if args.target is None else (args.target, args.draft)
    settings = neuron_settings(args) or NeuronSettings()
    location = PairLocation(target.name, target, draft, neuron=settings)
    for number in STOPPING:
        signal.signal(number, _interrupt)
    try:
        with own_output(store.root) as output:
            status = _prepare(location, store, output, args)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise PrepareFailed(
            f"{store.root} cannot be written: {why}.",
            remedy="Choose another place with --artefacts.",
        ) from error
    if status != EXIT_FAILED:
        with suppress(OSError):
            output.log.unlink()
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first counts: a second Ctrl+C must not break off the ending of compilers."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Heard:
    """Passes progress on and remembers the last, from which the closing words say what is kept."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.last: PreparationProgress | None = None

    def __call__(self, progress: PreparationProgress) -> None:
        self.last = progress
        self._reporter.progress(progress)

    @property
    def kept(self) -> str:
        if self.last is None:
            return ""
        if not self.last.graphs_done:
            return "No graph was finished yet."
        done, graphs = self.last.graphs_done, counted(self.last.graphs_total, "graph")
        return f"{done} of {graphs} {'is' if done == 1 else 'are'} kept."


def _prepare(location: PairLocation, store: ArtefactStore, output: Output, args: argparse.Namespace) -> int:
    reporter = make_reporter(output, json=args.json_progress)
    heard = _Heard(reporter)
    try:
        done = _compile(location, store, output, heard, args)
    except KeyboardInterrupt:
        reporter.end(PreparationStopped(heard.kept, GO_ON))
        return EXIT_INTERRUPTED
    except ChatappError as error:
        reporter.end(PreparationFailed(error.what, error.kept or heard.kept, error.remedy))
        return EXIT_FAILED
    reporter.end(done)
    return EXIT_OK


def _compile(
    location: PairLocation, store: ArtefactStore, output: Output, heard: _Heard, args: argparse.Namespace
) -> PreparationDone:
    # Before a library is imported: the compiler's own cache, under the artefacts unless the person has chosen another place.
    os.environ.setdefault(CACHE_VARIABLE, str(store.compiler_cache))
    if args.retry_failed:
        os.environ[FLAGS_VARIABLE] = f"{os.environ.get(FLAGS_VARIABLE, '')} {RETRY_FLAG}".strip()
    from chatapp.engine.backends.neuron.preparing import prepare
    from chatapp.engine.backends.neuron.sides import sides_of, usual_workers

    workers = args.workers or usual_workers()
    return prepare(sides_of(location, workers), store, heard, log=output.log_tail, log_path=output.log)


def listing(store: ArtefactStore) -> str:
    """What is prepared and what was begun, for a person."""
    manifests, unfinished = store.manifests(), store.unfinished()
    if not manifests and not unfinished:
        return f"Nothing is prepared in {store.root}."
    lines = [f"Prepared in {store.root}:"]
    for manifest in manifests:
        lines += ["", *_described(manifest)]
    for folder in unfinished:
        graphs = sum(1 for _ in folder.glob("*.neff"))
        lines += [
            "",
            f"{folder.stem[:SHOWN_DIGITS]}  not finished: {counted(graphs, 'graph')} so far; the command that began it goes on",
        ]
    return "\n".join(lines)


def _described(manifest: Manifest) -> list[str]:
    facts = manifest.facts
    device = "simulated device" if manifest.simulated else "NeuronCores"
    packages = [f"{name} {facts[name]}" for name in facts if name.startswith(("transformers-", "neuron"))]
    size = f"{counted(manifest.graphs, 'graph')}, {manifest.bytes / 1e6:.1f} MB"
    return [
        f"{manifest.key[:SHOWN_DIGITS]}  {manifest.role}: {manifest.model}, {size}, {device}",
        f"          {'; '.join(f'{name} {facts[name]}' for name in SHOWN_FACTS if name in facts)}",
        f"          {'; '.join([*packages, f'prepared {manifest.made_at[:10]} in {duration(manifest.seconds)}'])}",
    ]
