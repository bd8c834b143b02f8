"""A window on the device: draft, verify, accept, as three pieces of captured work and one copy to the host.

    draft   g steps of the draft model in one piece: process, draw, feed the token to the next step, all on the device
    verify  the target's pass over the pending token and the drafts, wherever they came from
    accept  the rule over the target's processed rows: how many drafts stay, and the token after them

The host sends one buffer of words in front (positions, ids, random numbers, settings) and reads one packet behind. Nothing in
between waits for it. The rules are those of `acceptors`, restated where they are computed; random numbers are the host's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.backends.cuda.distributions import (
    Knobs,
    drawn,
    exponential_noise,
    log_totals,
    mass_of,
    noise_ids,
    processed,
)

if TYPE_CHECKING:
    from chatapp.engine.backends.cuda.device import DeviceModel

GREEDY, REJECTION, COUPLED = "greedy", "rejection", "coupled"
SERVED = (GREEDY, REJECTION, COUPLED)
"""Acceptors whose windows stay on the device."""
MOST_DRAFTS = MAX_WINDOW - 1
EPSILON = float(torch.finfo(torch.float32).eps)


@dataclass(frozen=True, slots=True)
class WindowInputs:
    """What the host sends. `feed` are the last two committed ids, the second pending, at `start` − 1 and `start`; `bases`
    seed the positional noise of the positions behind (`coupled`); the uniform numbers are those of `rejection`."""

    start: int
    feed: tuple[int, int]
    knobs: tuple[float, float, float, float]
    bases: Sequence[int] = ()
    draft_uniforms: Sequence[float] = ()
    accept_uniforms: Sequence[float] = ()
    target_uniform: float = 0.0


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What comes back. `target_probs[i]` and `draft_probs[i]` belong to `tokens[i]`; `target_finite` has one more, for the row
    behind the last draft. `final_draft_prob` is what the draft gave the token that stands in a rejected one's place, and means
    nothing otherwise. `timings_ns` are the device's own: draft, verify, accept."""

    tokens: tuple[int, ...]
    draft_probs: tuple[float, ...]
    draft_finite: tuple[bool, ...]
    target_probs: tuple[float, ...]
    target_finite: tuple[bool, ...]
    accepted: int
    final_id: int
    final_prob: float
    final_draft_prob: float
    fell_back: bool
    timings_ns: tuple[int, int, int]


