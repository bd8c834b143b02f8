"""The suites of `chatapp bench --suite …`: what they are called, what they may be told, and what they hand back.

A suite is a module with a function `run_suite(options: SuiteOptions) -> dict[str, Any]`. It prints its conditions and its
table while it runs, and returns what belongs into the JSON line that ends the command: plain values only, figures with
their units in the names, and under `bars` a list made by `Bar.as_json`. This module must not know what a suite measures;
it imports one only when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from chatapp.bench.machine import Watch
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import DEFAULT_WINDOW, SamplingSettings
from chatapp.resources import builtin_pair

NO_REHEARSAL = (
    "A rehearsal lasts as long as others published: there is nothing in it to measure. "
    "chatapp --rehearse INSTANCE shows how it feels."
)
DEFAULT_WINDOWS = (1, 2, 3, 4, 5, 6, 8, 12, 16)


@dataclass(frozen=True, slots=True)
class SuiteOptions:
    """The command line as values. Each suite takes what it needs; `None` and `()` mean the suite's own choice.

    `rounds` are measured rounds (one more is thrown away), `prompts` are per kind, `samples` per combination of
    `distribution` and per k of `neuron`, `replies` those of `exact`, `runs` those of `soak`, `jobs` the processes that share such work. `policies` are
    window policies that the sweep measures beside `fixed`.
    """

    location: PairLocation | None = None
    device: str | None = None
    may_compile: bool = False
    threads: int | None = None
    kinds: tuple[str, ...] = ()
    windows: tuple[int, ...] = DEFAULT_WINDOWS
    window: int = DEFAULT_WINDOW
    prompts: int = 4
    rounds: int = 3
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    seed: int = 0
    acceptor: str = "rejection"
    drafter: str = "model"
    policies: tuple[str, ...] = ()
    against: str | None = None
    shapes: tuple[str, ...] = ()
    samples: int = 200_000
    replies: int = 1_000
    runs: int = 10_000
    jobs: int = 1

    def __post_init__(self) -> None:
        """Raises `InvalidSetting` for a rehearsal: its times were published by others, there is nothing to measure."""
        if self.pair.neuron is not None and self.pair.neuron.rehearse_pair:
            raise InvalidSetting("rehearse", NO_REHEARSAL)

    @property
    def pair(self) -> PairLocation:
        """The pair of the command line, or the built-in one."""
        return self.location or builtin_pair()

    def sampling(self, *, max_tokens: int = 96, temperature: float = 0.0) -> SamplingSettings:
        """As asked; the arguments stand in where nothing was. Raises `InvalidSetting`."""
        return SamplingSettings(
            temperature=temperature if self.temperature is None else self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens or max_tokens,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and the bar it is held against. `value` None: it could not be measured here, and `note` says why."""

    what: str
    value: float | None
    limit: float
    at_most: bool = True
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        word = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        figure = "" if self.value is None else f"{self.value:.4g}, "
        return f"{self.what}: {figure}bar {sign} {self.limit:g}: {word}" + (
            f" ({self.note})" if self.note else ""
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "value": self.value,
            "bar": self.limit,
            "at_most": self.at_most,
            "met": self.met,
            "note": self.note,
        }


class SuiteModule(Protocol):
    def run_suite(self, options: SuiteOptions) -> dict[str, Any]:
        """Measure and print; what the JSON line holds. Raises `ChatappError`."""
        ...


@dataclass(frozen=True, slots=True)
class Suite:
    """One entry of the table; `module` lies in `chatapp.bench`."""

    summary: str
    module: str

    def load(self) -> SuiteModule:
        return cast(SuiteModule, importlib.import_module(f"chatapp.bench.{self.module}"))


SUITES: Mapping[str, Suite] = {
    "sweep": Suite(
        "every kind of prompt at every k, and the peer's if asked (what happens without --suite)", "sweep"
    ),
    "models": Suite("one token and verify passes: ours, transformers' and the bandwidth bound", "models"),
    "rigged": Suite(
        "speculation at full acceptance, against transformers' assisted generation (synthetic)", "rigged"
    ),
    "context": Suite("TPOT behind 4,000 tokens of context over TPOT behind 400 (synthetic)", "context"),
    "jitter": Suite("how ragged verify steps are beside another busy process", "jitter"),
    "switches": Suite("how soon a stop, a toggle and a change of k take effect", "switches"),
    "exact": Suite("whether speculation ever changes a greedy or coupled text", "exact"),
    "distribution": Suite(
        "whether what comes out is distributed as the target alone would have it (toy tables, chi-square)",
        "distribution",
    ),
    "overhead": Suite("what everything beside the models' forwards costs per verify step", "overhead"),
    "host-cost": Suite(
        "what the host of a NeuronCore pair does per verify step, against the published step of the 70B",
        "host_cost",
    ),
    "adaptive": Suite(
        "the adaptive window against every fixed one, on synthetic drafters and on all kinds of text",
        "adaptive",
    ),
    "shapes": Suite(
        "TPOT of 8B + 1B and 1B + 0.1B on a GPU, against the bandwidth bound and transformers (synthetic)",
        "cuda",
    ),
    "neuron": Suite(
        "emulated NeuronCores: greedy texts against transformers, sampled distribution, launches as planned",
        "neuron",
    ),
    "soak": Suite("what many runs leave behind in memory", "soak"),
}


def show_bars(bars: list[Bar]) -> list[dict[str, Any]]:
    """Print every bar on a line of its own; what goes into the JSON."""
    for bar in bars:
        print(bar, flush=True)
    return [bar.as_json() for bar in bars]


def run_suites(
    names: list[str], options: SuiteOptions, suites: Mapping[str, Suite] = SUITES
) -> dict[str, dict[str, Any]]:
    """One after the other, each with what the rest of the machine did meanwhile. Raises `ChatappError`."""
    if options.device is not None:  # said before anything is loaded
        from chatapp.engine.devices import require_device

        require_device(options.device)
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        print(f"{'' if not results else chr(10)}== {name}: {suites[name].summary}", flush=True)
        results[name] = watched(partial(suites[name].load().run_suite, options))
    return results


def watched(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """`measure`'s result plus `machine`: how busy it was; a warning is printed when others took part of it."""
    watch = Watch()
    result = measure()
    machine = watch.read()
    print(machine, flush=True)
    return result | {"machine": machine.as_json()}
