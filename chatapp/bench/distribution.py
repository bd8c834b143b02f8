"""Whether the engine's output is distributed as the target alone would have it: whole runs over toy tables, by chi-square.

The next token's logits depend on the last two tokens, so the distribution behind every context is known, and every token of
a reply is a draw from a known row. Counts are kept per context of three tokens: what depends on more of the past than it may
is seen too. Every lossless rule, drafter and way to choose windows must pass; every planted fault must not.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chatapp.bench.chi_square import chi_square_p
from chatapp.bench.controls import CONTROLS
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.domain.events import Environment, RunStarted, StepCommitted, WindowChoice
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.toy import ToyModel
from chatapp.engine.contracts import Acceptor, StepOutcome, WindowPolicy
from chatapp.engine.control import RunControl
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import ACCEPTORS, DRAFTERS, POLICIES, DraftingContext, RunAcceptors
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence

FAMILY_WISE = 1e-3
"""The chance that a correct engine fails the suite at all, over every combination in it."""
VOCABULARY, ORDER, MEMORY = 4, 2, 3
PROMPT = (0, 1, 2)
REPLY = 1_000
FAULT_SAMPLES = 8_000
"""The least that a planted fault gets: the mildest is seen from some 5,000 tokens on."""
WINDOWS = tuple(range(1, 9))
SAMPLING = SamplingSettings(temperature=0.8, top_p=0.9, max_tokens=REPLY)
CHANGING = 0
"""As a combination's window: k and the toggle change at every step."""
ANY = "any"
"""As a combination's acceptor: another lossless one at every step."""


@dataclass(frozen=True, slots=True)
class Combination:
    """What is run. `control` names a planted fault."""

    acceptor: str = "rejection"
    drafter: str = "model"
    window: int = 5
    policy: str = "fixed"
    control: str = ""

    def __str__(self) -> str:
        window = "k and toggle change" if self.window == CHANGING else f"k {self.window}"
        acceptor = "acceptor changes" if self.acceptor == ANY else self.acceptor
        if self.control:
            return f"fault: {self.control}, {window}"
        return f"{acceptor}, {self.drafter}, {window}, {self.policy}"


@dataclass(frozen=True, slots=True)
class Result:
    """`p` is the chance of counts at least this far from the target's; `tokens_per_step` and `drafted` say that there was
    speculation to test."""

    combination: Combination
    samples: int
    p: float
    drafted: int
    tokens_per_step: float
    threshold: float = FAMILY_WISE

    @property
    def passed(self) -> bool:
        """A fault passes by being seen."""
        return (self.p < self.threshold) == bool(self.combination.control)


def combinations() -> list[Combination]:
    """Every lossless acceptor with every drafter at every k, under every policy, and with everything changing in mid-run;
    then the faults."""
    rules = [part.name for part in ACCEPTORS.values() if part.lossless and not part.plugin]
    drafters = [part.name for part in DRAFTERS.values() if not part.plugin and part.name != "none"]
    policies = [part.name for part in POLICIES.values() if not part.plugin and part.name != "fixed"]
    result: list[Combination] = []
    for drafter in drafters:
        for rule in rules:
            result += [Combination(rule, drafter, k) for k in WINDOWS]
            result += [Combination(rule, drafter, 8, policy) for policy in [*policies, Doubtful.name]]
            result.append(Combination(rule, drafter, CHANGING))
        result += [Combination(ANY, drafter, CHANGING, policy) for policy in ["fixed", *policies]]
    return result + [Combination(window=fault.window, control=name) for name, fault in CONTROLS.items()]


