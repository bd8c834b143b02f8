"""`--suite rigged`: what speculation yields where every draft is right. Synthetic: random weights, and a draft that pays its
real forwards and then proposes what the target is about to say.

Each side's draft is told that side's own greedy continuation, written down beforehand. Both sides run the same bfloat16
target and window; our draft runs in int8 (the best that we have), theirs in the bfloat16 that transformers has.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.bench.engines import SyntheticEngine, ids_of
from chatapp.bench.measure import Cell, Reply, in_turn, reply_of, speed_up
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.domain.request import SamplingSettings
from chatapp.engine.backends.hf_generate import TransformersPeer
from chatapp.engine.backends.synthetic import set_compute_threads, shape_named, write_random

TARGET, DRAFT = "110M", "5M"
WINDOW = 8
PROMPT_TOKENS = 64
TOKENS = 96
SIDES = ("chatapp plain", "chatapp", "transformers plain", "transformers assisted")


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    threads = options.threads or 2
    tokens = options.max_tokens or TOKENS
    shapes = (options.shapes or (TARGET, DRAFT))[:2]
    print(
        f"synthetic: random {shapes[0]} bfloat16 target, random {shapes[-1]} draft rigged to full acceptance; k = {WINDOW}, "
        f"{PROMPT_TOKENS} + {tokens} tokens, greedy, {threads} threads, {options.rounds} rounds"
    )
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        sides = [
            write_random(
                Path(folder) / role, shape_named(shape), "bfloat16", tokenizer=options.pair.target, seed=seed
            )
            for seed, (role, shape) in enumerate((("target", shapes[0]), ("draft", shapes[-1])))
        ]
        set_compute_threads(threads)
        rig = Rig(sides[0], sides[1], tokens)
        cells = dict(zip(SIDES, in_turn(rig.sides(), 1, options.rounds), strict=True))
    return _report(cells, rig)


@dataclass(slots=True)
class _Lengths:
    """Committed tokens per pass of the target, as each side counts them."""

    ours: float = 0.0
    theirs: float = 0.0


class Rig:
    """Both sides loaded, their continuations recorded, their drafts told."""

    def __init__(self, target: Path, draft: Path, tokens: int) -> None:
        self.lengths = _Lengths()
        self._tokens = tokens
        self._prompt = [(13 * index + 5) % 1000 for index in range(PROMPT_TOKENS)]
        self.engine = SyntheticEngine(target, draft, draft_weights="int8")
        self._our_text = ids_of(self.engine.answer(self._prompt, window=1, tokens=tokens))
        # A few ids more than the reply: the last window's drafts have something to say too.
        self.engine.rigged.story = [*self._prompt, *self._our_text]
        self._sampling = SamplingSettings(temperature=0.0, max_tokens=tokens)
        self.peer = TransformersPeer(target, draft, device="cpu", dtypes=("bfloat16", "bfloat16"))
        self._their_text = self.peer.generate(self._prompt, self._sampling, (), None).tokens
        self.peer.rig([*self._prompt, *self._their_text])

    @property
    def texts_kept(self) -> bool:
        """Whether each side, assisted, still wrote what it wrote alone."""
        ours = ids_of(self.engine.answer(self._prompt, window=WINDOW, tokens=self._tokens))
        theirs = self.peer.generate(self._prompt, self._sampling, (), WINDOW - 1).tokens
        return ours == self._our_text and theirs == self._their_text

    def sides(self) -> list[Any]:
        return [
            lambda _: self._ours(1),
            lambda _: self._ours(WINDOW),
            lambda _: self._theirs(None),
            lambda _: self._theirs(WINDOW - 1),
        ]

    def _ours(self, window: int) -> Reply:
        self.engine.forget()
        reply = reply_of(self.engine.answer(self._prompt, window=window, tokens=self._tokens))
        if window > 1 and reply.metrics is not None:
            self.lengths.ours = reply.metrics.mean_acceptance_length or 0.0
        return reply

    def _theirs(self, assistant_tokens: int | None) -> Reply:
        before = self.peer.target_passes
        reply = self.peer.generate(self._prompt, self._sampling, (), assistant_tokens)
        if assistant_tokens is not None:
            # Assisted generation reads the prompt in its first verify pass.
            self.lengths.theirs = len(reply.tokens) / (self.peer.target_passes - before)
        return Reply(reply.ttft_ns, reply.decode_ns, reply.decode_tokens, reply.tokens)


def _report(cells: dict[str, Cell], rig: Rig) -> dict[str, Any]:
    kept = rig.texts_kept
    print(f"{'side':<24}{'TPOT ms':>9}{'tokens per verify step':>25}")
    rows = []
    for name, cell in cells.items():
        length = {"chatapp": rig.lengths.ours, "transformers assisted": rig.lengths.theirs}.get(name, 1.0)
        rows.append({"side": name, "tpot_ms": cell.tpot_ms(), "tokens_per_verify_step": length})
        print(f"{name:<24}{cell.tpot_ms() or float('nan'):>9.3f}{length:>25.2f}")
    print(f"each side writes with its rigged draft what it writes without: {'yes' if kept else 'NO'}")
    over = speed_up(cells["transformers assisted"], cells["chatapp"])
    bars = [
        Bar("TPOT, full acceptance, k = 8, chatapp / transformers assisted", over, 0.45),
        Bar(
            "TPOT, full acceptance, k = 8, chatapp / llama.cpp bfloat16 plain",
            None,
            0.6,
            note=llama_cpp_words(),
        ),
    ]
    own = speed_up(cells["chatapp plain"], cells["chatapp"])
    print(f"our TPOT with the rigged draft is {own or float('nan'):.2f} of our plain decoding's")
    return {
        "synthetic": True,
        "rows": rows,
        "texts_kept": kept,
        "over_own_plain": own,
        "rounds": statistics.median(len(cell.rounds) for cell in cells.values()),
        "bars": show_bars(bars),
    }


def llama_cpp_words() -> str:
    """Why llama.cpp has no row."""
    if importlib.util.find_spec("llama_cpp") is None:
        return "llama_cpp is not installed here"
    return (
        "llama_cpp reads GGUF files alone, and these random weights are written in Hugging Face layout alone"
    )
