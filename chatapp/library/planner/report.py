"""A plan as plain text for a terminal, and as JSON. Every figure has its unit; must not compute any."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from chatapp.domain.memory_plan import GB, ModelUse, PairPlan, Suggestion, in_gib
from chatapp.domain.neuron_hosts import PublishedPair, published_pair

WIDTH = 100
NAME, FIGURE, NOTES = 32, 8, 45
"""Columns of the tables."""


def plan_text(plan: PairPlan) -> str:
    """The whole plan."""
    parts = [_title(plan), _set_up(plan), _core(plan), _host(plan), _disk(plan)]
    if plan.obstacles[1:]:
        parts.append(_paragraphs("Also in the way", plan.obstacles[1:]))
    if plan.suggestions:
        parts.append(_paragraphs("It fits with", [_suggested(one) for one in plan.suggestions]))
    elif not plan.fits:
        parts.append("Nothing was found with which it would fit.")
    if plan.warnings:
        parts.append(_paragraphs("To know", plan.warnings))
    published = _published(plan)
    if published is not None:
        parts.append(_paragraphs("Published latencies (not measured here)", _latencies(published)))
    parts.append(_paragraphs("These are estimates", plan.assumptions))
    return "\n\n".join(parts)


def table_text(plans: Sequence[PairPlan], best: PairPlan | None) -> str:
    """One line for each instance, and which to take."""
    first = plans[0]
    head = (
        f"  {'instance':<16}{'cores':>6}{'tp':>5}{'target':>9}{'draft':>9}{'overhead':>10}{'together':>10}"
        f"   of {in_gib(first.limit_bytes)} GiB on each core"
    )
    advice = (
        f"Take {best.host.name} with tp {best.settings.tp_degree}: the smallest that fits. "
        f"--instance {best.host.name} --tp {best.settings.tp_degree} shows the whole plan."
        if best is not None
        else "It fits no instance as it is. --instance shows what would change that."
    )
    what = f"{_pair(first)}, {first.settings.positions:,} positions, {_numbers(first)}. GiB on each core:"
    return "\n".join([what, "", head, *map(_row, plans), "", *textwrap.wrap(advice, WIDTH)])


def _row(plan: PairPlan) -> str:
    draft = in_gib(plan.draft.bytes) if plan.draft is not None else "–"
    figures = f"{in_gib(plan.target.bytes):>9}{draft:>9}{in_gib(plan.overhead_bytes):>10}{in_gib(plan.used_bytes):>10}"
    return (
        f"  {plan.host.name:<16}{plan.host.cores:>6}{plan.settings.tp_degree:>5}{figures}   {_outcome(plan)}"
    )


def _outcome(plan: PairPlan) -> str:
    if plan.fits:
        doubts = [
            words
            for words, true in (("untried", plan.is_untried), ("little to spare", plan.is_tight))
            if true
        ]
        return ", ".join(["fits", *doubts])
    if plan.obstacles:
        return "cannot run"
    return "does not fit" if not plan.fits_device else "too little host memory"


def plan_json(plan: PairPlan) -> dict[str, Any]:
    """Bytes throughout, as integers."""
    published = _published(plan)
    return {
        "instance": asdict(plan.host) | {"cores": plan.host.cores, "tp_degrees": plan.host.tp_degrees},
        "fits": plan.fits,
        "is_tight": plan.is_tight,
        "is_untried": plan.is_untried,
        "verdict": plan.verdict,
        "tp_degree": plan.settings.tp_degree,
        "positions": plan.settings.positions,
        "dtype": plan.settings.dtype,
        "token_buckets": plan.settings.all_token_buckets,
        "context_buckets": plan.settings.all_context_buckets,
        "windows": plan.settings.windows,
        "draft_windows": plan.settings.draft_windows,
        "target": asdict(plan.target),
        "draft": asdict(plan.draft) if plan.draft is not None else None,
        "overhead_bytes": plan.overhead_bytes,
        "used_bytes": plan.used_bytes,
        "limit_bytes": plan.limit_bytes,
        "all_cores_bytes": plan.all_cores_bytes,
        "graphs": plan.graphs,
        "host": asdict(plan.ram)
        | {"loading_bytes": plan.ram.loading_bytes, "compiling_bytes": plan.ram.compiling_bytes},
        "disk": asdict(plan.disk) | {"bytes": plan.disk.bytes},
        "obstacles": plan.obstacles,
        "warnings": plan.warnings,
        "assumptions": plan.assumptions,
        "suggestions": [_suggestion_json(one) for one in plan.suggestions],
        "published": asdict(published) if published is not None else None,
        "estimate": True,
    }


def _suggestion_json(one: Suggestion) -> dict[str, Any]:
    return {
        "what": one.what,
        "instance": one.instance,
        "tp_degree": one.settings.tp_degree,
        "positions": one.settings.positions,
        "draft": one.draft or None,
        "target_weights": one.target_weights,
        "draft_weights": one.draft_weights,
        "used_bytes": one.used_bytes,
        "is_tight": one.is_tight,
    }


def _pair(plan: PairPlan) -> str:
    return " + ".join(model.name for model in plan.models)


def _numbers(plan: PairPlan) -> str:
    kinds = [model.weights for model in plan.models]
    return kinds[0] if len(set(kinds)) == 1 else f"target {kinds[0]}, draft {kinds[1]}"


def _title(plan: PairPlan) -> str:
    return "\n".join([f"{_pair(plan)} on {plan.host.name}", *textwrap.wrap(plan.verdict, WIDTH)])


def _set_up(plan: PairPlan) -> str:
    host, settings = plan.host, plan.settings
    degrees = ", ".join(map(str, host.tp_degrees))
    buckets = "; ".join(
        f"{name} buckets {', '.join(map(str, lengths))}"
        for name, lengths in (
            ("token", settings.all_token_buckets),
            ("context", settings.all_context_buckets),
        )
    )
    rows = (
        (
            "instance",
            f"{host.chips} chip{'s' if host.chips > 1 else ''}, {host.cores} NeuronCores, {host.hbm_gib:g} GiB device memory",
        ),
        ("", f"{host.vcpus} vCPU, {host.host_ram_gib} GiB host memory"),
        (
            "spread over",
            f"{settings.tp_degree} core{'s' if settings.tp_degree != 1 else ''} (this instance can do {degrees})",
        ),
        ("context", f"{settings.positions:,} positions; {buckets}"),
        ("numbers", f"{_numbers(plan)}; KV caches in {settings.dtype}"),
        ("graphs", f"{plan.graphs} to compile: {', '.join(_graphs(plan))}"),
    )
    return "\n".join(
        textwrap.fill(value, WIDTH, initial_indent=f"  {name:<13}", subsequent_indent=" " * 15)
        for name, value in rows
    )


def _graphs(plan: PairPlan) -> Iterator[str]:
    yield f"target {plan.target.graphs}"
    if plan.draft is not None:
        yield f"draft {plan.draft.graphs}"


def _core(plan: PairPlan) -> str:
    lines = [f"{'on each core':<{NAME + 2}}{'GiB':>{FIGURE}}"]
    for role, model in zip(("target", "draft"), plan.models, strict=False):
        queries, keys = _heads(model)
        lines.append(_line(f"{role} weights", model.weights_bytes, f"{model.name}, {queries}"))
        lines.append(_line(f"{role} KV cache", model.kv_bytes, keys))
    lines.append(_line("overhead, assumed", plan.overhead_bytes, ""))
    lines.append(_line("together", plan.used_bytes, f"of {in_gib(plan.limit_bytes)}"))
    return "\n".join(
        [*lines, f"  On all cores together, without overhead: {_gigabytes(plan.all_cores_bytes)} GB."]
    )


def _gigabytes(count: int) -> str:
    """Decimal ones, in which sums over all cores are published."""
    return f"{count / GB:,.1f}" if count >= GB else f"{count / GB:.2g}"


def _heads(model: ModelUse) -> tuple[str, str]:
    """Of queries, and of keys and values."""
    queries, keys = (
        f"{had} {what} heads" + (f" kept as {now}" if now != had else "")
        for what, had, now in zip(("query", "key/value"), model.heads, model.padded, strict=True)
    )
    return queries, keys


def _host(plan: PairPlan) -> str:
    ram = plan.ram
    return "\n".join(
        [
            f"{'host memory':<{NAME + 2}}{'GiB':>{FIGURE}}",
            _line("embeddings, float32", ram.embeddings_bytes, ""),
            _line("one layer in transit", ram.staging_bytes, ""),
            _line("desktop and application", ram.application_bytes, "assumed"),
            _line("together, while loading", ram.loading_bytes, f"of {in_gib(ram.available_bytes)}"),
            _line(
                "and while compiling",
                ram.compiling_bytes,
                f"with {ram.workers} compiling process{'es' if ram.workers != 1 else ''}, assumed",
            ),
        ]
    )


def _disk(plan: PairPlan) -> str:
    disk = plan.disk
    return "\n".join(
        [
            f"{'disk':<{NAME + 2}}{'GiB':>{FIGURE}}",
            _line("checkpoints", disk.checkpoint_bytes, "" if disk.checkpoints_known else "estimated"),
            _line("compiled graphs", disk.artefact_bytes, "estimated"),
            _line("together", disk.bytes, "beside the system itself"),
        ]
    )


def _line(name: str, count: int, note: str) -> str:
    start = f"  {name:<{NAME}}{in_gib(count):>{FIGURE}}   "
    return textwrap.fill(note, WIDTH, initial_indent=start, subsequent_indent=" " * NOTES) or start.rstrip()


def _suggested(one: Suggestion) -> str:
    spare = ", little to spare" if one.is_tight else ""
    return f"{one.what}: {in_gib(one.used_bytes)} GiB on each core{spare}."


def _published(plan: PairPlan) -> PublishedPair | None:
    if plan.draft is None:
        return None
    found = published_pair(plan.host.name, plan.target.name, plan.draft.name)
    return found if found is not None and found.target.tp_degree == plan.settings.tp_degree else None


def _latencies(pair: PublishedPair) -> list[str]:
    target, draft = pair.target, pair.draft
    times = f"{target.token_ms:g} ms for a token of {target.model}, {draft.token_ms:g} ms for one of {draft.model}"
    return [
        f"{times}: one draft step costs {pair.cost_ratio:.2f} of a target step.",
        *dict.fromkeys(f"{one.source}; {one.conditions}." for one in (target, draft)),
    ]


def _paragraphs(title: str, lines: Sequence[str]) -> str:
    wrapped = (textwrap.fill(line, WIDTH, initial_indent="  - ", subsequent_indent="    ") for line in lines)
    return "\n".join([title, *wrapped])
