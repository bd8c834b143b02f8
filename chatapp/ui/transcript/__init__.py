"""The conversation as it is read: prompts as cards, replies as text coloured by who made each token.

From record to pixels: `flow` folds a record into blocks of runs, `paragraph` lays blocks out in lines, `turn` stacks a
turn's paragraphs, `canvas` scrolls and selects among turns, `view` adds the legend, the token card and the clock. None of
them computes anything that the record does not say.
"""

from __future__ import annotations

from chatapp.ui.transcript.view import TranscriptView

__all__ = ["TranscriptView"]
