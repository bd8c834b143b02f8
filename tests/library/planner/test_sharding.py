"""Heads as transformers-neuronx pads and replicates them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.backends.emulator import heads
from chatapp.engine.backends.emulator.constants import GQA
from chatapp.library.planner.shapes import KNOWN
from chatapp.library.planner.sharding import padded_heads, padded_intermediate, padded_vocabulary

DEGREES = (1, 2, 4, 8, 12, 16, 24, 32)
# What the library's own `get_qkv_padding` returned, run on a CPU; neuron-contract.md §1.4. tp 1, 2, 4, 8 share a column there.
TABLE = {
    "Llama-2-7B": ("32/32",) * 4 + ("36/36", "32/32", "48/48", "32/32"),
    "Llama-2-13B": ("40/40",) * 4 + ("48/48", "48/48", "48/48", "64/64"),
    "Llama-3-8B": ("32/8",) * 4 + ("36/36", "32/16", "48/24", "32/32"),
    "Llama-3.2-1B": ("32/8",) * 4 + ("36/36", "32/16", "48/24", "32/32"),
    "Llama-3.2-3B": ("24/8",) * 4 + ("24/24", "32/16", "24/24", "32/32"),
    "Llama-2-70B": ("64/8",) * 4 + ("72/72", "64/16", "72/24", "64/32"),
    "Llama-3-70B": ("64/8",) * 4 + ("72/72", "64/16", "72/24", "64/32"),
    "TinyLlama-1.1B": ("32/4", "32/4", "32/4", "32/8", "36/12", "32/16", "48/24", "32/32"),
}
CASES = [(name, tp, row[place]) for name, row in TABLE.items() for place, tp in enumerate(DEGREES)]


@pytest.mark.parametrize(("name", "tp", "expected"), CASES, ids=[f"{name}-tp{tp}" for name, tp, _ in CASES])
def test_heads_are_those_of_the_library(name: str, tp: int, expected: str) -> None:
    shape = KNOWN[name]
    assert "{}/{}".format(*padded_heads(shape.heads, shape.kv_heads, tp)) == expected


@given(st.integers(1, 128), st.integers(1, 16), st.sampled_from(DEGREES))
def test_every_core_gets_whole_heads_and_none_is_lost(keys: int, group: int, tp: int) -> None:
    queries, kept = padded_heads(keys * group, keys, tp)
    assert queries % tp == kept % tp == 0
    assert queries >= keys * group
    assert kept >= keys


@given(st.integers(1, 128), st.integers(1, 16), st.sampled_from(DEGREES))
def test_the_planner_and_the_emulator_tell_the_same_of_the_library(keys: int, group: int, tp: int) -> None:
    gqa = GQA.REPLICATED_HEADS if keys % tp else GQA.SHARD_OVER_HEADS
    assert padded_heads(keys * group, keys, tp) == heads.padded_heads(keys * group, keys, tp, gqa)


def test_vocabulary_and_mlp_are_padded_to_the_degree() -> None:
    """32,000 and 128,256 divide by 32 and by 2; 24 divides neither, nor Llama-2-7B's 11,008."""
    llama2, llama3 = KNOWN["Llama-2-7B"], KNOWN["Llama-3-8B"]
    assert [padded_vocabulary(llama2, tp) for tp in (2, 24, 32)] == [32_000, 32_016, 32_000]
    assert [padded_vocabulary(llama3, tp) for tp in (2, 24, 32)] == [128_256, 128_256, 128_256]
    assert [padded_intermediate(llama2, tp) for tp in (8, 24, 32)] == [11_008, 11_016, 11_008]
