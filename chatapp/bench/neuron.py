"""`--suite neuron`: whether a pair says on NeuronCores what it says elsewhere, whether what it samples is the target's, and
whether every reply takes the launches that it should. On the emulator of transformers-neuronx, on this processor: nothing here
is a speed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chatapp.bench import neuron_samples
from chatapp.bench.neuron_samples import Distance, World
from chatapp.bench.neuron_texts import CHANGING, Outcome, Reference, compare, emulated
from chatapp.bench.suites import Bar, SuiteOptions, show_bars

CONVERSATIONS = 50
TOKENS = 48
DTYPES = ("f32", "bf16")
NEAR_TIE = 4.0
"""Tokens whose logits differ by less are as good as equal in bfloat16, in steps of that type at the logit's size: a logit is
rounded once by itself, and what it is computed from many times."""
DISTANCE = 0.01
SHOWN = 5


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """The pair of the options, its KV reused over three turns, and a pair of its own over three ids. Raises `ModelError`."""
    tokens = options.max_tokens or TOKENS
    print(
        f"simulated device. {CONVERSATIONS} conversations of three turns, up to {tokens} tokens each, at every k from 1 to 16 "
        "and with k and toggle changing at every step; greedy, against transformers in float32"
    )
    reference = Reference(options.pair)
    outcomes = {dtype: _texts(reference, options, dtype, tokens) for dtype in DTYPES}
    replies = max(1, options.samples // neuron_samples.TOKENS)
    print(
        f"sampled: {replies:,} replies of {neuron_samples.TOKENS} ids out of three, at every k that they leave room for"
    )
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        world = World(Path(folder), options.pair.target)
        distances = [_measured(world, k, replies) for k in neuron_samples.WAYS]
    return report(outcomes, distances)


def _texts(reference: Reference, options: SuiteOptions, dtype: str, tokens: int) -> Outcome:
    def show(number: int, so_far: Outcome) -> None:
        if (number + 1) % 10 == 0:
            print(f"  {dtype}: {so_far.identical} of {so_far.replies} replies identical", flush=True)

    engine = emulated(options.pair, dtype)
    return compare(engine, reference, range(CONVERSATIONS), tokens, on_conversation=show)


def _measured(world: World, k: int, replies: int) -> Distance:
    distance = world.measure(k, replies)
    print(
        f"  {name_of(k):<22} total variation {distance.pairs:.4f} (perfect draws: {distance.expected:.4f} on average), "
        f"largest of single places {distance.largest_place:.4f}, {distance.tokens_per_step:.2f} tokens a step",
        flush=True,
    )
    return distance


def name_of(k: int) -> str:
    return "k and toggle changing" if k == CHANGING else f"k {k}"


def report(outcomes: dict[str, Outcome], distances: Sequence[Distance]) -> dict[str, Any]:
    """The tables, what differed in words, and the bars."""
    for dtype, outcome in outcomes.items():
        print(
            f"{dtype}: {outcome.identical} of {outcome.replies} replies identical, {outcome.tokens:,} tokens in "
            f"{outcome.verify_steps:,} verify steps, {outcome.accepted:,} of {outcome.drafted:,} drafts kept, {outcome.reused:,} "
            f"positions reused, launches: target {outcome.target_launches:,}, draft {outcome.draft_launches:,}, "
            f"{len(outcome.off_plan)} replies off the plan"
        )
        for parting in outcome.partings[:SHOWN]:
            print(
                f"  conversation {parting.conversation}, turn {parting.turn}, {name_of(parting.k)}: parts at token {parting.at}, "
                f"margin {parting.margin:.4f}, {parting.steps:.2f} bfloat16 steps"
            )
        for line in outcome.off_plan[:SHOWN]:
            print(f"  {line}")
    every = list(outcomes.values())
    half = outcomes["bf16"]
    bars = [
        Bar("float32: replies that differ", float(len(outcomes["f32"].partings)), 0.0),
        Bar(
            "bfloat16: largest margin where replies part, in bfloat16 steps",
            max((parting.steps for parting in half.partings), default=0.0),
            NEAR_TIE,
            note=f"{len(half.partings)} of {half.replies} part, largest margin "
            f"{max((parting.margin for parting in half.partings), default=0.0):.4f}",
        ),
        Bar(
            "replies whose launches are not those planned",
            float(sum(len(one.off_plan) for one in every)),
            0.0,
        ),
        Bar(
            "largest total variation to the target's distribution",
            max(one.pairs for one in distances),
            DISTANCE,
        ),
    ]
    return {
        "bars": show_bars(bars),
        "simulated": True,
        "texts": {
            dtype: {
                name: value for name, value in asdict(one).items() if name not in ("partings", "off_plan")
            }
            for dtype, one in outcomes.items()
        },
        "partings": {dtype: [asdict(parting) for parting in one.partings] for dtype, one in outcomes.items()},
        "distances": [asdict(one) for one in distances],
    }
