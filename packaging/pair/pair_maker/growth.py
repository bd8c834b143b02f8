"""Deepens a trained model without changing what it computes.

A shallow model learns the same text at a fraction of the cost; the layers inserted later start as copies of
their neighbours with silent outputs.  (Net2Net, Chen et al. 2015; gradual stacking, Gong et al. 2019.)
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from pair_maker.model import Llama


def sources(shallow: int, deep: int) -> list[tuple[int, bool]]:
    """For every layer of the deep model: the shallow layer it comes from, and whether it is that layer itself.

    The layer itself stands last among its copies, so that a copy reads what its original was made to read.
    """
    firsts = [layer * deep // shallow for layer in range(shallow + 1)]
    return [
        (layer, place == firsts[layer + 1] - 1)
        for layer in range(shallow)
        for place in range(firsts[layer], firsts[layer + 1])
    ]


@torch.no_grad()
def grow(model: Llama, deep: int) -> Llama:
    """A model ``deep`` layers deep with ``model``'s logits; ``model``'s own layers are reused."""
    if deep < model.depth:
        raise ValueError(f"a model of {model.depth} layers cannot grow to {deep}")
    old = list(model.blocks())
    layers = []
    for layer, original in sources(model.depth, deep):
        block = old[layer]
        if not original:
            block = copy.deepcopy(block)
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        layers.append(block)
    model.model.layers = nn.ModuleList(layers)
    return model
