"""`--suite sweep`: every kind of prompt at every k, ours and, if asked, the peer's, in turn in one process.

Window policies other than `fixed` are rows of their own, under the largest k. What rule, drafter and policies there are is
the registry's matter: names are checked when the first request is prepared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from chatapp.bench.measure import Reply, in_turn, measure_engine
from chatapp.bench.prompts import PROMPTS, prompts_of
from chatapp.bench.suites import SuiteOptions, show_bars
from chatapp.bench.sweep_report import ADAPTED, HEADER, PEER_DEFAULTS, Conditions, bars_of, report
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.events import Environment, ModelInfo
from chatapp.domain.ports import PairInfo, PairLocation
from chatapp.domain.request import GenerationRequest, Message, SamplingSettings
from chatapp.engine.backends.hf_generate import TransformersPeer
from chatapp.engine.session import Engine


def run_suite(options: SuiteOptions) -> dict[str, Any]:
    """Measure and print. Raises `ModelError`, and `RequestError` for parts that the registry does not know."""
    location, sampling = options.pair, options.sampling()
    engine = Engine(threads=options.threads, device=options.device, may_compile=options.may_compile)
    info = engine.load(location, lambda _: None)
    windows = [k for k in options.windows if k in info.capabilities.windows]
    conditions = describe_conditions(info, sampling, options)
    for name, value in conditions.items():
        print(f"{name + ':':<14}{value}")
    peer = _peer(location, info.environment) if options.against else None
    result: dict[str, Any] = {"conditions": conditions, "kinds": {}}
    held = Conditions(sampling, info.environment.bandwidth)
    kinds = options.kinds or tuple(PROMPTS)
    for kind in kinds:
        prompts = prompts_of(kind, options.prompts)
        sides = _our_sides(engine, prompts, sampling, windows, options)
        if peer is not None:
            sides |= _peer_sides(
                peer, engine, prompts, sampling, windows, has_draft=location.draft is not None
            )
        print(f"\n{kind}: {len(prompts)} prompts, {options.rounds} rounds\n{HEADER}", flush=True)
        cells = dict(zip(sides, in_turn(list(sides.values()), len(prompts), options.rounds), strict=True))
        result["kinds"][kind] = report(cells, held)
    print()
    return result | {"bars": show_bars(bars_of(result["kinds"], held))}


def _peer(location: PairLocation, environment: Environment) -> TransformersPeer:
    """On the device and in the dtypes that our own side was loaded with."""
    sides = (environment.target, environment.draft or environment.target)
    return TransformersPeer(
        location.target,
        location.draft,
        device=environment.device.partition(":")[0],
        dtypes=(_torch_dtype(sides[0].dtype), _torch_dtype(sides[1].dtype)),
    )


def _torch_dtype(numbers: str) -> str:
    """What transformers can load for a side of ours: int8 is the checkpoint's bfloat16 there."""
    return numbers if numbers in ("float32", "float16") else "bfloat16"


def describe_conditions(info: PairInfo, sampling: SamplingSettings, options: SuiteOptions) -> dict[str, str]:
    """Everything that a figure needs beside it to mean something. Raises `InvalidSetting` for an unknown acceptor."""
    environment = info.environment
    versions = ", ".join(f"{name} {number}" for name, number in environment.versions)
    draft = environment.draft
    top_p = f", top-p {sampling.top_p:g}" if sampling.top_p < 1 else ""
    bandwidth = (
        f"{environment.bandwidth / 1e9:.1f} GB/s, measured" if environment.bandwidth else "not measured"
    )
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "device": environment.device,
        "platform": environment.platform,
        "threads": str(environment.threads),
        "cores": str(os.cpu_count()),
        "bandwidth": bandwidth,
        "load before": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "backend": environment.backend,
        "target": _model_words(environment.target),
        "draft": _model_words(draft) if draft else "none",
        "drafter": options.drafter,
        "sampling": f"temperature {sampling.temperature:g}{top_p}, at most {sampling.max_tokens} tokens, "
        f"seed {sampling.seed}, acceptor {_acceptor_words(info, sampling, options.acceptor)}",
        "versions": versions,
    }


def _model_words(model: ModelInfo) -> str:
    runs_on = f"; {model.runs_on}" if model.runs_on else ""
    return f"{model.name}, {model.parameters / 1e6:.2f}M, {model.dtype}{runs_on}"


def _acceptor_words(info: PairInfo, sampling: SamplingSettings, name: str) -> str:
    lossless = {known: kept for known, kept, _ in info.capabilities.acceptors}
    if name not in lossless:
        known = ", ".join(sorted(lossless))
        raise InvalidSetting("acceptor", f"There is no acceptor {name!r}; known are {known}.")
    if sampling.greedy:
        return "greedy"
    return name if lossless[name] else f"{name} (LOSSY: not the target's distribution)"


def _our_sides(
    engine: Engine,
    prompts: list[tuple[Message, ...]],
    sampling: SamplingSettings,
    windows: list[int],
    options: SuiteOptions,
) -> dict[tuple[str, int], Callable[[int], Reply]]:
    def side(k: int, policy: str = "fixed") -> Callable[[int], Reply]:
        def answer(index: int) -> Reply:
            request = GenerationRequest(
                prompts[index],
                sampling,
                window=k,
                speculation=k > 1,
                acceptor=options.acceptor,
                drafter=options.drafter,
                policy=policy,
            )
            return measure_engine(engine, request)

        return answer

    sides = {("chatapp", k): side(k) for k in windows}
    most = max(engine.pair.info.capabilities.windows)
    for policy in options.policies:
        if policy != "fixed" and most > 1:
            sides[ADAPTED + policy, most] = side(most, policy)
    return sides


def _peer_sides(
    peer: TransformersPeer,
    engine: Engine,
    prompts: list[tuple[Message, ...]],
    sampling: SamplingSettings,
    windows: list[int],
    *,
    has_draft: bool,
) -> dict[tuple[str, int], Callable[[int], Reply]]:
    ids = [engine.pair.prompt.encode(messages) for messages in prompts]
    eos = sorted(engine.pair.prompt.eos_ids)

    def side(assistant_tokens: int | None) -> Callable[[int], Reply]:
        def answer(index: int) -> Reply:
            reply = peer.generate(ids[index], sampling, eos, assistant_tokens)
            return Reply(reply.ttft_ns, reply.decode_ns, reply.decode_tokens, reply.tokens)

        return answer

    sides: dict[tuple[str, int], Callable[[int], Reply]] = {("transformers", 1): side(None)}
    if has_draft:
        sides[("transformers defaults", PEER_DEFAULTS)] = side(PEER_DEFAULTS)
        sides |= {("transformers assisted", k): side(k - 1) for k in windows if k > 1}
    return sides
