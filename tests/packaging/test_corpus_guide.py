"""The guide, greetings and refusals of the training corpus: true answers, told apart, never leaking held-out prompts."""

from __future__ import annotations

import random

import pytest

from pair_maker.kinds import Kind, greeting, guide, refusal
from pair_maker.kinds.guide_grammar import FULL, SHORT, SIMPLE
from pair_maker.kinds.guide_topic import Topic
from pair_maker.sample import Sample

SHAPES = ("framed", "asked", "bare", "change")


def asking(topic: str, follow: str = "") -> Sample:
    """A conversation whose last question is about the topic."""
    check = {"topic": topic, "follow": follow} if follow else {"topic": topic}
    return Sample("guide", (("user", "?"), ("assistant", "!")), check)


def entries() -> list[tuple[str, str, str]]:
    """(topic, follow-up kind or nothing, answer) of everything the guide can say."""
    made = [(topic.name, "", answer) for topic in guide.TOPICS for answer in topic.answers]
    return made + [
        (topic.name, kind, follow.answer) for topic in guide.TOPICS for kind, follow in topic.follows.items()
    ]


def test_names_of_topics_are_distinct() -> None:
    assert len(guide.BY_NAME) == len(guide.TOPICS) >= 30


@pytest.mark.parametrize(("topic", "follow", "answer"), entries())
def test_an_answer_is_right_for_its_own_question(topic: str, follow: str, answer: str) -> None:
    assert guide.is_right(asking(topic, follow), answer)


@pytest.mark.parametrize("topic", [topic.name for topic in guide.TOPICS])
def test_no_other_answer_is_right_for_a_topic(topic: str) -> None:
    wrong = [
        answer for name, _, answer in entries() if name != topic and guide.is_right(asking(topic), answer)
    ]
    assert wrong == []


def test_no_other_answer_is_right_for_a_follow_up() -> None:
    asked = [(name, kind) for name, kind, _ in entries() if kind]
    wrong = [
        (name, kind, answer)
        for name, kind in asked
        for other, other_kind, answer in entries()
        if (other, other_kind) != (name, kind) and guide.is_right(asking(name, kind), answer)
    ]
    assert wrong == []


@pytest.mark.parametrize("topic", guide.TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_many_phrasings_on_both_sides(topic: Topic) -> None:
    rng = random.Random(1)
    training = {guide._question(topic, FULL, rng, False)[0][1] for _ in range(600)}
    cores = {text for shape in SHAPES for text in guide.questions(topic.name, shape, True)}
    assert len(training) >= 150
    assert len(cores) >= 4


def test_a_question_belongs_to_one_topic() -> None:
    owner: dict[str, str] = {}
    for topic in guide.TOPICS:
        for shape in SHAPES:
            for held_out in (False, True):
                for text in guide.questions(topic.name, shape, held_out):
                    assert owner.setdefault(text.lower(), topic.name) == topic.name, text


@pytest.mark.parametrize("kind", [guide, greeting, refusal], ids=lambda kind: kind.KIND)
def test_samples_are_right_deterministic_and_keep_the_split(kind: Kind) -> None:
    prompts: dict[bool, set[str]] = {}
    for held_out in (False, True):
        rng, again = random.Random(5), random.Random(5)
        made = [kind.sample(rng, held_out) for _ in range(1500)]
        assert made == [kind.sample(again, held_out) for _ in range(1500)]
        assert all(kind.is_right(sample, sample.reply) for sample in made)
        assert not any(kind.is_right(sample, "I like apples.") for sample in made)
        prompts[held_out] = {repr(sample.prompt).lower() for sample in made}
    assert not prompts[False] & prompts[True]


def test_a_style_asked_for_is_the_style_given() -> None:
    rng = random.Random(3)
    for _ in range(1000):
        sample = guide.sample(rng, held_out=False)
        role, system = sample.messages[0]
        if role == "system" and "follow" not in sample.check:
            topic = guide.BY_NAME[str(sample.check["topic"])]
            style = next(style for style, texts in guide.SYSTEMS.items() if system in texts)
            wanted = {SHORT: {topic.short}, SIMPLE: {topic.simple}, FULL: set(topic.answers)}[style]
            assert sample.reply in wanted


def test_a_short_answer_is_one_sentence_and_no_longer_than_the_full_one() -> None:
    for topic in guide.TOPICS:
        body = topic.short.rstrip(".")
        assert ". " not in body, topic.name
        assert len(topic.short) <= len(topic.full)


def test_about_a_third_of_the_conversations_have_more_than_one_turn() -> None:
    rng = random.Random(7)
    made = [guide.sample(rng, held_out=False) for _ in range(2000)]
    users = [sum(role == "user" for role, _ in sample.messages) for sample in made]
    assert 0.3 < sum(count > 1 for count in users) / len(made) < 0.42
    assert max(users) <= 4


def test_a_named_greeting_needs_the_name() -> None:
    sample = Sample(
        "greeting", (("user", "I am Mira."), ("assistant", "Hello, Mira!")), {"type": "name", "name": "Mira"}
    )
    assert greeting.is_right(sample, "Hello, Mira! What can I do for you?")
    assert not greeting.is_right(sample, "Hello, Paul! What can I do for you?")


def test_refusals_ask_nothing_that_the_guide_answers() -> None:
    rng = random.Random(9)
    inside = {
        text.lower()
        for topic in guide.TOPICS
        for shape in SHAPES
        for held_out in (False, True)
        for text in guide.questions(topic.name, shape, held_out)
    }
    outside = {refusal.question(rng).lower() for _ in range(3000)}
    assert len(outside) > 1500
    assert not inside & outside
    assert not any("{" in text for text in outside)
