"""The chat format: special tokens, the template, and conversations as token ids with loss weights.

A conversation is ``<|bos|>``, then per message ``<|role|>text<|end|>`` and nothing between: text always stands
alone between two special tokens, so it is encoded alone, and the rendering of a longer conversation extends the
rendering of a shorter one exactly.  It must not know kinds of text or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from pair_maker.sample import ASSISTANT, SYSTEM, USER

BOS, END, PAD = "<|bos|>", "<|end|>", "<|pad|>"
ROLE_TOKENS = {SYSTEM: "<|system|>", USER: "<|user|>", ASSISTANT: "<|assistant|>"}
SPECIAL_TOKENS = (BOS, END, *ROLE_TOKENS.values(), PAD)

TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Encoded:
    """Token ids of one conversation; ``spoken`` is true for what the assistant has to learn to say."""

    ids: list[int]
    spoken: list[bool]


class ChatEncoder:
    """Turns conversations into ids; text can never become a special token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._ids = {token: id_of(tokenizer, token) for token in SPECIAL_TOKENS}

    @property
    def end(self) -> int:
        return self._ids[END]

    @property
    def pad(self) -> int:
        return self._ids[PAD]

    def conversation(self, messages: Sequence[tuple[str, str]]) -> Encoded:
        """A whole conversation, each message closed by ``<|end|>``."""
        ids, spoken = [self._ids[BOS]], [False]
        texts = self._tokenizer.encode_batch_fast([text for _, text in messages], add_special_tokens=False)
        for (role, _), text in zip(messages, texts, strict=True):
            ids += [self._ids[ROLE_TOKENS[role]], *text.ids, self._ids[END]]
            spoken += [False] + [role == ASSISTANT] * (len(text.ids) + 1)
        return Encoded(ids, spoken)

    def prompt(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """A conversation that ends with a user turn, ready for the reply."""
        return [*self.conversation(messages).ids, self._ids[ROLE_TOKENS[ASSISTANT]]]

    def text(self, ids: Sequence[int]) -> str:
        """The text of ``ids`` without special tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer has no {token}")
    return int(found)
