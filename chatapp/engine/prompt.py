"""Messages → ids, and ids → text. The only file outside `backends/` that knows transformers (its tokenizers and templates).

User text can never become a special token: a message that contains the text of one is rendered as a sentinel and
encoded by itself, as ordinary text.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatapp.domain.errors import InvalidSetting, LoadFailed, ModelNotFound, VocabularyMismatch
from chatapp.domain.request import Message
from chatapp.engine.byte_fallback import ByteFallback

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n\n{% endfor %}assistant:"
)
"""For base models that ship no chat template."""

SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Lone surrogates become U+FFFD: no tokenizer and no UTF-8 file can hold them."""
    return SURROGATES.sub("\ufffd", text)


class Prompt:
    """A tokenizer with its chat template."""

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self.eos_ids = frozenset(eos_ids)
        # Role markers are often special without being listed in `all_special_tokens`. Added tokens that are not special
        # (runs of spaces, say) are ordinary text of their vocabulary.
        added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
        # The Rust tokenizer itself decodes ten times faster than the Python class around it.
        self._rust = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        names = {*tokenizer.all_special_tokens, *added}
        # `<Tool>` is found in the text `<tool>` where a normaliser lowers both.
        self._specials = tuple(names | {self._normalised(name) for name in names} - {""})
        self._bytes = ByteFallback.find(self._rust) if self._rust is not None else None
        self._piece = lru_cache(maxsize=8192)(self._decode_one)

    @classmethod
    def load(cls, directory: Path, eos_ids: Sequence[int]) -> Prompt:
        """Raises `ModelNotFound` without tokenizer files and `LoadFailed` for ones that cannot be read."""
        from transformers import AutoTokenizer

        if not any(
            (directory / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")
        ):
            raise ModelNotFound(
                f"{directory} holds no tokenizer (tokenizer.json or tokenizer.model).",
                remedy="Choose a directory in Hugging Face layout.",
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
        except Exception as error:  # tokenizers raises bare Exception for a file that it cannot parse
            raise LoadFailed(
                f"The tokenizer in {directory} cannot be read: {error}", remedy="Copy the model again."
            ) from error
        ids = list(eos_ids)
        if tokenizer.eos_token_id is not None:
            ids.append(int(tokenizer.eos_token_id))
        return cls(tokenizer, ids)

    def vocabulary(self) -> dict[str, int]:
        return dict(self._tokenizer.get_vocab())

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the templated conversation, ready for the assistant's next word. Raises `InvalidSetting` where the
        template refuses it."""
        plain = [{"role": message.role.value, "content": clean_text(message.content)} for message in messages]
        hidden = {
            f"⟪{secrets.token_hex(12)}⟫": message["content"]
            for message in plain
            if self._names_special(message["content"])
        }
        marks = {content: mark for mark, content in hidden.items()}
        rendered = self._render(
            [{**message, "content": marks.get(message["content"], message["content"])} for message in plain]
        )
        if not hidden:
            return self._ids(rendered, specials=True)
        ids: list[int] = []
        for part in re.split("(" + "|".join(hidden) + ")", rendered):
            if part:
                ids += self._ids(hidden.get(part, part), specials=part not in hidden)
        return ids

    def _names_special(self, content: str) -> bool:
        """Whether `content` could give special tokens: some are found in the normalised text only."""
        texts = (content, self._normalised(content))
        return any(special in text for special in self._specials for text in texts)

    def _normalised(self, text: str) -> str:
        if self._rust is None or self._rust.normalizer is None:
            return text
        return str(self._rust.normalizer.normalize_str(text))

    def _render(self, messages: list[dict[str, str]]) -> str:
        from jinja2 import TemplateError

        template = None if getattr(self._tokenizer, "chat_template", None) else PLAIN_TEMPLATE
        try:
            rendered = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, chat_template=template
            )
        except TemplateError as error:  # some templates know no system prompt, and say so this way
            raise InvalidSetting(
                "messages", f"The model's chat template does not take this conversation: {error}"
            ) from error
        return str(rendered)

    def _ids(self, text: str, *, specials: bool) -> list[int]:
        # Not verbose: the engine says by itself, with numbers, when a text is longer than the context.
        encoded = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=not specials, verbose=False
        )
        return [int(token) for token in encoded["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """Plain decode: special tokens skipped, spaces left as they are."""
        return self._decode(ids, skip_specials=True)

    def piece(self, token: int) -> str:
        """A token's own text for reading: special tokens by name, lone bytes as U+FFFD."""
        return self._piece(token)

    def _decode_one(self, token: int) -> str:
        return self._decode([token], skip_specials=False)

    def _decode(self, ids: Sequence[int], *, skip_specials: bool) -> str:
        if self._bytes is not None:
            return self._bytes.decode(ids, skip_specials=skip_specials)
        if self._rust is not None:
            return str(self._rust.decode(list(ids), skip_special_tokens=skip_specials))
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=skip_specials, clean_up_tokenization_spaces=False
            )
        )


def require_same_vocabulary(target: dict[str, int], draft: dict[str, int]) -> None:
    """Compare token by token, not size by size. Raises `VocabularyMismatch` with up to five examples."""
    if target == draft:
        return
    differing = sorted(
        (token for token in target.keys() | draft.keys() if target.get(token) != draft.get(token)),
        key=lambda token: (target.get(token, 1 << 40), token),
    )
    examples = tuple((token, target.get(token, -1), draft.get(token, -1)) for token in differing[:5])
    shown = ", ".join(f"{token!r} ({_side(a)} / {_side(b)})" for token, a, b in examples[:3])
    raise VocabularyMismatch(
        f"Target and draft do not share one vocabulary: {len(differing):,} tokens differ (target / draft id), "
        f"for example {shown}.",
        examples,
        remedy="Choose a draft of the same family, or open the target without a draft.",
    )


def _side(token_id: int) -> str:
    return "missing" if token_id < 0 else str(token_id)
