"""Whatever is suggested fits, and what changes little comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatapp.domain.memory_plan import PairPlan, Suggestion
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.neuron_hosts import HOSTS, neuron_host
from chatapp.library.planner.planning import PairRequest, plan_pair
from chatapp.library.planner.shapes import KNOWN
from chatapp.library.planner.suggestions import best_degree, planned, recommended


def request(target: str, draft: str | None, instance: str, tp: int = 0, positions: int = 2048) -> PairRequest:
    small = KNOWN[draft] if draft is not None else None
    settings = NeuronSettings(tp_degree=tp, positions=positions)
    return PairRequest(KNOWN[target], small, neuron_host(instance), settings)


def taken(asked: PairRequest, suggestion: Suggestion) -> PairPlan:
    """The plan that a person gets who follows it."""
    return plan_pair(
        PairRequest(
            asked.target,
            KNOWN[suggestion.draft] if suggestion.draft else None,
            neuron_host(suggestion.instance),
            suggestion.settings,
            suggestion.target_weights,
            suggestion.draft_weights,
        )
    )


REFUSED = [
    request("Llama-2-70B", "Llama-2-7B", "inf2.xlarge"),
    request("Llama-2-13B", "TinyLlama-1.1B", "inf2.xlarge"),
    request("Llama-2-13B", "Llama-2-7B", "trn1.2xlarge"),
    request("Llama-3-70B", "Llama-3-8B", "inf2.24xlarge"),
    request("Llama-3-70B", "Llama-3-8B", "trn1.32xlarge", 8),
    request("Llama-2-7B", "TinyLlama-1.1B", "inf2.xlarge", positions=32_768),
    request("Llama-3-8B", "TinyLlama-1.1B", "inf2.xlarge"),
    request("Llama-2-7B", "TinyLlama-1.1B", "inf2.xlarge", 4),
]


@pytest.mark.parametrize(
    "asked", REFUSED, ids=lambda asked: f"{asked.target.name}-{asked.host.name}-{asked.tp_degree}"
)
def test_every_suggestion_fits_when_it_is_followed(asked: PairRequest) -> None:
    plan = planned(asked)
    assert not plan.fits
    assert plan.suggestions
    for suggestion in plan.suggestions:
        followed = taken(asked, suggestion)
        assert followed.fits, suggestion.what
        assert followed.used_bytes == suggestion.used_bytes
        assert followed.is_tight == suggestion.is_tight


def test_a_plan_that_fits_has_none() -> None:
    assert planned(request("Llama-2-7B", "TinyLlama-1.1B", "inf2.xlarge")).suggestions == ()


def phrases(asked: PairRequest) -> list[str]:
    return [suggestion.what for suggestion in planned(asked).suggestions]


def test_another_degree_comes_first() -> None:
    assert phrases(request("Llama-3-70B", "Llama-3-8B", "trn1.32xlarge", 8))[0] == "tp 32"
    assert phrases(request("Llama-2-7B", "TinyLlama-1.1B", "inf2.xlarge", 4))[0] == "tp 2"


def test_a_degree_on_which_the_lists_agree_comes_before_a_larger_one() -> None:
    assert phrases(request("Llama-2-13B", "Llama-2-7B", "inf2.24xlarge", 2))[0] == "tp 8"


def test_a_shorter_context_comes_before_other_models_and_instances() -> None:
    found = phrases(request("Llama-2-7B", "TinyLlama-1.1B", "inf2.xlarge", positions=32_768))
    assert found[0] == "a context of 16,384 positions"
    assert any("inf2.24xlarge" in words for words in found[1:])


def test_two_modest_changes_come_before_another_instance() -> None:
    """At 65,536 positions no draft is small enough, and at no context the target's own size: both must give."""
    found = phrases(request("Llama-3-8B", "Llama-3-8B", "inf2.xlarge", positions=65_536))
    assert found[0] == "a context of 32,768 positions and Llama-3.2-1B as the draft"
    assert found[1].startswith("inf2.24xlarge")


def test_a_smaller_draft_of_the_same_vocabulary_is_offered_as_one_to_fetch() -> None:
    asked = request("Llama-3-8B", "TinyLlama-1.1B", "inf2.8xlarge")
    plan = planned(asked)
    # 128,256 tokens against 32,000: no smaller known model than TinyLlama goes with it; without a draft it runs.
    assert [(one.draft, one.applies) for one in plan.suggestions] == [("", True)]
    other = planned(request("Llama-2-7B", "Llama-2-7B", "inf2.xlarge"))
    assert [(one.what, one.applies) for one in other.suggestions[:3]] == [
        ("a context of 1,024 positions", True),
        ("TinyLlama-1.1B as the draft", False),
        ("inf2.24xlarge with tp 8", True),
    ]


def test_int8_comes_last_and_is_named_as_what_it_is() -> None:
    plan = planned(request("Llama-3-70B", "Llama-3-8B", "inf2.24xlarge"))
    last = plan.suggestions[-1]
    assert last.what == "both models in int8 (another model; not run by this application yet)"
    assert not last.applies


def test_what_no_change_can_mend_has_no_suggestion() -> None:
    shape = replace(KNOWN["Llama-3-8B"], name="Other", obstacle="it is of another kind")
    asked = PairRequest(shape, None, neuron_host("inf2.xlarge"), NeuronSettings())
    assert planned(asked).suggestions == ()


def test_the_best_degree_is_one_that_the_lists_agree_on() -> None:
    asked = request("Llama-3-8B", "Llama-3.2-1B", "inf2.24xlarge")
    assert best_degree(asked).settings.tp_degree == 8
    assert best_degree(request("Llama-2-70B", "Llama-2-7B", "trn1.32xlarge")).settings.tp_degree == 32


@pytest.mark.parametrize(
    ("target", "draft", "instance"),
    [
        ("Llama-3-8B", "Llama-3.2-1B", "inf2.xlarge"),
        ("Llama-2-13B", "TinyLlama-1.1B", "inf2.24xlarge"),
        ("Llama-2-70B", "Llama-2-7B", "inf2.48xlarge"),
        ("Llama-3.1-70B", "Llama-3.2-1B", "inf2.48xlarge"),
        ("Llama-3-8B", "TinyLlama-1.1B", None),
    ],
)
def test_the_smallest_instance_that_fits_is_recommended(
    target: str, draft: str, instance: str | None
) -> None:
    plans = [plan_pair(best_degree(request(target, draft, host.name))) for host in HOSTS]
    best = recommended(plans)
    assert (best.host.name if best is not None else None) == instance
