"""Measures the pair on held-out prompts: are replies right, and does the target keep what the draft proposes.

Everything the model card says in figures comes from here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pair_maker.chat import ChatEncoder
from pair_maker.kinds import BY_NAME, KINDS
from pair_maker.model import Llama
from pair_maker.sample import Sample
from pair_maker.sampling import replies
from pair_maker.speculation import Counts, speculate

SEED = 7_919
WINDOW = 5
TEMPERATURES = (0.0, 0.8)
MOST_TOKENS = 256
ROWS = 40


@dataclass(frozen=True)
class Size:
    """How many held-out prompts of each kind are used for what."""

    answers: int = 160
    speculation: int = 24


@dataclass(frozen=True)
class Pair:
    """The models under test and their tokenizer."""

    target: Llama
    draft: Llama
    encoder: ChatEncoder


def held_out(kind: str, count: int) -> list[Sample]:
    """``count`` different held-out conversations of ``kind``."""
    rng = random.Random(f"{SEED} {kind}")
    found: dict[tuple[tuple[str, str], ...], Sample] = {}
    for _ in range(20 * count):
        sample = BY_NAME[kind].sample(rng, True)
        found.setdefault(sample.prompt, sample)
        if len(found) == count:
            break
    return list(found.values())


@dataclass(frozen=True)
class Answer:
    """A held-out conversation, what the model replied greedily, and whether that is right."""

    sample: Sample
    reply: str
    right: bool


def answers(model: Llama, encoder: ChatEncoder, samples: Sequence[Sample],
            most: int = MOST_TOKENS) -> list[Answer]:
    """The model's greedy replies to ``samples``, judged by their kinds."""
    judged = []
    for start in range(0, len(samples), ROWS):
        some = samples[start : start + ROWS]
        written = replies(model, [encoder.prompt(sample.prompt) for sample in some], encoder.end, most)
        for sample, ids in zip(some, written, strict=True):
            text = encoder.text(ids)
            judged.append(Answer(sample, text, BY_NAME[sample.kind].is_right(sample, text)))
    return judged


@torch.inference_mode()
def perplexity(model: Llama, encoder: ChatEncoder, samples: Sequence[Sample]) -> float:
    """Per token of the held-out replies, their end included."""
    total, count = 0.0, 0
    for sample in samples:
        encoded = encoder.conversation(sample.messages)
        ids = torch.tensor(encoded.ids, device=model.device)
        logs = torch.log_softmax(model(ids[None, :-1])[0].float(), dim=-1)
        spoken = torch.tensor(encoded.spoken[1:], device=model.device)
        total -= float(logs.gather(1, ids[1:, None])[:, 0][spoken].sum())
        count += int(spoken.sum())
    return float(torch.tensor(total / count).exp())


def acceptance(pair: Pair, samples: Sequence[Sample], temperature: float, most: int) -> Counts:
    """Counts of speculative sampling over replies to ``samples``."""
    generator = torch.Generator(pair.target.device).manual_seed(SEED)
    counts = Counts()
    for sample in samples:
        prompt = pair.encoder.prompt(sample.prompt)
        _, one = speculate(pair.target, pair.draft, prompt, pair.encoder.end, WINDOW, most, temperature,
                           generator)
        counts.add(one)
    return counts


def evaluate(pair: Pair, size: Size, say: Callable[[str], None], most: int = MOST_TOKENS) -> dict[str, Any]:
    """The figures of the pair, ready for JSON."""
    kinds: dict[str, object] = {}
    for kind in KINDS:
        samples = held_out(kind.KIND, size.answers)
        judged = answers(pair.target, pair.encoder, samples, most)
        few = samples[: size.speculation]
        figures: dict[str, object] = {
            "prompts": len(samples),
            "right": sum(answer.right for answer in judged),
            "right_share": _rounded(sum(answer.right for answer in judged) / len(judged)),
            "target_perplexity": _rounded(perplexity(pair.target, pair.encoder, samples)),
            "draft_perplexity": _rounded(perplexity(pair.draft, pair.encoder, samples)),
            "speculation_prompts": len(few),
        }
        for temperature in TEMPERATURES:
            counts = acceptance(pair, few, temperature, most)
            figures[f"temperature_{temperature:g}"] = {
                "tested_acceptance": _rounded(counts.tested_acceptance),
                "mean_acceptance_length": _rounded(counts.mean_acceptance_length),
                "tested": counts.tested,
                "committed": counts.committed,
            }
        kinds[kind.KIND] = figures
        say(f"{kind.KIND}: {figures}")
    return {"window": WINDOW, "kinds": kinds, "target": _size(pair.target), "draft": _size(pair.draft)}


def _size(model: Llama) -> dict[str, int]:
    shape = model.shape
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "layers": model.depth,
        "hidden": shape.hidden,
        "heads": shape.heads,
        "intermediate": shape.intermediate,
        "vocabulary": shape.vocabulary,
        "context": shape.context,
    }


def _rounded(value: float) -> float:
    return round(value, 3)
