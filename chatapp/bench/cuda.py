"""`--suite shapes`: TPOT of large shapes on a GPU, plain and at k 2 … 16, against what the memory allows and against transformers.

Synthetic: random weights of real shapes, made on the device, and a draft that pays its forwards and then proposes the
target's own continuation with planted mistakes, so that the acceptance is set. The bound is the time in which the measured
bandwidth reads what the passes must read at least. On the CPU the same code runs on tiny shapes: that says that it works,
and nothing about speed on a GPU.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatapp.bench.engines import ANY_MESSAGE
from chatapp.bench.measure import Cell, Reply, in_turn, reply_of, speed_up
from chatapp.bench.suites import SuiteOptions
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.ports import PairLocation
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest, SamplingSettings
from chatapp.engine.backends.cuda.synthetic import PAIRS, SyntheticPair, free_bytes, make_pair, needed_bytes
from chatapp.engine.backends.loading import default_device
from chatapp.engine.bandwidth import measure_bandwidth
from chatapp.engine.control import RunControl
from chatapp.engine.prompt import Prompt
from chatapp.engine.session import Engine, PreparedRun, assemble
from chatapp.engine.threads import default_threads

WINDOWS = (2, 3, 4, 5, 6, 8, 12, 16)
ACCEPTANCE = 0.8
PROMPT_TOKENS = 64
TOKENS = 128
PEER_WINDOW = 5
"""Assisted generation is measured at this k and with the library's own defaults."""


class DeviceEngine(Engine):
    """An engine over a synthetic pair; ids in, no end of text."""

    def __init__(self, pair: SyntheticPair, location: PairLocation, device: str, bandwidth: float) -> None:
        super().__init__(device=device)
        prompt = Prompt.load(location.target, ())
        prompt.eos_ids = frozenset()
        self._pair = assemble(location, pair.target, pair.draft, prompt, device, bandwidth=bandwidth)

    def answer(self, ids: Sequence[int], window: int, tokens: int) -> RunRecord:
        """A greedy reply from empty caches; k = 1 means without speculation."""
        self.forget()
        sampling = SamplingSettings(temperature=0.0, max_tokens=tokens)
        request = GenerationRequest(ANY_MESSAGE, sampling, window=window, speculation=window > 1)
        record = RunRecord()
        prepared = PreparedRun(request, tuple(ids), time.perf_counter_ns())
        for event in self.run(prepared, RunControl.of(request)):
            record.apply(event)
        return record


@dataclass
class _Side:
    """One row of the table. `bytes_read` are those of a reply's steps behind the first; 0 where nobody counts them."""

    name: str
    answer: Callable[[], Reply]
    window: int | None = None
    bytes_read: int = 0
    tokens_per_step: float | None = None
    cell: Cell = field(default_factory=Cell)


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """Raises `InvalidSetting` for a pair of shapes that does not exist."""
    device = options.device or default_device()
    names = options.shapes or (("8B+1B", "1B+0.1B") if device.startswith("cuda") else ("tiny",))
    unknown = [name for name in names if name not in PAIRS]
    if unknown:
        raise InvalidSetting("shape", f"There is no pair {unknown[0]!r}; known are {', '.join(PAIRS)}.")
    bandwidth = measure_bandwidth(options.threads or default_threads(), device)
    print(
        f"synthetic: random bfloat16 weights, draft rigged to an acceptance of {ACCEPTANCE:g}; {PROMPT_TOKENS} + "
        f"{options.max_tokens or TOKENS} tokens, greedy, {options.rounds} rounds; device {device}, memory read at "
        f"{bandwidth / 1e9:.0f} GB/s"
    )
    if not device.startswith("cuda"):
        print("no GPU is measured here: these figures say that the device path works, not how fast it is")
    pairs = [_pair(name, options, device, bandwidth) for name in names]
    return {
        "synthetic": True,
        "device": device,
        "bandwidth_bytes_per_s": bandwidth,
        "pairs": pairs,
        "bars": [],
    }


