"""Teaches the draft to agree with the target.

The draft learns the target's whole distribution on corpus text and on text that the target wrote itself, for
that is the text on which it will be asked.  It must not know how the models are evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pair_maker.batches import Batch
from pair_maker.chat import ChatEncoder
from pair_maker.corpus import SEED, Corpus, Shard, draw, joined, pack
from pair_maker.model import Llama
from pair_maker.sample import ASSISTANT, Sample
from pair_maker.sampling import replies

TALK_PROMPTS = 1_536
TALK_ROWS = 96
TALK_TEMPERATURES = (0.0, 0.8, 1.0)
TALK_TOKENS = 160
HARD_SHARE = 0.1


class Distillation:
    """The draft's objective: forward KL and total variation to the target, and a little of the plain loss.

    Total variation is one minus the chance that the rejection rule keeps a draft, so it is what counts in the
    end; KL has the gradients that lead there (Zhou et al. 2023, DistillSpec).
    """

    def __init__(self, target: Llama) -> None:
        self._target = target

    def __call__(self, model: Llama, batch: Batch) -> tuple[Tensor, Tensor]:
        spoken = batch.weights == 1.0  # the draft is never asked to write a prompt
        with torch.no_grad():
            teacher = torch.log_softmax(self._target.logits_of(self._target.hidden(batch.ids)[spoken]).float(), dim=-1)
        student = torch.log_softmax(model.logits_of(model.hidden(batch.ids)[spoken]).float(), dim=-1)
        target_probs = teacher.exp()
        divergence = (target_probs * (teacher - student)).sum(dim=-1)
        distance = 0.5 * (target_probs - student.exp()).abs().sum(dim=-1)
        hard = functional.nll_loss(student, batch.targets[spoken], reduction="none")
        losses = torch.zeros_like(batch.weights)
        losses[spoken] = hard.detach()
        return (divergence + distance + HARD_SHARE * hard).mean(), losses


def self_talk(target: Llama, encoder: ChatEncoder, prompts: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """Conversations whose last reply the target wrote, at several temperatures."""
    generator = torch.Generator(target.device).manual_seed(SEED)
    samples = draw(SEED - 1, prompts, held_out=False)
    temperatures = itertools.cycle(TALK_TEMPERATURES)
    done = 0
    while rows := list(itertools.islice(samples, TALK_ROWS)):
        asked = [encoder.prompt(sample.prompt) for sample in rows]
        written = replies(target, asked, encoder.end, TALK_TOKENS, next(temperatures), generator)
        for sample, ids in zip(rows, written, strict=True):
            yield Sample(sample.kind, (*sample.prompt, (ASSISTANT, encoder.text(ids))))
        done += len(rows)
        if done % (8 * TALK_ROWS) == 0:
            say(f"the target wrote {done} of {prompts} replies")


class TalkCorpus(Corpus):
    """The corpus with the target's own text mixed into every shard."""

    def __init__(self, corpus: Corpus, talk: Shard) -> None:
        self.made_from = corpus.made_from
        self._corpus, self._talk = corpus, talk

    def shard(self, number: int) -> Shard:
        return joined(self._corpus.shard(number), self._talk)


def talk_shard(path: Path, target: Llama, encoder: ChatEncoder, made_from: str, say: Callable[[str], None],
               prompts: int = TALK_PROMPTS) -> Shard:
    """The target's own text, made once per target and kept at ``path``."""
    if path.exists():
        shard = Shard.load(path)
        if shard.made_from == made_from:
            return shard
    shard = pack(self_talk(target, encoder, prompts, say), encoder, made_from)
    shard.save(path)
    return shard