def distribution_suite(
    samples: int,
    *,
    jobs: int = 1,
    chosen: Sequence[Combination] | None = None,
    on_result: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """At least `samples` tokens of every combination, on `jobs` processes. Thresholds are Bonferroni's: FAMILY_WISE over the
    number of combinations without a fault."""
    family = list(chosen) if chosen is not None else combinations()
    threshold = FAMILY_WISE / max(1, sum(not one.control for one in family))
    work = partial(_measured, samples=samples, threshold=threshold)
    results: list[Result] = []
    for result in _shared(work, family, jobs):
        on_result(result)
        results.append(result)
    return results


def _shared(work: Callable[[Combination], Result], family: list[Combination], jobs: int) -> Iterable[Result]:
    if jobs <= 1:
        yield from map(work, family)
        return
    # Fresh processes: a forked one would share locks of threads that it does not have.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, family)


def _measured(combination: Combination, samples: int, threshold: float) -> Result:
    return measure(combination, max(samples, FAULT_SAMPLES if combination.control else 1), threshold)


def measure(combination: Combination, samples: int, threshold: float = FAMILY_WISE) -> Result:
    """Replies of REPLY tokens with seeds 0, 1, 2, … until there are enough. The same everywhere, but for policies that
    look at a clock: theirs counts model calls."""
    world = _World(combination)
    counts: Counter[tuple[int, ...]] = Counter()
    said = drafted = steps = 0
    for seed in _endless():
        if said >= samples:
            break
        ids = list(PROMPT)
        for event in world.run(seed):
            if isinstance(event, StepCommitted):
                ids += [token.id for token in event.tokens]
                drafted, steps = drafted + len(event.drafted), steps + 1
        counts.update(tuple(ids[at - MEMORY : at + 1]) for at in range(MEMORY, len(ids)))
        said += len(ids) - len(PROMPT)
    return Result(combination, said, world.p(counts), drafted, said / steps, threshold)


def _endless() -> Iterator[int]:
    seed = 0
    while True:
        yield seed
        seed += 1


class Doubtful:
    """A window that ends behind a token that its drafter thinks unlikely: the simplest rule that looks at what was drafted."""

    name = "ends behind a doubt"

    def begin(self, drafter: str, acceptor: str) -> None:
        """Nothing depends on them."""

    def plan(self, most: int) -> int:
        return most

    def more(self, drafted: int, confidence: float, source: str) -> bool:  # noqa: ARG002 - the contract's signature
        return confidence >= 0.3

    def choice(self) -> WindowChoice:
        return WindowChoice(self.name, "")

    def observe(self, outcome: StepOutcome) -> None:
        """Nothing is learnt."""


class _CallClock:
    """Implements `contracts.Clock`: a target call takes 1 ms, a draft call 0.1 ms, a look a microsecond."""

    def __init__(self, target: ToyModel, draft: ToyModel) -> None:
        self._models = (target, draft)
        self._looks = 0

    def now_ns(self) -> int:
        self._looks += 1
        target, draft = self._models
        return len(target.calls) * 1_000_000 + len(draft.calls) * 100_000 + self._looks * 1_000


class _Changing(RunControl):
    """Other switches at every look: the loop asks for the acceptor first."""

    __slots__ = ("_chooser", "_rule")

    def __init__(self, seed: int, acceptor: str, policy: str) -> None:
        super().__init__(5, True, acceptor, policy)
        self._chooser = random.Random(seed)
        self._rule = acceptor

    def shuffle(self) -> None:
        """To be called between two steps."""
        self.set_window(self._chooser.choice(WINDOWS))
        self.set_speculation(self._chooser.random() < 0.8)
        if self._rule == ANY:
            rules = [part.name for part in ACCEPTORS.values() if part.lossless and not part.plugin]
            self.set_acceptor(self._chooser.choice(rules))


@dataclass
class _World:
    """One pair of tables, its caches and its policy, over many replies."""

    combination: Combination
    target: ToyModel = field(init=False)
    draft: ToyModel = field(init=False)
    policy: WindowPolicy = field(init=False)

    def __post_init__(self) -> None:
        limit = REPLY + len(PROMPT) + 1
        self.target = ToyModel(VOCABULARY, seed=3, order=ORDER, sharpness=1.2, context_limit=limit)
        self.draft = ToyModel(VOCABULARY, seed=3, order=ORDER, sharpness=1.2, noise=1.0, context_limit=limit)
        self._sequences = CachedSequence(self.target), CachedSequence(self.draft)
        name = self.combination.policy
        self.policy = Doubtful() if name == Doubtful.name else POLICIES[name].make()

    def run(self, seed: int) -> Iterator[Any]:
        """The events of one reply."""
        chosen, fault = self.combination, CONTROLS.get(self.combination.control)
        sampling = SamplingSettings(
            temperature=SAMPLING.temperature, top_p=SAMPLING.top_p, max_tokens=REPLY, seed=seed
        )
        streams = Streams(seed)
        first = "rejection" if chosen.acceptor == ANY else chosen.acceptor
        rules = RunAcceptors(streams, greedy=False)
        rules(first)
        by_name: Callable[[str], Acceptor] = rules
        current: Callable[[], Acceptor] = rules.current
        if fault is not None and fault.acceptor is not None:
            faulty = fault.acceptor(streams)
            by_name, current = (lambda _: faulty), (lambda: faulty)
        processor = Processor(sampling, len(PROMPT))
        target, draft = self._sequences
        context = DraftingContext(draft, processor, current, frozenset(), VOCABULARY)
        make_drafter = (fault.drafter if fault is not None else None) or DRAFTERS[chosen.drafter].make
        changing = chosen.window == CHANGING
        control = (
            _Changing(seed, first if chosen.acceptor != ANY else ANY, chosen.policy)
            if changing
            else RunControl(chosen.window, True, first, chosen.policy)
        )
        if isinstance(control, _Changing):
            control.set_acceptor(first)
        self.target.calls.clear()
        self.draft.calls.clear()
        run = SpeculativeRun(
            started=_started(sampling, chosen.drafter, self.target, self.draft),
            prompt_ids=PROMPT,
            parts=Parts(
                target=target,
                drafter=make_drafter(context),
                acceptor=by_name,
                policy=lambda _: self.policy,
                processor=processor,
                text=Text(_letters, lambda token: _letters([token]), frozenset()),
                clock=_CallClock(self.target, self.draft),
            ),
            control=control,
            submitted_ns=0,
        )
        for event in run.events():
            yield event
            if isinstance(control, _Changing) and isinstance(event, StepCommitted):
                control.shuffle()

    def p(self, counts: Counter[tuple[int, ...]]) -> float:
        """Chance of the counts of `MEMORY` tokens and the next one, each context's total given."""
        processor = Processor(SAMPLING)
        observed: list[float] = []
        expected: list[float] = []
        contexts = sorted({cell[:-1] for cell in counts})
        for context in contexts:
            probs = processor.row(self.target.logits_after(context), ()).at(None).tolist()
            seen = [float(counts[(*context, token)]) for token in range(VOCABULARY)]
            observed += seen
            expected += [sum(seen) * prob for prob in probs]
        return chi_square_p(observed, expected, constraints=len(contexts))


def _letters(ids: Sequence[int]) -> str:
    return "".join("abcd"[token] for token in ids)


def _started(sampling: SamplingSettings, drafter: str, target: ToyModel, draft: ToyModel) -> RunStarted:
    request = GenerationRequest((Message(Role.USER, "toy"),), sampling)
    versions: tuple[tuple[str, str], ...] = ()
    environment = Environment(
        "toy", "cpu", 1, target.info, draft.info, target.context_limit, VOCABULARY, versions, ""
    )
    return RunStarted(
        "toy", "", request, "rejection", True, environment, len(PROMPT), drafter=drafter, policy="fixed"
    )


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """For `chatapp bench --suite distribution`."""
    family = combinations()
    print(
        f"{len(family)} combinations, {options.samples:,} samples each, {options.jobs} processes; "
        f"false alarm of the whole: {FAMILY_WISE:g}"
    )

    def show(result: Result) -> None:
        verdict = "ok" if result.passed else "FAILED"
        print(
            f"{result.combination!s:<58} n {result.samples:>8,}  p {result.p:<9.3g} "
            f"{result.tokens_per_step:.2f} tokens a step  {verdict}",
            flush=True,
        )

    results = distribution_suite(options.samples, jobs=options.jobs, on_result=show)
    sound = [result for result in results if not result.combination.control]
    faults = [result for result in results if result.combination.control]
    bars = [
        Bar(
            "smallest p over all lossless combinations",
            min(result.p for result in sound),
            FAMILY_WISE / len(sound),
            at_most=False,
        ),
        Bar("planted faults that were not seen", float(sum(not result.passed for result in faults)), 0.0),
    ]
    return {
        "bars": show_bars(bars),
        "samples": options.samples,
        "combinations": {str(result.combination): result.p for result in results},
    }
