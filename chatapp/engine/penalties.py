"""What is added to logits before anything else: repetition, presence and frequency penalties, and biases.

Right inside a window: the row of position i sees the drafts in front of it, as it would see them as tokens of the reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from chatapp.domain.request import SamplingSettings
from chatapp.engine.distribution import Floats, Ids


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
        if self._active:
            self._count(context, len(scores))
            count = len(self._places)
            ids = self._ids[:count]
            result[ids] = self._changed(scores[ids], self._times[:count])
            drafted = Counter(
                token
                for token in drafts
                if token < len(scores) and (self._counts or token not in self._places)
            )
            if drafted:
                ids = np.fromiter(drafted, np.int64, len(drafted))
                times = [self._replied(token) + more for token, more in drafted.items()]
                result[ids] = self._changed(scores[ids], np.array(times))
        if len(self._bias_ids):
            known = self._bias_ids < len(result)
            result[self._bias_ids[known]] += self._bias[known].astype(result.dtype)
        return result

    def _count(self, context: Sequence[int], size: int) -> None:
        """The context only ever grows within a run; where it did not, count anew. Ids behind the vocabulary are left out."""
        if len(context) < self._counted:
            self._forget()
        for index in range(self._counted, len(context)):
            token = context[index]
            if token >= size:
                continue
            place = self._places.setdefault(token, len(self._places))
            if place == len(self._ids):
                self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
                self._times = np.concatenate([self._times, np.zeros_like(self._times)])
            self._ids[place] = token
            self._times[place] += index >= self._prompt_length
        self._counted = len(context)

    def _replied(self, token: int) -> int:
        place = self._places.get(token)
        return 0 if place is None else int(self._times[place])

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