class WindowKernels:
    """Buffers and work of one pair; `vocabulary` is what both sides share. Without a draft, windows have no drafts."""

    def __init__(self, target: DeviceModel, draft: DeviceModel | None, vocabulary: int) -> None:
        self.target = target
        self.draft = draft
        self.vocabulary = vocabulary
        self._launcher = target.launcher
        device = self._launcher.device
        floats = 2 * MOST_DRAFTS + 1 + 4
        self._host_ints = self._launcher.host_words(4 + MAX_WINDOW + floats)
        self._host_floats = self._host_ints[4 + MAX_WINDOW :].view(torch.float64)
        self._words = torch.zeros_like(self._host_ints, device=device)
        reals = self._words[4 + MAX_WINDOW :].view(torch.float64)
        self._start, self._draft_start = self._words[0], self._words[1]
        self._feed, self._bases = self._words[2:4], self._words[4 : 4 + MAX_WINDOW]
        self._draft_uniforms, self._accept_uniforms = (
            reals[:MOST_DRAFTS],
            reals[MOST_DRAFTS : 2 * MOST_DRAFTS],
        )
        self._target_uniform = reals[2 * MOST_DRAFTS]
        self._knobs = Knobs.of(reals[2 * MOST_DRAFTS + 1 :])
        self._tokens = torch.zeros(MOST_DRAFTS, dtype=torch.int64, device=device)
        self._draft_probs = torch.zeros(MOST_DRAFTS, dtype=torch.float64, device=device)
        self._draft_finite = torch.zeros(MOST_DRAFTS, dtype=torch.float64, device=device)
        self._draft_rows = torch.zeros(MAX_WINDOW, vocabulary, dtype=torch.float32, device=device)
        """What the drafts were drawn from; for `greedy` the logits, with their log-totals."""
        self._draft_totals = torch.zeros(MAX_WINDOW, dtype=torch.float64, device=device)
        self._noise_ids = noise_ids(vocabulary, device)
        self._noise = torch.zeros(MAX_WINDOW, vocabulary, dtype=torch.float64, device=device)
        self._packet = torch.zeros(5 * MOST_DRAFTS + 6, dtype=torch.float64, device=device)

    def run(self, rule: str, inputs: WindowInputs, count: int, *, truncating: bool) -> WindowResult:
        """A window of `count` drafts. Raises whatever the draft's launch raises as `DraftLaunchFailed`."""
        self._send(inputs, count)
        launcher = self._launcher
        launcher.mark(first=True)
        if count:
            self._launch_draft(rule, inputs.start, count, truncating=truncating)
        launcher.mark()
        self.target.launch_pass(count + 1, inputs.start)
        launcher.mark()
        launcher.launch(
            ("accept", id(self), rule, truncating, count),
            lambda: self._accept(rule, count, truncating=truncating),
        )
        launcher.mark()
        values = launcher.fetch(self._packet[: 5 * count + 6])
        draft_ns, verify_ns, accept_ns = launcher.intervals_ns()
        return _read(values, count, (draft_ns, verify_ns, accept_ns))

    def _send(self, inputs: WindowInputs, count: int) -> None:
        """The one copy to the device; the pending token goes on to where the target reads it."""
        ints, reals = self._host_ints, self._host_floats
        words = [inputs.start, inputs.start - 1, *inputs.feed, *inputs.bases]
        ints[: len(words)] = torch.tensor(words, dtype=torch.int64)
        padding = [0.0] * (MOST_DRAFTS - count)
        uniforms = [*inputs.draft_uniforms, *padding] if inputs.draft_uniforms else [0.0] * MOST_DRAFTS
        uniforms += [*inputs.accept_uniforms, *padding] if inputs.accept_uniforms else [0.0] * MOST_DRAFTS
        reals[:] = torch.tensor([*uniforms, inputs.target_uniform, *inputs.knobs], dtype=torch.float64)
        self._words.copy_(ints, non_blocking=True)
        self.target.place.copy_(self._start)
        self.target.ids[:1].copy_(self._feed[1:])

    # -- draft --------------------------------------------------------------------------------------------------

    def _launch_draft(self, rule: str, start: int, count: int, *, truncating: bool) -> None:
        assert self.draft is not None
        reach = self.draft.reach(start + count - 1)
        try:
            self._launcher.launch(
                ("draft", id(self), rule, truncating, count, reach),
                lambda: self._draft(rule, count, reach, truncating=truncating),
            )
        except RuntimeError as error:
            raise DraftLaunchFailed(str(error)) from error

    def _draft(self, rule: str, count: int, reach: int, *, truncating: bool) -> None:
        assert self.draft is not None
        decoder = self.draft.decoder
        # Whether the draft model lacks one committed token or two, it is fed two: one shape.
        states = decoder.rows(self._feed, self._draft_start, reach)[1:]
        for index in range(count):
            scores = decoder.logits(states)[:, : self.vocabulary]
            token = self._propose(rule, scores, index, truncating=truncating)
            self.target.ids[index + 1 : index + 2] = token
            if index + 1 < count:
                states = decoder.rows(token, self._start + index + 1, reach)

    def _propose(self, rule: str, scores: torch.Tensor, index: int, *, truncating: bool) -> torch.Tensor:
        """Draw draft `index` from `scores [1, V]` and note what is needed to test it; int64 `[1]`."""
        place = slice(index, index + 1)
        if rule == GREEDY:
            token, row = scores.argmax(-1), scores
            self._draft_totals[place] = log_totals(scores)
            prob = torch.exp(row.gather(1, token[:, None])[:, 0].double() - self._draft_totals[place])
        else:
            row = processed(scores, self._knobs, truncating=truncating)
            if rule == COUPLED:
                self._noise[place] = exponential_noise(self._bases[place], self._noise_ids)
                token = (row / self._noise[place]).argmax(-1)
            else:
                token = drawn(row[0], self._draft_uniforms[index]).reshape(1)
            prob = row.gather(1, token[:, None])[:, 0].double()
        self._draft_rows[place] = row
        self._tokens[place] = token
        self._draft_probs[place] = prob
        self._draft_finite[place] = scores.amax(-1).isfinite().double()
        return token

    # -- accept -------------------------------------------------------------------------------------------------

    def _accept(self, rule: str, count: int, *, truncating: bool) -> None:
        scores = self.target.logits[: count + 1, : self.vocabulary]
        tokens = self._tokens[:count]
        if rule == GREEDY:
            choices = scores.argmax(-1)
            accepted = _leading(choices[:count] == tokens)
            final = choices.index_select(0, accepted)
            totals = log_totals(scores)
            probs = torch.exp(scores[:count].gather(1, tokens[:, None])[:, 0].double() - totals[:count])
            chosen = scores.index_select(0, accepted).index_select(1, final)[0].double()
            final_prob = torch.exp(chosen - totals.index_select(0, accepted))
            drafted = self._draft_rows.index_select(0, accepted).index_select(1, final)[0].double()
            final_draft_prob = torch.exp(drafted - self._draft_totals.index_select(0, accepted))
            fell_back = torch.zeros_like(final_prob)
        else:
            rows = processed(scores, self._knobs, truncating=truncating)
            probs = rows[:count].gather(1, tokens[:, None])[:, 0].double()
            if rule == COUPLED:
                # The target's own choices: drafts of the same noise mostly chose alike.
                place = slice(count, count + 1)
                self._noise[place] = exponential_noise(self._bases[place], self._noise_ids)
                choices = (rows / self._noise[: count + 1]).argmax(-1)
                accepted = _leading(choices[:count] == tokens)
                final, fell_back = choices.index_select(0, accepted), torch.zeros_like(accepted)
            else:
                # Keep with probability min(1, target / draft), else sample what the target has over the draft.
                kept = self._accept_uniforms[:count] * self._draft_probs[:count] < probs
                accepted = _leading(kept)
                final, fell_back = self._after(rows, accepted, count)
            final_prob = rows.index_select(0, accepted).index_select(1, final)[0]
            final_draft_prob = self._draft_rows.index_select(0, accepted).index_select(1, final)[0]
        finite = scores.amax(-1).isfinite()
        parts = (tokens, self._draft_probs[:count], self._draft_finite[:count], probs, finite)
        last = (accepted, final, final_prob, final_draft_prob, fell_back)
        values = [part.double() for part in (*parts, *last)]
        self._packet[: 5 * count + 6] = torch.cat(values)

    def _after(
        self, rows: torch.Tensor, accepted: torch.Tensor, count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`rejection`'s token behind the kept drafts and whether its residual had no mass: int64 and bool, `[1]` each."""
        row = rows.index_select(0, accepted)[0]
        # After a full window nothing is taken off: the bonus is the target's own.
        draft_row = self._draft_rows.index_select(0, accepted)[0] * (accepted < count)
        rest = (row - draft_row).clamp_min(0.0)
        fell_back = mass_of(rest) <= EPSILON
        return drawn(torch.where(fell_back, row, rest), self._target_uniform).reshape(1), fell_back.reshape(1)


class DraftLaunchFailed(RuntimeError):
    """The draft's part of a window could not be launched; nothing of the target was touched."""


def _leading(kept: torch.Tensor) -> torch.Tensor:
    """How many are true before the first that is not: bool `[n]` → int64 `[1]`."""
    return kept.long().cumprod(0).sum().reshape(1)


def _read(values: Sequence[float], count: int, timings_ns: tuple[int, int, int]) -> WindowResult:
    def block(index: int) -> Sequence[float]:
        return values[index * count : (index + 1) * count]

    accepted, final_id, final_prob, final_draft_prob, fell_back = values[5 * count + 1 :]
    return WindowResult(
        tokens=tuple(map(int, block(0))),
        draft_probs=tuple(block(1)),
        draft_finite=tuple(map(bool, block(2))),
        target_probs=tuple(block(3)),
        target_finite=tuple(map(bool, values[4 * count : 5 * count + 1])),
        accepted=int(accepted),
        final_id=int(final_id),
        final_prob=final_prob,
        final_draft_prob=final_draft_prob,
        fell_back=bool(fell_back),
        timings_ns=timings_ns,
    )
