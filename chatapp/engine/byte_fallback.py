"""Decoding for SentencePiece-like vocabularies that write what they lack as single bytes (`<0xE2>`).

Their own decoder is all or nothing: one byte that is no UTF-8 turns every character of its run of byte tokens into
U+FFFD, characters included that were complete, and shown, long before. Here only the bytes that fit no character become
U+FFFD, as byte-level vocabularies do it; a run of whole characters decodes as ever. What is complete stays as it is, so a
reply can be shown while it grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

SEPARATOR = ""
"""A token that ends a run of bytes and has no text."""


class ByteFallback:
    """Decodes with a `tokenizers.Tokenizer` whose vocabulary has byte tokens."""

    def __init__(self, tokenizer: Any, byte_of: dict[int, int]) -> None:
        self._tokenizer = tokenizer
        self._byte_of = byte_of
        self._special = {
            token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special
        }

    @classmethod
    def find(cls, tokenizer: Any) -> ByteFallback | None:
        """None for a tokenizer without byte tokens, or whose decoder takes them for text."""
        byte_of = {tokenizer.token_to_id(f"<0x{byte:02X}>"): byte for byte in range(256)}
        byte_of.pop(None, None)
        if not byte_of or tokenizer.decoder is None or tokenizer.decoder.decode(["<0x41>"]) != "A":
            return None
        return cls(tokenizer, byte_of)

    def decode(self, ids: Sequence[int], *, skip_specials: bool) -> str:
        kept = [token for token in ids if not (skip_specials and token in self._special)]
        misfits = set(self._misfits(kept))
        if not misfits:
            return str(self._tokenizer.decode(kept, skip_special_tokens=False))
        tokens: list[str] = []
        for place, token in enumerate(kept):
            name = self._tokenizer.id_to_token(token)
            if name is not None:
                tokens += [SEPARATOR, name, SEPARATOR] if place in misfits else [name]
        return str(self._tokenizer.decoder.decode(tokens))

    def _misfits(self, ids: Sequence[int]) -> Iterator[int]:
        """Places of bytes that belong to no character."""
        for is_byte, run in groupby(enumerate(ids), key=lambda item: item[1] in self._byte_of):
            if not is_byte:
                continue
            places, tokens = zip(*run, strict=True)
            data = bytes(self._byte_of[token] for token in tokens)
            done = 0
            # Each byte that fits no character becomes one lone surrogate.
            for character in data.decode("utf-8", errors="surrogateescape"):
                size = len(character.encode("utf-8", errors="surrogateescape"))
                if "\udc80" <= character <= "\udcff":
                    yield places[done]
                done += size
