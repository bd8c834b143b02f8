"""Writes the pair as Hugging Face directories, with its model card and checksums.

It must not train or measure anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from pair_maker.card import model_card
from pair_maker.chat import BOS, END, PAD, id_of
from pair_maker.model import Llama
from pair_maker.tokenizer import save_tokenizer

DTYPE = torch.bfloat16


def export_pair(out: Path, target: Llama, draft: Llama, tokenizer: Tokenizer,
                evaluation: Mapping[str, object]) -> None:
    """Write everything into ``out``."""
    for name, model in (("target", target), ("draft", draft)):
        export_model(model, tokenizer, out / name)
    (out / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(model_card(evaluation), encoding="utf-8")
    write_checksums(out)


def export_model(model: Llama, tokenizer: Tokenizer, directory: Path) -> None:
    """One model with its tokenizer."""
    save_tokenizer(tokenizer, directory, model.shape.context)
    ids = {name: id_of(tokenizer, token) for name, token in (("bos", BOS), ("eos", END), ("pad", PAD))}
    for name, content in (
        ("config.json", model_config(model, ids)),
        ("generation_config.json", {f"{name}_token_id": value for name, value in ids.items()}),
    ):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    weights = {name: weight.detach().to("cpu", DTYPE).contiguous() for name, weight in model.state_dict().items()}
    part = directory / "model.safetensors.part"
    save_file(weights, part, metadata={"format": "pt"})
    part.chmod(0o644)  # the library writes for its owner alone
    part.replace(directory / "model.safetensors")


def model_config(model: Llama, ids: Mapping[str, int]) -> dict[str, object]:
    """The configuration of a Llama; the rotary base is named both ways, for transformers 4 and 5."""
    shape = model.shape
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": model.depth,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head_size,
        "intermediate_size": shape.intermediate,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **{f"{name}_token_id": value for name, value in ids.items()},
    }


def write_checksums(out: Path) -> None:
    """SHA256SUMS over every file of the pair, as sha256sum reads it."""
    names = sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS"
    )
    lines = (f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (out / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
