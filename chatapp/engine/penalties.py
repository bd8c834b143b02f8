"""What is added to logits before anything else: repetition, presence and frequency penalties, and biases.

Right inside a window: the row of position i sees the drafts in front of it, as it would see them as tokens of the reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from chatapp.domain.request import SamplingSettings
from chatapp.engine.distribution import Floats


class Penalties:
    """Counts the context once per committed token, not once per row."""

    def __init__(self, settings: SamplingSettings, prompt_length: int) -> None:
        self._repetition = settings.repetition_penalty
        self._presence = settings.presence_penalty
        self._frequency = settings.frequency_penalty
        self._bias_ids = np.array([token for token, _ in settings.logit_bias], np.int64)
        self._bias = np.array([bias for _, bias in settings.logit_bias])
        self._prompt_length = prompt_length
        self._counts_reply = bool(self._presence or self._frequency)
        self._active = self._counts_reply or self._repetition != 1.0
        self._seen: set[int] = set()
        self._reply: Counter[int] = Counter()
        self._counted = 0

    def applied(self, scores: Floats, context: Sequence[int], drafts: Sequence[int]) -> Floats:
        """`scores` `[V]` itself when nothing applies, else a changed copy."""
        if not self._active and not len(self._bias_ids):
            return scores
        result = scores.copy()
        if self._active:
            self._count(context)
            if self._repetition != 1.0:
                self._repeat(result, drafts)
            if self._counts_reply:
                self._take_off(result, drafts)
        if len(self._bias_ids):
            known = self._bias_ids < len(result)
            result[self._bias_ids[known]] += self._bias[known].astype(result.dtype)
        return result

    def _count(self, context: Sequence[int]) -> None:
        """The context only ever grows within a run; where it did not, count anew."""
        if len(context) < self._counted:
            self._seen, self._reply, self._counted = set(), Counter(), 0
        new = context[self._counted :]
        self._seen.update(new)
        self._reply.update(context[max(self._counted, self._prompt_length) :])
        self._counted = len(context)

    def _repeat(self, result: Floats, drafts: Sequence[int]) -> None:
        """Divide positive and multiply negative logits of ids seen before (Keskar et al. 2019, CTRL)."""
        seen = np.fromiter(self._seen.union(drafts), np.int64)
        seen = seen[seen < len(result)]
        values = result[seen]
        penalty = result.dtype.type(self._repetition)
        result[seen] = np.where(values < 0, values * penalty, values / penalty)

    def _take_off(self, result: Floats, drafts: Sequence[int]) -> None:
        """Presence once and frequency per occurrence in the reply (the OpenAI API's definition)."""
        counts = self._reply + Counter(drafts) if drafts else self._reply
        ids = np.fromiter(counts, np.int64, len(counts))
        times = np.fromiter(counts.values(), np.int64, len(counts))
        known = ids < len(result)
        change = self._presence + self._frequency * times[known]
        result[ids[known]] -= change.astype(result.dtype)
