"""Small tokenizers trained on the spot: byte-level, and SentencePiece-like with byte fallback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIALS = ("<|bos|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|pad|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXTS = (
    "The quick brown fox jumps over the lazy dog, then over the fence; 0123456789 times.",
    "Der schnelle braune Fuchs springt über den faulen Hund – größer, schöner, weißer.",
    "Το γρήγορο καφέ αλεπού. Съешь ещё этих мягких французских булок, да выпей чаю.",
    "素早い茶色の狐がのろまな犬を飛び越える。敏捷的棕色狐狸跳过了懒狗。빠른 갈색 여우.",
    "الثعلب البني السريع يقفز. השועל החום המהיר. तेज़ भूरी लोमड़ी कूदती है।",
    "e\u0301a\u0308o\u0302 👩‍👩‍👧‍👦 👍🏽 🇩🇪 😀😃😄 ✨  two  spaces\n\ttabs and\nlines",
)


def byte_level(*, size: int = 420, specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """Byte-level BPE, as GPT-2, Llama 3 and Qwen have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in specials],
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_fallback(*, size: int = 420, specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """BPE over characters with a byte token for what it has never seen, as Llama 2 and Gemma have it."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        limit_alphabet=60,
        special_tokens=[
            "<unk>",
            *[AddedToken(token, special=True, normalized=False) for token in specials],
        ],
    )
    tokenizer.train_from_iterator(TEXTS[:2], trainer)
    # The trainer knows no byte tokens: they join the model's vocabulary behind what it learned.
    state = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = state["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    return Tokenizer.from_str(json.dumps(state))


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """Raises `KeyError` for a token that the vocabulary lacks."""
    return tokenizer.get_vocab()[token]


def save(tokenizer: Tokenizer, directory: Path, *, template: str | None = TEMPLATE) -> None:
    """In Hugging Face layout."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 256,
        "clean_up_tokenization_spaces": False,
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
    }
    if template is not None:
        config["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
