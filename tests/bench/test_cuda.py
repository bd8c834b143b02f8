"""`--suite shapes` on the CPU, at tiny sizes: real tensors, the device path's own code, nothing timed by the test."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from chatapp.bench import cuda
from chatapp.bench.cuda import ACCEPTANCE, PROMPT_TOKENS, DeviceEngine, mistaken, run_suite
from chatapp.bench.engines import ids_of
from chatapp.bench.suites import SuiteOptions
from chatapp.cli import main
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.ports import PairLocation
from chatapp.engine.backends.cuda.synthetic import PAIRS, SHAPES, _parameters, make_pair, needed_bytes
from chatapp.resources import builtin_pair

FEW = SuiteOptions(device="cpu", rounds=1, max_tokens=20, windows=(1, 2, 5), threads=1)


def test_every_side_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_suite(FEW)
    out = capsys.readouterr().out
    assert "no GPU is measured here" in out
    assert "synthetic" in out
    assert result["synthetic"] is True
    (pair,) = result["pairs"]
    rows = {row["side"]: row for row in pair["rows"]}
    assert [row["k"] for row in pair["rows"]] == [1, 2, 5, None, None, None]
    assert rows["chatapp plain"]["tokens_per_step"] == 1.0
    assert 1.0 < rows["chatapp k = 2"]["tokens_per_step"] <= 2.0
    for row in pair["rows"]:
        assert row["tpot_ms"] > 0
        assert (row["bound_ms"] is None) == (row["k"] is None)
    assert set(rows["chatapp k = 5"]["over"]) == set(rows) - {
        "chatapp plain",
        "chatapp k = 2",
        "chatapp k = 5",
    }
    # A window of two reads the target once and the draft once, for up to two tokens.
    assert rows["chatapp k = 5"]["bound_ms"] < rows["chatapp plain"]["bound_ms"]


def test_what_does_not_fit_into_memory_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda, "free_bytes", lambda _: 4 << 30)
    result = run_suite(SuiteOptions(device="cpu", rounds=1, shapes=("8B+1B",)))
    assert result["pairs"][0]["refused"] == "needs 44.5 GB of memory for both sides, 4.3 GB are free on cpu"
    assert "8B+1B: not measured: needs 44.5 GB" in capsys.readouterr().out


def test_an_unknown_pair_is_named() -> None:
    with pytest.raises(InvalidSetting, match="There is no pair '70B'; known are 8B"):
        run_suite(SuiteOptions(device="cpu", shapes=("70B",)))


@pytest.mark.parametrize(("name", "parameters"), [("8B", 8.03e9), ("1B", 1.236e9), ("0.1B", 1.05e8)])
def test_the_shapes_are_those_of_the_models_they_are_named_for(name: str, parameters: float) -> None:
    assert _parameters(SHAPES[name]) == pytest.approx(parameters, rel=0.05)
    assert all(needed_bytes(pair) > 4 * _parameters(SHAPES[sides[0]]) for pair, sides in PAIRS.items())


def test_both_sides_have_the_same_weights() -> None:
    pair = make_pair("tiny", "cpu")
    ids = [(13 * index + 5) % 1000 for index in range(40)]
    peer: Any = pair.peer
    with torch.inference_mode():
        theirs = peer._target(torch.tensor([ids])).logits[0, -8:].float()
    ours = pair.target.forward(ids, 0, 8)
    # The grain of bfloat16 over logits of this size.
    assert float((ours - theirs).abs().max()) < 0.03 * float(theirs.abs().max())
    assert float(theirs.abs().max()) > 0.1


def test_the_rigged_draft_is_accepted_as_often_as_it_was_told() -> None:
    pair = make_pair("tiny", "cpu")
    engine = DeviceEngine(pair, PairLocation("synthetic", builtin_pair().target, None), "cpu", 1e10)
    prompt = [random.Random(1).randrange(2000) for _ in range(PROMPT_TOKENS)]
    plain = ids_of(engine.answer(prompt, 1, 200))
    story = mistaken([*prompt, *plain], 3)
    assert story[:PROMPT_TOKENS] == prompt
    wrong = [
        place for place, (said, true) in enumerate(zip(story, [*prompt, *plain], strict=True)) if said != true
    ]
    assert len(wrong) / 200 == pytest.approx(1 - ACCEPTANCE, abs=0.08)
    pair.rig(story, story)
    record = engine.answer(prompt, 5, 200)
    assert ids_of(record) == plain, "the rig changes the speed and never the text"
    place = PROMPT_TOKENS + 1
    for step in record.steps[1:]:
        rejected = [
            place + index for index, draft in enumerate(step.drafted) if draft.outcome.value == "rejected"
        ]
        kept = range(place, place + step.accepted)
        assert all(one in wrong for one in rejected)
        assert not set(kept) & set(wrong)
        place += len(step.tokens)


def test_the_suite_is_reached_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    few = [
        "--device",
        "cpu",
        "--rounds",
        "1",
        "--max-tokens",
        "8",
        "--k",
        "2",
        "--shape",
        "tiny",
        "--threads",
        "1",
    ]
    assert main(["bench", "--suite", "shapes", *few]) == 0
    assert '"pair": "tiny"' in capsys.readouterr().out.strip().splitlines()[-1]
