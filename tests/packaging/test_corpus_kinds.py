"""Every kind of text that is made to order: its samples, its judge and its split."""

from __future__ import annotations

import itertools
import random
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packaging" / "pair"))

from pair_maker.kinds import arithmetic, code, json_kind, list_kind, repeat, story, summary, table
from pair_maker.kinds.compose import is_reserved
from pair_maker.kinds.words import NAMES, article, number_word, plural
from pair_maker.sample import Sample

KINDS = (story, arithmetic, code, table, json_kind, list_kind, repeat, summary)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)


def _samples(kind: ModuleType, count: int, seed: int = 0, held_out: bool = False) -> list[Sample]:
    rng = random.Random(seed)
    return [kind.sample(rng, held_out) for _ in range(count)]


@each_kind
def test_same_seed_same_samples(kind: ModuleType) -> None:
    assert _samples(kind, 50, seed=3) == _samples(kind, 50, seed=3)
    assert _samples(kind, 50, seed=3) != _samples(kind, 50, seed=4)


@each_kind
@pytest.mark.parametrize("held_out", [False, True])
def test_every_reply_passes_its_own_judge(kind: ModuleType, held_out: bool) -> None:
    for sample in _samples(kind, 400, held_out=held_out):
        assert sample.kind == kind.KIND
        assert kind.is_right(sample, sample.reply), sample


@each_kind
def test_a_wrong_reply_fails(kind: ModuleType) -> None:
    samples = _samples(kind, 200)
    for sample in samples:
        assert not kind.is_right(sample, "I am a small demonstration model.")
        assert not kind.is_right(sample, "")


@each_kind
def test_most_replies_fit_only_their_own_request(kind: ModuleType) -> None:
    samples = _samples(kind, 200)
    swapped = sum(kind.is_right(sample, other.reply) for sample, other in itertools.pairwise(samples))
    assert swapped < 40


@each_kind
def test_no_held_out_prompt_in_training(kind: ModuleType) -> None:
    held_out = {sample.prompt for sample in _samples(kind, 300, seed=1, held_out=True)}
    training = {sample.prompt for sample in _samples(kind, 5000, seed=2)}
    assert not held_out & training
    opening = {
        sample.prompt[-1] for sample in _samples(kind, 300, seed=1, held_out=True) if len(sample.prompt) == 1
    }
    assert len(opening) > 10
    asked = {
        message
        for sample in _samples(kind, 5000, seed=2)
        for message in sample.messages
        if message[0] == "user"
    }
    assert not opening & asked


def test_operands_are_on_one_side_only() -> None:
    def sums(held_out: bool) -> set[tuple[str, ...]]:
        replies = (sample.reply for sample in _samples(arithmetic, 3000, held_out=held_out))
        found = (re.search(r"(\d+) \+ (\d+): ", reply) for reply in replies)
        return {tuple(sorted(match.groups())) for match in found if match}

    assert not sums(held_out=False) & sums(held_out=True)


def test_the_steps_of_a_calculation_are_true() -> None:
    for sample in _samples(arithmetic, 1000):
        steps = re.findall(r"((?:\d+ [-+×] )+\d+) = (\d+)", sample.reply)
        assert steps
        for left, right in steps:
            assert eval(left.replace("×", "*")) == int(right), sample.reply  # only digits and signs reach it


def test_a_story_holds_place_and_object() -> None:
    for sample in _samples(story, 500):
        assert story.has_all(sample, sample.reply) or "horter" in sample.prompt[-1][1], sample
        assert "{" not in sample.reply


def test_a_story_without_a_name_is_wrong() -> None:
    for sample in _samples(story, 200):
        names = sample.check["names"]
        assert isinstance(names, list)
        for wanted in names:
            assert not story.is_right(sample, re.sub(rf"\b{wanted}\b", "Nobody", sample.reply))


def test_a_function_by_another_name_is_wrong() -> None:
    sample = _samples(code, 1)[0]
    name = str(sample.check["name"])
    assert not code.is_right(sample, sample.reply.replace(f"def {name}", "def other_name"))
    assert not code.is_right(sample, sample.reply.replace("def ", "define "))
    assert not code.is_right(sample, sample.reply.replace("```", ""))


def test_an_asked_for_parameter_is_used() -> None:
    asked = [sample for sample in _samples(code, 600) if "Call the parameter" in sample.prompt[-1][1]]
    assert asked
    for sample in asked:
        parameter = sample.prompt[-1][1].rstrip(".").rsplit(" ", 1)[1]
        assert f"({parameter}" in sample.reply


def test_a_missing_cell_is_wrong() -> None:
    sample = _samples(table, 1)[0]
    assert not table.is_right(sample, sample.reply.rsplit("\n", 1)[0])


def test_a_list_of_the_wrong_length_is_wrong() -> None:
    for sample in _samples(list_kind, 100):
        separator = "\n" if "\n" in sample.reply else ", "
        assert not list_kind.is_right(sample, sample.reply + separator + "- one item too many")


def test_about_one_conversation_in_five_has_several_turns() -> None:
    samples = [sample for kind in KINDS for sample in _samples(kind, 400)]
    several = sum(sum(role == "user" for role, _ in sample.messages) > 1 for sample in samples)
    assert 0.15 < several / len(samples) < 0.25


def test_replies_are_short_and_the_word_stock_is_closed() -> None:
    samples = [sample for kind in KINDS for sample in _samples(kind, 1500)]
    words: set[str] = set()
    for sample in samples:
        if sample.kind not in ("code", "repeat"):
            assert len(sample.reply.split()) < 130
        words |= {word for _, text in sample.messages for word in re.findall(r"\b[a-z]+\b", text)}
    assert len(words) < 1500


def test_about_a_twelfth_of_keys_is_reserved() -> None:
    share = sum(is_reserved(f"{a} + {b}") for a in range(100) for b in range(100)) / 10_000
    assert 0.07 < share < 0.1
    assert is_reserved("What?") == is_reserved("what?")


def test_words() -> None:
    assert [number_word(number) for number in (0, 7, 13, 20, 47, 99)] == [
        "zero", "seven", "thirteen", "twenty", "forty-seven", "ninety-nine",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="100"):
        number_word(100)
    assert (article("owl"), article("fox"), article("umbrella")) == ("an owl", "a fox", "an umbrella")
    assert [plural(noun) for noun in ("key", "cherry", "box", "wolf", "fish")] == [
        "keys",
        "cherries",
        "boxes",
        "wolves",
        "fish",
    ]
    assert len(NAMES) == len(set(NAMES)) >= 115
