"""The working directory of a run: which file is where, and what the stages hand to each other.

Files: tokenizer/, corpus/shard-NNN.npz, target.pt, draft.pt, evaluation.json, log.jsonl, pid.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pair_maker.chat import ChatEncoder
from pair_maker.corpus import Corpus, fingerprint, tokenizer_texts
from pair_maker.model import Llama, Shape
from pair_maker.progress import Log
from pair_maker.tokenizer import VOCABULARY, load_tokenizer, save_tokenizer, train_tokenizer

SHIPPED = torch.bfloat16
TARGET = Shape(vocabulary=VOCABULARY, hidden=256, layers=12, heads=4, intermediate=704)
DRAFT = Shape(vocabulary=VOCABULARY, hidden=128, layers=1, heads=2, intermediate=256)


class NotThereYet(Exception):
    """A stage needs what an earlier stage makes."""


@dataclass(frozen=True)
class Workplace:
    """Paths and the objects read from them."""

    root: Path
    device: torch.device

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    def claim(self) -> None:
        """Leave this process's id for whoever wants to pause or stop the training."""
        (self.root / "pid").write_text(f"{os.getpid()}\n", encoding="ascii")

    @property
    def tokenizer_directory(self) -> Path:
        return self.root / "tokenizer"

    @property
    def target(self) -> Path:
        return self.root / "target.pt"

    @property
    def draft(self) -> Path:
        return self.root / "draft.pt"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation.json"

    @cached_property
    def log(self) -> Log:
        return Log(self.root / "log.jsonl")

    @cached_property
    def encoder(self) -> ChatEncoder:
        return ChatEncoder(load_tokenizer(self.tokenizer_directory))

    @cached_property
    def corpus(self) -> Corpus:
        made_from = fingerprint(self.tokenizer_directory / "tokenizer.json")
        return Corpus(self.root / "corpus", self.encoder, made_from)

    def digest(self, path: Path) -> str:
        """Changes when the file does."""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def make_tokenizer(self) -> None:
        """Train the tokenizer unless it is there."""
        if (self.tokenizer_directory / "tokenizer.json").exists():
            return
        tokenizer = train_tokenizer(tokenizer_texts())
        save_tokenizer(tokenizer, self.tokenizer_directory, TARGET.context)
        self.log.write("tokenizer", f"tokenizer of {tokenizer.get_vocab_size()} tokens",
                       vocabulary=tokenizer.get_vocab_size())

    def trained(self, plan_name: str) -> Llama:
        """The model of the newest checkpoint, for inference, its weights rounded as they are shipped.

        Raises NotThereYet when no checkpoint is there.
        """
        saved = self._checkpoint(plan_name)
        model = Llama(Shape(**saved["shape"]), saved["layers"]).to(self.device)
        model.load_state_dict(saved["model"])
        return model.to(SHIPPED).float().eval().requires_grad_(False)

    def training(self, plan_name: str) -> dict[str, float]:
        """How long the model of the newest checkpoint was trained, and on how much."""
        state = self._checkpoint(plan_name)["state"]
        return {
            "steps": state["steps"],
            "tokens": state["tokens"],
            "minutes": round(state["trained_s"] / 60, 1),
        }

    def _checkpoint(self, plan_name: str) -> dict[str, Any]:
        path = self.root / f"{plan_name}.pt"
        if not path.exists():
            raise NotThereYet(f"{path} is missing: run the stage {plan_name} first")
        saved: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        return saved
