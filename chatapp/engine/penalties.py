"""What is added to logits before anything else: repetition, presence and frequency penalties, and biases.

Right inside a window: the row of position i sees the drafts in front of it, as it would see them as tokens of the reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from chatapp.domain.request import SamplingSettings
from chatapp.engine.distribution import Floats, Ids

Before: TypeAlias = tuple[Ids, Floats]
"""Ids, and the logits that they had."""


def put_back(scores: Floats, before: Before) -> None:
    """What `Penalties.apply` changed is as it was, to the bit."""
    ids, values = before
    scores[ids] = values


class Penalties:
    """Counts the context once per committed token, not once per row.

    What an id's logit becomes is computed in one go from how often the id stands in front, drafts included: a row is the same
    to the bit whether a token in front of it is still a draft or already part of the reply.
    """

    def __init__(self, settings: SamplingSettings, prompt_length: int) -> None:
        self._repetition = settings.repetition_penalty
        self._presence = settings.presence_penalty
        self._frequency = settings.frequency_penalty
        self._bias_ids = np.array([token for token, _ in settings.logit_bias], np.int64)
        self._bias = np.array([bias for _, bias in settings.logit_bias])
        self._prompt_length = prompt_length
        self._counts = self._presence != 0.0 or self._frequency != 0.0
        """Repetition alone asks whether an id was seen, not how often."""
        self._active = self._repetition != 1.0 or self._counts
        self._forget()

    def _forget(self) -> None:
        self._counted = 0
        self._places: dict[int, int] = {}
        """Where each id that was seen stands in the two arrays, whose rest is spare."""
        self._ids = np.zeros(64, np.int64)
        self._times = np.zeros(64, np.int64)
        """How often the id stands in the reply: 0 for one of the prompt alone."""

    def applied(self, scores: Floats, context: Sequence[int], drafts: Sequence[int]) -> Floats:
        """`scores` `[V]` itself when nothing applies, else a changed copy."""
        if not self._active and not len(self._bias_ids):
            return scores
        result = scores.copy()
        self.apply(result, context, drafts)
        return result

    def apply(self, scores: Floats, context: Sequence[int], drafts: Sequence[int]) -> Before | None:
        """Change `scores` `[V]` themselves; gives the ids that were changed and what they had, for `put_back` before the next
        row, or None when nothing applies. Copying half a megabyte for the few numbers that change would take as long as
        drawing from it."""
        before: Before | None = None
        if self._active:
            self._count(context, len(scores))
            ids = self._ids[: self._with_drafts(drafts, len(scores))]
            values = scores[ids]
            # Of an id that stands there twice the last is written: the one that counts drafts.
            scores[ids] = self._changed(values, self._times[: len(ids)])
            before = ids, values
        if len(self._bias_ids):
            known = self._bias_ids < len(scores)
            biased = self._bias_ids[known]
            penalised = scores[biased]
            scores[biased] += self._bias[known].astype(scores.dtype)
            # Put back in this order an id that was changed twice gets its first value.
            before = (
                (biased, penalised)
                if before is None
                else (np.concatenate([biased, before[0]]), np.concatenate([penalised, before[1]]))
            )
        return before

    def _count(self, context: Sequence[int], size: int) -> None:
        """The context only ever grows within a run; where it did not, count anew. Ids behind the vocabulary are left out."""
        if len(context) < self._counted:
            self._forget()
        for index in range(self._counted, len(context)):
            token = context[index]
            if token >= size:
                continue
            place = self._places.get(token)
            if place is None:
                place = self._places[token] = self._noted(len(self._places), token, 0)
            self._times[place] += index >= self._prompt_length
        self._counted = len(context)

    def _with_drafts(self, drafts: Sequence[int], size: int) -> int:
        """Notes ids that stand in `drafts`, and how often in all, behind what was counted, where the next row overwrites them;
        gives how many then stand there."""
        count = len(self._places)
        drafted: dict[int, int] = {}
        for token in drafts:
            if token < size and (self._counts or token not in self._places):
                drafted[token] = drafted.get(token, 0) + 1
        for token, times in drafted.items():
            place = self._places.get(token)
            self._noted(count, token, times if place is None else int(self._times[place]) + times)
            count += 1
        return count

    def _noted(self, place: int, token: int, times: int) -> int:
        """`place` itself, where the id now stands."""
        if place == len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
            self._times = np.concatenate([self._times, np.zeros_like(self._times)])
        self._ids[place], self._times[place] = token, times
        return place

    def _changed(self, values: Floats, times: Ids) -> Floats:
        """Logits of ids seen before. Repetition divides positive and multiplies negative ones (Keskar et al. 2019, CTRL);
        presence goes off once and frequency per occurrence in the reply (the OpenAI API's definition)."""
        if self._repetition != 1.0:
            penalty = values.dtype.type(self._repetition)
            values = np.where(values < 0, values * penalty, values / penalty)
        if not self._counts:
            return values
        change = self._presence * (times > 0) + self._frequency * times
        result: Floats = values - change.astype(values.dtype)
        return result
