"""The measured prompts must not flatter the built-in pair."""

from __future__ import annotations

import pytest

from chatapp.bench.prompts import PROMPTS, prompts_of
from pair_maker.kinds.guide_grammar import is_held_out


@pytest.mark.parametrize("prompt", PROMPTS["guide"])
def test_the_guides_questions_were_kept_out_of_training(prompt: str) -> None:
    assert is_held_out(prompt.rstrip("?."))


def test_a_kind_gives_what_it_has() -> None:
    assert [len(prompts_of("story", count)) for count in (1, 3, 99)] == [1, 3, len(PROMPTS["story"])]
