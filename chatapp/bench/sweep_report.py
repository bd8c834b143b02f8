"""What a sweep found, in a table and in figures: every side, and best against best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chatapp.bench.measure import Cell, speed_up
from chatapp.bench.suites import Bar
from chatapp.domain.request import SamplingSettings

HEADER = (
    f"{'side':<26}{'k':>4}{'TPOT ms':>9}{'TTFT ms':>9}{'whole ms':>9}{'accept':>8}{'tested':>8}{'mean len':>9}"
    f"{'vs k=1':>8}{'bound':>7}"
)
PEER_DEFAULTS = 0
ADAPTED = "chatapp, "
"""Before the policy's name, where the window policy is not `fixed`."""
PLAIN = {"chatapp": ("chatapp", 1), "transformers": ("transformers", 1)}

Cells = Mapping[tuple[str, int], Cell]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the figures are read by. `bandwidth` is in bytes per second, 0 where it was not measured."""

    sampling: SamplingSettings
    bandwidth: float


def report(cells: Cells, held: Conditions) -> dict[str, Any]:
    """Print a row per side, then the comparisons; all of it as plain values."""
    rows = [_row(name, k, cell, cells, held) for (name, k), cell in cells.items()]
    return {"rows": rows} | _compare(cells) | (_compare_texts(cells) if held.sampling.greedy else {})


def _row(name: str, k: int, cell: Cell, cells: Cells, held: Conditions) -> dict[str, Any]:
    """`share_of_bound`: bytes per second that the verify passes read at least, over what memory was measured to give. Above 1
    where the weights fit into a cache."""
    metrics = cell.metrics()
    plain = cells[PLAIN["chatapp" if name.startswith("chatapp") else "transformers"]]
    rate = cell.traffic().verify_rate
    row = {
        "side": name,
        "k": k or None,
        "tpot_ms": cell.tpot_ms(),
        "ttft_ms": cell.ttft_ms(),
        "whole_ms_per_token": cell.whole_ms(),
        "acceptance_rate": metrics.acceptance_rate,
        "tested_acceptance": metrics.tested_acceptance,
        "mean_acceptance_length": metrics.mean_acceptance_length,
        "speed_up_over_own_plain": speed_up(cell, plain),
        "verify_bytes_per_s": rate,
        "share_of_bound": rate / held.bandwidth if rate and held.bandwidth else None,
    }
    shown_k = f"≤ {k}" if name.startswith(ADAPTED) else k or "-"
    share = "-" if row["share_of_bound"] is None else f"{row['share_of_bound']:.0%}"
    print(
        f"{name:<26}{shown_k:>4}{_num(row['tpot_ms'], 9, 3)}{_num(row['ttft_ms'], 9, 1)}"
        f"{_num(row['whole_ms_per_token'], 9, 3)}"
        f"{_num(row['acceptance_rate'], 8, 2)}{_num(row['tested_acceptance'], 8, 2)}"
        f"{_num(row['mean_acceptance_length'], 9, 2)}{_num(row['speed_up_over_own_plain'], 8, 2)}{share:>7}",
        flush=True,
    )
    return row


def _compare(cells: Cells) -> dict[str, Any]:
    """Best against best: ours over our plain decoding, and our TPOT as a fraction of the peer's assisted one."""
    ours = {key: cell for key, cell in cells.items() if key[0] == "chatapp" and key[1] > 1}
    if not ours:
        return {}
    best = fastest(ours)
    summary: dict[str, Any] = {
        "best_k": best[1],
        "best_speed_up": speed_up(ours[best], cells[PLAIN["chatapp"]]),
    }
    print(f"best k {best[1]}: {_num(summary['best_speed_up'])} x our own plain decoding")
    for (name, _), cell in cells.items():
        if name.startswith(ADAPTED):
            policy = name.removeprefix(ADAPTED)
            summary[f"{policy}_over_best_fixed"] = over = speed_up(cell, ours[best])
            print(f"{policy}: {_num(over)} x the speed of the best fixed k of these prompts")
    assisted = ("transformers assisted", "transformers defaults")
    theirs = {key: cell for key, cell in cells.items() if key[0] in assisted}
    return summary | (_compare_assisted(ours, theirs) if theirs else {})


def _compare_assisted(ours: Cells, theirs: Cells) -> dict[str, Any]:
    mine, rival = ours[fastest(ours)], fastest(theirs)
    name = f"{rival[0]} k={rival[1]}" if rival[1] else rival[0]
    over_best = speed_up(theirs[rival], mine)
    print(f"our TPOT is {_num(over_best)} of that of {name}")
    over_defaults = speed_up(theirs["transformers defaults", PEER_DEFAULTS], mine)
    print(f"our TPOT is {_num(over_defaults)} of that of transformers' assisted generation at its defaults")
    whole = speed_up(
        theirs[fastest(theirs, Cell.whole_ms)], ours[fastest(ours, Cell.whole_ms)], Cell.whole_ms
    )
    print(
        f"whole replies, prefill included, best against best: our time per token is {_num(whole)} of theirs"
    )
    return {
        "best_assisted": name,
        "tpot_over_best_assisted": over_best,
        "tpot_over_default_assisted": over_defaults,
        "whole_over_best_assisted": whole,
    }


def _compare_texts(cells: Cells) -> dict[str, Any]:
    """At temperature 0 every side should write the same."""
    reference = [reply.tokens for reply in cells[PLAIN["chatapp"]].rounds[0]]
    ours = [cell for (name, k), cell in cells.items() if name.startswith("chatapp") and k > 1]
    same = all([reply.tokens for reply in cell.rounds[0]] == reference for cell in ours)
    print(f"texts equal for every k: {'yes' if same else 'NO'}")
    summary: dict[str, Any] = {"texts_equal_for_every_k": same}
    if PLAIN["transformers"] in cells:
        peer = [reply.tokens for reply in cells[PLAIN["transformers"]].rounds[0]]
        equal = sum(a == b for a, b in zip(peer, reference, strict=True))
        summary["replies_equal_to_transformers"] = equal
        print(f"replies equal to transformers': {equal} of {len(reference)}")
    return summary


def bars_of(kinds: Mapping[str, Mapping[str, Any]], held: Conditions) -> list[Bar]:
    """The bars stand for the guide's prompts; without them there are none."""
    guide = kinds.get("guide", {})
    words = "greedy" if held.sampling.greedy else f"T {held.sampling.temperature:g}"
    bars = []
    if "tpot_over_best_assisted" in guide:
        what = f"TPOT, guide, {words}, chatapp / transformers assisted at its best"
        bars.append(Bar(what, guide["tpot_over_best_assisted"], 0.35))
    if guide.get("best_speed_up"):
        what = f"TPOT, guide, {words}, best k {guide['best_k']} / our own plain decoding"
        bars.append(Bar(what, 1 / guide["best_speed_up"], 0.5))
    return bars


def fastest(cells: Cells, figure: Callable[[Cell], float | None] = Cell.tpot_ms) -> tuple[str, int]:
    """The side with the smallest figure."""
    return min(cells, key=lambda key: figure(cells[key]) or float("inf"))


def _num(value: Any, width: int = 0, digits: int = 2) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
