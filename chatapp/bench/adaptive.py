"""`--suite adaptive`: the adaptive window against every fixed one, the best of which is chosen afterwards.

First drafters of synthetic acceptance, over the real target: they pay the draft model's real passes and then propose the
target's own next token, or with the stated chance another. Their confidences say nothing, so all that a policy can find is
the best fixed window. Then the pair itself, all kinds of text in one stream, where it can do better. "Best fixed" is one k
for the whole of what is compared: for a kind the best on that kind, for mixed text the best on all.

Beside the measured ratio stands the one at typical costs: every step of every side counted with the median cost of its
window and of its number of drafts. Other processes move the first more than the second, which says what the choices of
windows are worth.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from chatapp.bench.measure import Cell, Reply, in_turn, measure_engine, reply_of, speed_up
from chatapp.bench.prompts import PROMPTS, prompts_of
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.bench.typical import TypicalCosts, stepped
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.record import RunRecord
from chatapp.domain.request import MAX_WINDOW, GenerationRequest, Message, SamplingSettings
from chatapp.engine.contracts import Budget, Proposal
from chatapp.engine.control import RunControl
from chatapp.engine.distribution import one_hot
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.registry import DraftingContext, Part
from chatapp.engine.registry.parts import MakeDrafter
from chatapp.engine.session import Engine

ACCEPTANCES = (0.0, 0.3, 0.6, 0.9, 0.97)
TEMPERATURES = (0.0, 0.8)
UNINFORMATIVE = 0.8
"""The confidence of every synthetic draft."""
SAME_TEXTS = "coupled"
"""The rule at any temperature but 0: every side then writes the same text, so that windows are compared and not texts."""
PER_FIXED, PER_PLAIN, MIXED = 0.97, 0.97, 1.05
ADAPTIVE = "adaptive"


class Story(NamedTuple):
    """Prompt and reply as the target alone writes them, and the place of the prompt in the stream."""

    number: int = 0
    ids: Sequence[int] = ()


class SyntheticDrafter(ModelDrafter):
    """Right with a given chance, at the same positions of a story for every window; each token costs a pass of the draft
    model."""

    def __init__(self, context: DraftingContext, story: Callable[[], Story], acceptance: float) -> None:
        assert context.draft is not None
        super().__init__(context.draft, context.processor, context.acceptor, context.ends)
        self._story = story
        self._acceptance = acceptance
        self._vocabulary = context.vocabulary

    def propose(self, prefix: Sequence[int], budget: Budget) -> Proposal:
        (number, story), ids = self._story(), list[int]()
        while len(ids) < budget.count and self.has_room(len(prefix) + len(ids)) and not budget.cancelled:
            place = len(prefix) + len(ids)
            self.draw(prefix, ids)
            right = story[place] if place < len(story) else 0
            lucky = random.Random(f"{number} {place}").random() < self._acceptance
            ids.append(right if lucky else (right + 1) % self._vocabulary)
            if ids[-1] in self._ends or not budget.more(UNINFORMATIVE, "model"):
                break
        rows = tuple(one_hot(token, self._vocabulary) for token in ids)
        return Proposal(tuple(ids), rows, ("model",) * len(ids), (UNINFORMATIVE,) * len(ids))


class SyntheticEngine(Engine):
    """The loaded pair with a drafter for every acceptance. `story` is what they take their right tokens from."""

    story = Story()

    def add_drafters(self) -> None:
        pair = self.pair
        drafters = dict(pair.registry.drafters)
        for acceptance in ACCEPTANCES:
            name = drafter_name(acceptance)
            drafters[name] = Part[MakeDrafter](name, "synthetic", self._maker(acceptance), needs_draft=True)
        self._pair = replace(pair, registry=replace(pair.registry, drafters=drafters))

    def _maker(self, acceptance: float) -> MakeDrafter:
        return lambda context: SyntheticDrafter(context, lambda: self.story, acceptance)


def drafter_name(acceptance: float) -> str:
    return f"synthetic {acceptance:g}"


@dataclass(frozen=True, slots=True)
class Side:
    """One row of a table: k, and who chooses under it."""

    name: str
    window: int
    policy: str = "fixed"


Prompts = Sequence[tuple[str, tuple[Message, ...]]]
"""Kind and messages of each prompt, in the order of the stream."""


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """Measure and print. Raises `ModelError`, and `InvalidSetting` for a pair without a draft."""
    engine = SyntheticEngine(threads=options.threads, device=options.device)
    info = engine.load(options.pair, lambda _: None)
    if info.environment.draft is None:
        raise InvalidSetting("draft", "The adaptive suite needs a pair with a draft model.")
    engine.add_drafters()
    sides = sides_of(options.windows)
    prompts = stream(options.kinds or tuple(PROMPTS), options.prompts)
    print(
        f"{info.environment.target.name} and {info.environment.draft.name} on {info.environment.device}, "
        f"{info.environment.threads} threads; {len(prompts)} prompts of all kinds in one stream, "
        f"at most {options.max_tokens or 96} tokens, {options.rounds} rounds after one to learn in"
    )
    bench = _Bench(engine, options, sides, prompts)
    result = {"synthetic": bench.synthetic(), "texts": bench.texts()}
    return result | {"bars": show_bars(bench.bars)}


def stream(kinds: Sequence[str], count: int) -> Prompts:
    """The first `count` prompts of every kind, kinds in turn."""
    by_kind = [[(kind, messages) for messages in prompts_of(kind, count)] for kind in kinds]
    return [prompt for prompt in chain.from_iterable(zip_longest(*by_kind)) if prompt is not None]


def sides_of(windows: Sequence[int]) -> list[Side]:
    """Plain decoding, every fixed window, and the adaptive one under the largest."""
    most = max(windows, default=MAX_WINDOW)
    fixed = [Side("plain" if k == 1 else f"k {k}", k) for k in sorted({1, *windows})]
    return [*fixed, Side(ADAPTIVE, most, ADAPTIVE)]


class _Bench:
    def __init__(
        self, engine: SyntheticEngine, options: SuiteOptions, sides: list[Side], prompts: Prompts
    ) -> None:
        self.bars: list[Bar] = []
        self._engine = engine
        self._options = options
        self._sides = sides
        self._prompts = prompts

    def synthetic(self) -> list[dict[str, Any]]:
        """A row per acceptance."""
        sampling = self._options.sampling(temperature=0.0)
        if not sampling.greedy:
            sampling = replace(sampling, temperature=0.0)
        stories = [
            Story(number, self._story(messages, sampling))
            for number, (_, messages) in enumerate(self._prompts)
        ]
        print("\nsynthetic drafters (greedy; what they propose is made up, what it costs is not)")
        rows = []
        for acceptance in ACCEPTANCES:
            cells = self._measure(sampling, drafter_name(acceptance), stories)
            rows.append(
                self._compare(f"acceptance {acceptance:g}", cells, PER_FIXED, plain=acceptance == 0.0)
            )
        return rows

    def texts(self) -> list[dict[str, Any]]:
        """A row per temperature and kind, and one for all of them together."""
        asked = self._options.temperature
        rows = []
        for temperature in TEMPERATURES if asked is None else (asked,):
            rule = "greedy" if temperature == 0.0 else f"{SAME_TEXTS}, so that every side writes the same"
            print(f"\ndrafter {self._options.drafter}, temperature {temperature:g} ({rule})")
            cells = self._measure(
                replace(self._options.sampling(), temperature=temperature), self._options.drafter
            )
            for kind in dict.fromkeys(kind for kind, _ in self._prompts):
                chosen = [place for place, (of, _) in enumerate(self._prompts) if of == kind]
                part = {name: only(cell, chosen) for name, cell in cells.items()}
                rows.append(self._compare(f"{kind}, T {temperature:g}", part, PER_FIXED))
            rows.append(self._compare(f"mixed text, T {temperature:g}", cells, MIXED))
        return rows

    def _story(self, messages: tuple[Message, ...], sampling: SamplingSettings) -> list[int]:
        request = GenerationRequest(messages, sampling, window=1, speculation=False)
        prompt = self._engine.prepare(request).prompt_ids
        return [*prompt, *measure_engine(self._engine, request).tokens]

    def _measure(
        self, sampling: SamplingSettings, drafter: str, stories: Sequence[Story] = ()
    ) -> dict[str, Cell]:
        def side(of: Side) -> Callable[[int], Reply]:
            def answer(index: int) -> Reply:
                if stories:
                    self._engine.story = stories[index]
                request = GenerationRequest(
                    self._prompts[index][1],
                    sampling,
                    window=of.window,
                    speculation=of.window > 1,
                    acceptor=SAME_TEXTS,
                    drafter=drafter,
                    policy=of.policy,
                )
                return self._reply(request)

            return answer

        answers = [side(of) for of in self._sides]
        cells = in_turn(answers, len(self._prompts), self._options.rounds)
        return {of.name: cell for of, cell in zip(self._sides, cells, strict=True)}

    def _reply(self, request: GenerationRequest) -> Reply:
        self._engine.forget()
        record = RunRecord()
        for event in self._engine.run(self._engine.prepare(request), RunControl.of(request)):
            record.apply(event)
        return stepped(reply_of(record), record)

    def _compare(
        self, what: str, cells: dict[str, Cell], bar: float, *, plain: bool = False
    ) -> dict[str, Any]:
        """Print TPOT of every side; adaptive over the best fixed one as a bar, at acceptance 0 over plain decoding."""
        fixed = {name: cell for name, cell in cells.items() if name != ADAPTIVE}
        adaptive, costs = cells[ADAPTIVE], TypicalCosts(cells.values())
        best = min(fixed, key=lambda name: fixed[name].tpot_ms() or float("inf"))
        over_best, over_plain = speed_up(adaptive, cells[best]), speed_up(adaptive, cells["plain"])
        typical = {name: costs.tpot_ms(cell) or float("nan") for name, cell in cells.items()}
        at_typical = min(typical[name] for name in fixed) / typical[ADAPTIVE]
        figures = "  ".join(f"{name} {cell.tpot_ms() or float('nan'):.3f}" for name, cell in cells.items())
        print(f"{what}: ms per token: {figures}", flush=True)
        print(
            f"  adaptive is {over_best or float('nan'):.3f} times as fast as the best fixed ({best}), {at_typical:.3f} at "
            f"typical costs, {over_plain or float('nan'):.2f} times plain; {_length(adaptive)}",
            flush=True,
        )
        if plain:
            self.bars.append(Bar(f"{what}: adaptive / plain", over_plain, PER_PLAIN, at_most=False))
        else:
            self.bars.append(Bar(f"{what}: adaptive / best fixed", over_best, bar, at_most=False, note=best))
        return {
            "what": what,
            "tpot_ms": {name: cell.tpot_ms() for name, cell in cells.items()},
            "best_fixed": best,
            "typical_tpot_ms": typical,
            "adaptive_over_best_fixed": over_best,
            "adaptive_over_best_fixed_at_typical_costs": at_typical,
            "adaptive_over_plain": over_plain,
        }


def only(cell: Cell, places: Sequence[int]) -> Cell:
    """The replies to some of the prompts."""
    return Cell([[replies[place] for place in places] for replies in cell.rounds])


def _length(cell: Cell) -> str:
    metrics = cell.metrics()
    return (
        f"{metrics.mean_acceptance_length or 1.0:.2f} tokens per step, "
        f"tested acceptance {metrics.tested_acceptance or 0.0:.2f}"
    )