def _pair(name: str, options: SuiteOptions, device: str, bandwidth: float) -> dict[str, Any]:
    needed, free = needed_bytes(name), free_bytes(device)
    if needed > free:
        words = (
            f"needs {needed / 1e9:.1f} GB of memory for both sides, {free / 1e9:.1f} GB are free on {device}"
        )
        print(f"\n{name}: not measured: {words}")
        return {"pair": name, "refused": words}
    pair = make_pair(name, device)
    print(f"\n{name}: {pair.target.info.runs_on}")
    location = PairLocation(f"synthetic {name}", options.pair.target, None)
    engine = DeviceEngine(pair, location, device, bandwidth)
    sides = _sides(pair, engine, options)
    cells = in_turn([_ignoring_prompt(side) for side in sides], 1, options.rounds)
    for side, cell in zip(sides, cells, strict=True):
        side.cell = cell
    rows = [_row(side, sides, bandwidth) for side in sides]
    return {"pair": name, "runs_on": pair.target.info.runs_on, "rows": rows}


def _ignoring_prompt(side: _Side) -> Callable[[int], Reply]:
    return lambda _: side.answer()


def _sides(pair: SyntheticPair, engine: DeviceEngine, options: SuiteOptions) -> list[_Side]:
    """Every side, with its draft told the side's own continuation."""
    tokens = options.max_tokens or TOKENS
    prompt = [(13 * index + 5) % 1000 for index in range(PROMPT_TOKENS)]
    sampling = SamplingSettings(temperature=0.0, max_tokens=tokens)
    ours = reply_of(engine.answer(prompt, 1, tokens)).tokens
    theirs = pair.peer.generate(prompt, sampling, (), None).tokens
    pair.rig(mistaken([*prompt, *ours], options.seed), mistaken([*prompt, *theirs], options.seed))

    def own(window: int) -> _Side:
        def answer() -> Reply:
            record = engine.answer(prompt, window, tokens)
            later = record.steps[1:]
            side.bytes_read = sum(step.draft_bytes + step.verify_bytes for step in later)
            side.tokens_per_step = sum(len(step.tokens) for step in later) / len(later)
            return reply_of(record)

        side = _Side("chatapp plain" if window == 1 else f"chatapp k = {window}", answer, window)
        return side

    def peer(name: str, assistant_tokens: int | None) -> _Side:
        def answer() -> Reply:
            reply = pair.peer.generate(prompt, sampling, (), assistant_tokens)
            return Reply(reply.ttft_ns, reply.decode_ns, reply.decode_tokens, reply.tokens)

        return _Side(name, answer)

    windows = [window for window in options.windows if window > 1] or WINDOWS
    return [
        *map(own, (1, *windows)),
        peer("transformers plain", None),
        peer(f"transformers assisted k = {PEER_WINDOW}", PEER_WINDOW - 1),
        peer("transformers assisted, its defaults", 0),
    ]


def mistaken(story: Sequence[int], seed: int) -> list[int]:
    """`story` with another id at 1 − `ACCEPTANCE` of all places behind the prompt, the same places for each side."""
    chooser = random.Random(seed)
    return [
        token
        if place < PROMPT_TOKENS or chooser.random() < ACCEPTANCE
        else token + 1
        if token == 0
        else token - 1
        for place, token in enumerate(story)
    ]


def _row(side: _Side, sides: Sequence[_Side], bandwidth: float) -> dict[str, Any]:
    tpot = side.cell.tpot_ms()
    replies = side.cell.replies()
    bound = None
    if side.bytes_read and bandwidth:
        bound = side.bytes_read / bandwidth * 1e3 / replies[-1].decode_tokens
    peers = {
        one.name: speed_up(one.cell, side.cell) for one in sides if one.window is None and one is not side
    }
    over = {name: ratio for name, ratio in peers.items() if side.window is not None}
    if side is sides[0]:
        heads = f"{'side':<38}{'TPOT ms':>10}{'bound ms':>10}{'share':>7}{'tokens/step':>13}"
        heads += "  over transformers' TPOT (plain, assisted, assisted with its defaults)"
        print(heads)
    share = bound / tpot if bound and tpot else None
    cells = (
        f"{tpot:>10.3f}" if tpot else f"{'–':>10}",
        f"{bound:>10.3f}" if bound else f"{'–':>10}",
        f"{share:>7.0%}" if share else f"{'–':>7}",
        f"{side.tokens_per_step:>13.2f}" if side.tokens_per_step else f"{'–':>13}",
    )
    ratios = "  ".join(f"{ratio:.2f}" for ratio in over.values() if ratio)
    print(f"{side.name:<38}{''.join(cells)}  {ratios}")
    return {
        "side": side.name,
        "k": side.window,
        "tpot_ms": tpot,
        "bound_ms": bound,
        "share_of_bound": share,
        "tokens_per_step": side.tokens_per_step,
        "over": over,
    }
