"""Every kind of prompt at every k, ours and, if asked, the peer's, in turn in one process."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

from chatapp.bench.measure import Cell, Reply, in_turn, measure_engine, speed_up
from chatapp.bench.prompts import prompts_of
from chatapp.domain.events import Environment
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, Message, SamplingSettings
from chatapp.engine.backends.hf_generate import TransformersPeer
from chatapp.engine.session import Engine
from chatapp.resources import builtin_pair

HEADER = (
    f"{'side':<26}{'k':>4}{'TPOT ms':>9}{'TTFT ms':>9}{'whole ms':>9}{'accept':>8}{'tested':>8}{'mean len':>9}"
    f"{'vs k=1':>8}"
)
PEER_DEFAULTS = 0


def chosen_pair(args: argparse.Namespace) -> PairLocation:
    """The pair of the command line, or the built-in one."""
    if args.target is None:
        return builtin_pair()
    return PairLocation(args.target.name, args.target, args.draft)


def sweep(args: argparse.Namespace, sampling: SamplingSettings) -> dict[str, Any]:
    """Measure and print; returns what the JSON line holds."""
    location = chosen_pair(args)
    engine = Engine(threads=args.threads, device=args.device)
    info = engine.load(location, lambda _: None)
    windows = [k for k in args.k if k in info.capabilities.windows]
    conditions = describe_conditions(info.environment, sampling, args)
    for name, value in conditions.items():
        print(f"{name + ':':<14}{value}")
    peer = _peer(location, info.environment) if args.against else None
    result: dict[str, Any] = {"conditions": conditions, "kinds": {}}
    for kind in args.kinds:
        prompts = prompts_of(kind, args.prompts)
        sides = _our_sides(engine, prompts, sampling, windows, args.acceptor)
        if peer is not None:
            sides |= _peer_sides(
                peer, engine, prompts, sampling, windows, has_draft=location.draft is not None
            )
        print(f"\n{kind}: {len(prompts)} prompts, {args.rounds} rounds\n{HEADER}", flush=True)
        cells = dict(zip(sides, in_turn(list(sides.values()), len(prompts), args.rounds), strict=True))
        result["kinds"][kind] = _report(cells, sampling)
    return result


def _peer(location: PairLocation, environment: Environment) -> TransformersPeer:
    """On the device and in the dtypes that our own side was loaded with."""
    sides = (environment.target, environment.draft or environment.target)
    return TransformersPeer(
        location.target,
        location.draft,
        device=environment.device.partition(":")[0],
        dtypes=(sides[0].dtype, sides[1].dtype),
    )


def describe_conditions(
    environment: Environment, sampling: SamplingSettings, args: argparse.Namespace
) -> dict[str, str]:
    """Everything that a figure needs beside it to mean something."""
    versions = ", ".join(f"{name} {number}" for name, number in environment.versions)
    draft = environment.draft
    top_p = f", top-p {sampling.top_p:g}" if sampling.top_p < 1 else ""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "device": environment.device,
        "platform": environment.platform,
        "threads": str(environment.threads),
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "backend": environment.backend,
        "target": f"{environment.target.name}, {environment.target.parameters / 1e6:.2f}M, {environment.target.dtype}",
        "draft": f"{draft.name}, {draft.parameters / 1e6:.2f}M, {draft.dtype}" if draft else "none",
        "sampling": f"temperature {sampling.temperature:g}{top_p}, at most {sampling.max_tokens} tokens, "
        f"seed {sampling.seed}, acceptor {'greedy' if sampling.greedy else args.acceptor}",
        "versions": versions,
    }


def _our_sides(
    engine: Engine,
    prompts: list[tuple[Message, ...]],
    sampling: SamplingSettings,
    windows: list[int],
    acceptor: str,
) -> dict[tuple[str, int], Callable[[int], Reply]]:
    def side(k: int) -> Callable[[int], Reply]:
        def answer(index: int) -> Reply:
            request = GenerationRequest(
                prompts[index], sampling, window=k, speculation=k > 1, acceptor=acceptor
            )
            return measure_engine(engine, request)

        return answer

    return {("chatapp", k): side(k) for k in windows}


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


def _report(cells: dict[tuple[str, int], Cell], sampling: SamplingSettings) -> dict[str, Any]:
    plain = {name: cells[(name, 1)] for name in ("chatapp", "transformers") if (name, 1) in cells}
    rows: list[dict[str, Any]] = []
    for (name, k), cell in cells.items():
        metrics = cell.metrics()
        base = plain[name.split()[0]]
        row = {
            "side": name,
            "k": k or None,
            "tpot_ms": cell.tpot_ms(),
            "ttft_ms": cell.ttft_ms(),
            "whole_ms_per_token": cell.whole_ms(),
            "acceptance_rate": metrics.acceptance_rate,
            "tested_acceptance": metrics.tested_acceptance,
            "mean_acceptance_length": metrics.mean_acceptance_length,
            "speed_up_over_own_plain": speed_up(cell, base),
        }
        rows.append(row)
        print(
            f"{name:<26}{k or '-':>4}{_num(row['tpot_ms'], 9, 3)}{_num(row['ttft_ms'], 9, 1)}"
            f"{_num(row['whole_ms_per_token'], 9, 3)}"
            f"{_num(row['acceptance_rate'], 8, 2)}{_num(row['tested_acceptance'], 8, 2)}"
            f"{_num(row['mean_acceptance_length'], 9, 2)}{_num(row['speed_up_over_own_plain'], 8, 2)}",
            flush=True,
        )
    summary: dict[str, Any] = {"rows": rows}
    summary |= _compare(cells, sampling)
    return summary


def _compare(cells: dict[tuple[str, int], Cell], sampling: SamplingSettings) -> dict[str, Any]:
    """Best against best: ours over our plain decoding, and our TPOT as a fraction of the peer's assisted one."""
    ours = {key: cell for key, cell in cells.items() if key[0] == "chatapp" and key[1] > 1}
    theirs = {
        key: cell
        for key, cell in cells.items()
        if key[0] in ("transformers assisted", "transformers defaults")
    }
    summary: dict[str, Any] = {}
    if ours:
        best = _fastest(ours)
        summary["best_k"] = best[1]
        summary["best_speed_up"] = speed_up(ours[best], cells[("chatapp", 1)])
        print(f"best k {best[1]}: {_num(summary['best_speed_up'])} x our own plain decoding")
        if theirs:
            rival, mine = _fastest(theirs), ours[best]
            name = f"{rival[0]} k={rival[1]}" if rival[1] else rival[0]
            summary["best_assisted"] = name
            summary["tpot_over_best_assisted"] = speed_up(theirs[rival], mine)
            print(f"our TPOT is {_num(summary['tpot_over_best_assisted'])} of that of {name}")
            defaults = speed_up(theirs[("transformers defaults", PEER_DEFAULTS)], mine)
            summary["tpot_over_default_assisted"] = defaults
            print(
                f"our TPOT is {_num(defaults)} of that of transformers' assisted generation at its defaults"
            )
            whole = speed_up(
                theirs[_fastest(theirs, Cell.whole_ms)], ours[_fastest(ours, Cell.whole_ms)], Cell.whole_ms
            )
            summary["whole_over_best_assisted"] = whole
            print(
                f"whole replies, prefill included, best against best: our time per token is {_num(whole)} of theirs"
            )
    if sampling.greedy:
        reference = [reply.tokens for reply in cells[("chatapp", 1)].rounds[0]]
        same = all([reply.tokens for reply in cell.rounds[0]] == reference for cell in ours.values())
        summary["texts_equal_for_every_k"] = same
        print(f"texts equal for every k: {'yes' if same else 'NO'}")
        if ("transformers", 1) in cells:
            peer = [reply.tokens for reply in cells[("transformers", 1)].rounds[0]]
            summary["replies_equal_to_transformers"] = sum(
                a == b for a, b in zip(peer, reference, strict=True)
            )
            print(
                f"replies equal to transformers': {summary['replies_equal_to_transformers']} of {len(reference)}"
            )
    return summary


def _fastest(
    cells: dict[tuple[str, int], Cell], figure: Callable[[Cell], float | None] = Cell.tpot_ms
) -> tuple[str, int]:
    return min(cells, key=lambda key: figure(cells[key]) or float("inf"))


def _num(value: Any, width: int = 0, digits: int = 2) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
