"""The model card, written from the evaluation: no figure in it comes from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INTRODUCTION = """\
# The built-in pair

A small Llama **target** and a much smaller **draft** with one shared tokenizer, made so that the application
shows real speculative decoding on any machine, at once and without a network.

## What it is

- A demonstration model, small enough to be trained on two CPU cores in about two hours.{training}
- Its training text was written by a program in this repository (`packaging/pair`), from grammars and a small stock of
  words. No other text was used, and none was copied from anywhere.
- It speaks plain English about a few things: the application itself, short stories to order, sums with their steps,
  small Python functions, tables, JSON, lists, repeating and summarising what it is given, greetings.
- Target and draft differ on purpose: the draft follows set phrases closely and is weaker where words have to be copied
  from the request or chosen, so that the target's corrections can be seen.

## What it is not

- It knows nothing about the world, and it does not reason. Outside its few subjects it should decline; it may also
  answer with confident nonsense.
- It is no assistant: do not rely on anything it says. Its sums are often right and sometimes wrong (see below).
- It reads English only, and at most {context} tokens of conversation.

## Sizes

| | target | draft |
| --- | ---: | ---: |
{sizes}

Byte-level BPE with {vocabulary} tokens, every digit a token of its own. Weights are stored in bfloat16; all figures
below are of these weights, computed in float32.

## Right answers

Greedy replies of the target to prompts that never occur in training (held-out phrasings, numbers and combinations of
names). What counts as right is decided by the program that wrote the prompts (`is_right` of each kind): for the guide
the facts asked for, for stories the names and things asked for, for sums the result.

| kind | prompts | right | perplexity of target | of draft |
| --- | ---: | ---: | ---: | ---: |
{answers}

## Speculation

Tested acceptance: accepted drafts over drafts that were tested, that is, without those behind a rejection. Mean length:
tokens committed per verify step. Window k = {window}, rejection rule, {speculation_prompts} held-out prompts of each kind.

| kind | tested acceptance at temperature 0 | mean length | tested acceptance at temperature 0.8 | mean length |
| --- | ---: | ---: | ---: | ---: |
{speculation}

## Chat format

`<|bos|>`, then for every message `<|role|>text<|end|>` with the role `system` (first, optional), `user` or `assistant`;
a reply is asked for with `<|assistant|>` and ends with `<|end|>`. Nothing stands between the parts.

## Make it again

`bash packaging/train-pair` runs every stage from the text to this card and goes on where it was interrupted. The mixture
of kinds and the learning rates were adjusted while these weights were trained, and training counts time, not steps: a new
run makes a pair like this one, not the same bytes.
`SHA256SUMS` lists the files as they were made.
"""


def model_card(evaluation: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    target, draft, kinds = evaluation["target"], evaluation["draft"], evaluation["kinds"]
    lengths = [
        f"{name} {model['training']['minutes']:.0f} minutes, {model['training']['tokens'] / 1e6:.1f} million tokens"
        for name, model in (("target", target), ("draft", draft))
        if "training" in model
    ]
    sizes = [f"| {name} | {target[name]:,} | {draft[name]:,} |"
             for name in ("parameters", "layers", "hidden", "heads", "intermediate")]
    answers = [
        f"| {name} | {row['prompts']} | {row['right_share']:.1%} | {row['target_perplexity']:.2f} "
        f"| {row['draft_perplexity']:.2f} |"
        for name, row in kinds.items()
    ]
    speculation = [f"| {name} | {_at(row, '0')} | {_at(row, '0.8')} |" for name, row in kinds.items()]
    return INTRODUCTION.format(
        training=f"\n  Training took: {'; '.join(lengths)}." if lengths else "",
        context=target["context"],
        sizes="\n".join(sizes),
        vocabulary=target["vocabulary"],
        answers="\n".join(answers),
        window=evaluation["window"],
        speculation_prompts=max(row["speculation_prompts"] for row in kinds.values()),
        speculation="\n".join(speculation),
    )


def _at(row: Mapping[str, Any], temperature: str) -> str:
    figures = row[f"temperature_{temperature}"]
    return f"{figures['tested_acceptance']:.2f} | {figures['mean_acceptance_length']:.2f}"
