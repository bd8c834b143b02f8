"""How long a launch takes in a rehearsal: a pair's published latencies on one instance type, and what is assumed between them.

Only what `neuron_hosts` cites goes in; nothing here was measured by this project, and every assumption is put into words that
the window and the records show. This module must not know an emulator, a clock or a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron_hosts import (
    HOSTS,
    PublishedLatency,
    PublishedPair,
    neuron_host,
    published_latency,
    published_pair,
)

REHEARSAL = "rehearsal: simulated device"
"""Stands beside every figure of a run whose latencies were not the device's own."""
REHEARSAL_TITLE = "Rehearsal: simulated device"
NOT_MEASURED = "Its times are no measurements of the device that they stand for."
NOT_TOGETHER = "Some replies are of a rehearsal: simulated device, others were measured. Their times are not put together."
PAIRS = {
    "llama-2-70b+7b": ("Llama-2-70B", "Llama-2-7B"),
    "llama-3-70b+8b": ("Llama-3-70B", "Llama-3-8B"),
}
"""Names for the command line → target and draft as they were published. The first is the default."""
DEFAULT_PAIR = next(iter(PAIRS))
PROMPTS_LIKE = {"Llama-3-70B": "Llama-2-70B", "Llama-3-8B": "Llama-2-7B"}
"""Whose times to the first token stand in where none were published of a model: the nearest in size."""
PROMPT, ROWS = 128, 64
"""64 rows of a window are taken to last as long as a prompt of 128 tokens, the shortest that was published: they cannot take
longer, since they compute less."""
SHOWN_WINDOWS = (2, 4, 8, 16)
LONGER_PROMPTS = (
    "on the line through what was published of Llama-2-70B here; the draft's grow as the target's: assumed"
)
OWN_TEXT = "of the pair that is loaded here, which is not the one whose latencies these are"

Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class PacedModel:
    """One side. `token_ms` is one launch for one token; `prompt_points` are `(tokens, ms)` of whole prompts, ascending."""

    name: str
    token_ms: float
    prompt_points: Points

    def prompt_ms(self, tokens: int) -> float:
        """A context graph of so many tokens: on the line between the points, or through the last two; never less than the
        first point."""
        points = self.prompt_points
        if tokens <= points[0][0] or len(points) == 1:
            return points[0][1]
        after = next((place for place, point in enumerate(points) if point[0] >= tokens), len(points) - 1)
        (left, low_ms), (right, high_ms) = points[after - 1], points[after]
        return low_ms + (high_ms - low_ms) * (tokens - left) / (right - left)

    def window_ms(self, rows: int) -> float:
        """A window graph: on the line from one row to `ROWS`. At batch 1 a pass reads every weight once whatever its rows, so
        the few rows of a verify pass cost little more than one; how little was not published, and this rather costs too much
        than too little."""
        return self.token_ms + (self.prompt_ms(PROMPT) - self.token_ms) * (rows - 1) / (ROWS - 1)

    def launch_ms(self, kind: str, rows: int) -> float:
        """A launch of a graph of this kind (`context`, `token`, `spec` or `window`) and number of rows."""
        if kind == "context":
            return self.prompt_ms(rows)
        return self.token_ms if kind == "token" else self.window_ms(rows)


@dataclass(frozen=True, slots=True)
class RehearsedPair:
    """What paces a rehearsal: `published` is one of `PAIRS` on one instance type."""

    instance: str
    published: PublishedPair
    target: PacedModel
    draft: PacedModel

    def side(self, role: str) -> PacedModel:
        return self.target if role == "target" else self.draft

    @property
    def device(self) -> str:
        """What a record calls the device."""
        return f"rehearsal: simulated {self.instance}, paced as {self.target.name} + {self.draft.name}"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """`(what, latencies)` with their sources, and what is assumed."""
        target, draft = self.target, self.draft
        prompts = (
            f"target {target.prompt_ms(PROMPT):.3g} ms ({_prompt_source(self.published.target)}), "
            f"draft {draft.prompt_ms(PROMPT):.3g} ms ({_prompt_source(self.published.draft)})"
        )
        windows = ", ".join(f"{target.window_ms(rows):.1f}" for rows in SHOWN_WINDOWS)
        assumed = f"on the line from one row to {ROWS} rows, which are taken to last as long as a prompt of {PROMPT}"
        return (
            (
                "One token",
                f"target {target.token_ms:g} ms, draft {draft.token_ms:g} ms: published, {self._sources()}",
            ),
            (f"Prompt of {PROMPT} tokens", prompts),
            ("Longer prompts", LONGER_PROMPTS),
            (f"Verify passes of {_listed(SHOWN_WINDOWS)} rows", f"{windows} ms: assumed, {assumed}"),
            ("Text and acceptance", OWN_TEXT),
        )

    def _sources(self) -> str:
        both = (self.published.target, self.published.draft)
        return "; ".join(dict.fromkeys(f"{side.source} ({side.conditions})" for side in both))


def rehearsed_pair(instance: str, name: str = DEFAULT_PAIR) -> RehearsedPair:
    """The latencies of the pair `name` (of `PAIRS`) on an instance type. Raises `InvalidSetting` where there are none, with
    those that there are."""
    sides = PAIRS.get(name)
    found = published_pair(instance, *sides) if sides is not None else None
    if found is None:
        raise InvalidSetting("rehearse", f"{_refusal(instance, name)} There is: {_listed(_offers(), '; ')}.")
    target = PacedModel(found.target.model, found.target.token_ms, _prompts(found.target))
    own = _prompts(found.draft)
    grown = tuple(
        (tokens, own[0][1] * ms / target.prompt_ms(own[0][0])) for tokens, ms in target.prompt_points
    )
    draft = PacedModel(found.draft.model, found.draft.token_ms, own if len(own) > 1 else grown)
    return RehearsedPair(instance, found, target, draft)


def rehearsal_at(device: str) -> RehearsedPair | None:
    """The rehearsal that a record's device names; None where it is none, or one of another version's."""
    for host in HOSTS:
        for name, sides in PAIRS.items():
            if published_pair(host.name, *sides) is not None:
                pair = rehearsed_pair(host.name, name)
                if pair.device == device:
                    return pair
    return None


def _prompts(side: PublishedLatency) -> Points:
    """As published, or of the model that stands in."""
    like = published_latency(side.instance, PROMPTS_LIKE.get(side.model, side.model))
    points = side.prefill_ms or (like.prefill_ms if like is not None else ())
    assert points, f"no time to the first token for {side.model} on {side.instance}"
    return points


def _prompt_source(side: PublishedLatency) -> str:
    if side.prefill_ms:
        return f"published, {side.prefill_source}"
    return f"assumed: as published of {PROMPTS_LIKE[side.model]}"


def _refusal(instance: str, name: str) -> str:
    if name not in PAIRS:
        return f"There is no pair {name} to rehearse."
    try:
        neuron_host(instance)
    except InvalidSetting:
        return f"There is no instance type {instance} to rehearse."
    return f"No latencies of {name} were published for {instance}."


def _offers() -> list[str]:
    """`trn1.32xlarge with llama-2-70b+7b or llama-3-70b+8b`, for every instance type that has any."""
    offers = []
    for host in HOSTS:
        names = [name for name, sides in PAIRS.items() if published_pair(host.name, *sides) is not None]
        if names:
            offers.append(f"{host.name} with {_listed(names, ' or ')}")
    return offers


def _listed(items: Sequence[object], between: str = ", ") -> str:
    return between.join(map(str, items))
