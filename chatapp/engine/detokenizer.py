"""Token ids → the characters that each of them completes.

Span rule: pieces are in order, may be empty, and concatenated (with the tail of `finish`) equal one decode of all ids,
for byte-level and byte-fallback tokenizers alike. A character belongs to the token that completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
OVERLAP_TOKENS = 6
"""Ids decoded again in front of the new one, so that decoders which treat the first token specially (a stripped leading
space) or look back (byte runs) see what they need. Longer than the longest UTF-8 sequence in bytes."""
REDECODED_TOKENS = 32
"""How long the decoded end may grow before its beginning is let go."""

Decode = Callable[[Sequence[int]], str]


class Detokenizer:
    """One reply's decoder. `decode` must be the tokenizer's plain decode: special tokens skipped, no clean-up of spaces."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._emitted = 0
        self._base = 0
        """Index of the first id that is decoded again."""
        self._base_emitted = 0
        """Characters of decode(ids[base:]) that are already emitted."""
        self._settled = 0
        """Number of ids when the text last ended in a complete character."""

    def push(self, token: int) -> str:
        """The characters that `token` completes; empty while a character is still incomplete."""
        self._ids.append(token)
        text = self._decode(self._ids[self._base :])
        complete = text.rstrip(REPLACEMENT)
        if len(complete) == len(text):
            piece = text[self._base_emitted :]
            self._base_emitted = len(text)
            self._settled = len(self._ids)
            self._advance_base()
        else:
            # A trailing U+FFFD may be half a character: it is held until a later token settles it.
            piece = complete[self._base_emitted :]
            self._base_emitted = max(self._base_emitted, len(complete))
        self._emitted += len(piece)
        return piece

    def _advance_base(self) -> None:
        if len(self._ids) - self._base <= REDECODED_TOKENS:
            return
        whole = self._decode(self._ids[self._base :])
        # Only move to a place from which the emitted text is again a suffix of the overlap's own decode; where a cut falls
        # into a character, the ones before it are tried: four, since no character has more bytes.
        for base in range(self._settled - OVERLAP_TOKENS, self._settled - OVERLAP_TOKENS - 4, -1):
            after = self._decode(self._ids[base:])
            if after and whole.endswith(after):
                self._base = base
                self._base_emitted = len(after)
                return

    @property
    def emitted(self) -> int:
        """Characters given out by `push` so far."""
        return self._emitted

    def finish(self) -> str:
        """What is still held: the rest of the full decode (an incomplete character shows as U+FFFD)."""
        return self._decode(self._ids)[self._emitted :]


class StopMatcher:
    """Finds stop strings in growing text and says how much of it may be shown."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max((len(stop) for stop in self._stops), default=0)
        self._text = ""

    def push(self, piece: str) -> tuple[bool, int]:
        """Add text; `(stopped, visible)`, where `visible` counts the characters in front of a stop string, whole or begun."""
        searched_from = max(len(self._text) - self._longest + 1, 0)
        self._text += piece
        found = [at for at in (self._text.find(stop, searched_from) for stop in self._stops) if at >= 0]
        if found:
            return True, min(found)
        return False, len(self._text) - self._begun()

    def _begun(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        for size in range(min(self._longest - 1, len(self._text)), 0, -1):
            tail = self._text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
