"""`chatapp bench` from its arguments to its JSON line, on a tiny random pair; the peer answers the same prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.cli import main
from chatapp.domain.ports import PairLocation
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.engine.backends.hf_generate import TransformersPeer
from chatapp.engine.control import RunControl
from chatapp.engine.session import Engine
from tests.helpers import checkpoints
from tests.helpers.engine import ids_of

FLOAT32 = ("float32", "float32")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`target` and `draft`; the draft is the target again, so that windows are accepted."""
    root = tmp_path_factory.mktemp("pair")
    for side in ("target", "draft"):
        checkpoints.save(root / side, checkpoints.llama_config())
    return root


def bench(pair: Path, *options: str) -> int:
    quick = ["--threads", "1", "--device", "cpu", "--prompts", "2", "--rounds", "2", "--kinds", "guide"]
    return main(["bench", "--target", str(pair / "target"), "--draft", str(pair / "draft"), *quick, *options])


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return result


def test_the_sweep_ends_in_one_json_line(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(pair, "--k", "3", "--max-tokens", "12", "--against", "transformers") == 0
    result = last_line(capsys)
    assert result["conditions"]["threads"] == "1"
    guide = result["kinds"]["guide"]
    rows = {(row["side"], row["k"]): row for row in guide["rows"]}
    assert set(rows) == {
        ("chatapp", 1),
        ("chatapp", 3),
        ("transformers", 1),
        ("transformers defaults", None),
        ("transformers assisted", 3),
    }
    assert rows["chatapp", 1]["speed_up_over_own_plain"] == 1.0
    assert rows["chatapp", 3]["tested_acceptance"] == 1.0
    assert guide["texts_equal_for_every_k"]
    assert guide["replies_equal_to_transformers"] == 2
    for row in rows.values():
        assert row["whole_ms_per_token"] > 0
        assert row["tpot_ms"] > 0 or row["side"] == "transformers defaults"


def test_other_policies_are_rows_and_a_lossy_rule_is_called_lossy(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--policy",
        "adaptive",
        "--acceptor",
        "typical",
        "--drafter",
        "model+ngram",
        "--temperature",
        "0.8",
    ]
    assert bench(pair, "--k", "3", "--max-tokens", "12", *options) == 0
    result = last_line(capsys)
    assert "typical (LOSSY" in result["conditions"]["sampling"]
    assert result["conditions"]["drafter"] == "model+ngram"
    guide = result["kinds"]["guide"]
    rows = {(row["side"], row["k"]): row for row in guide["rows"]}
    assert set(rows) == {("chatapp", 1), ("chatapp", 3), ("chatapp, adaptive", 16)}
    assert guide["best_k"] == 3
    assert guide["adaptive_over_best_fixed"] > 0
    assert all(row["verify_bytes_per_s"] > 0 and row["share_of_bound"] > 0 for row in rows.values())
    assert [bar["what"] for bar in result["bars"]] == [
        "TPOT, guide, T 0.8, best k 3 / our own plain decoding"
    ]


@pytest.mark.parametrize("part", ["acceptor", "drafter", "policy"])
def test_a_part_that_does_not_exist_is_named(
    part: str, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(pair, "--k", "2", f"--{part}", "oracle") == 1
    assert f"There is no {part} 'oracle'" in capsys.readouterr().err


def test_replies_of_one_token_have_no_tpot_and_break_nothing(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(pair, "--k", "2", "--max-tokens", "1", "--against", "transformers") == 0
    guide = last_line(capsys)["kinds"]["guide"]
    assert guide["best_speed_up"] is None
    assert guide["tpot_over_best_assisted"] is None
    assert all(row["tpot_ms"] is None for row in guide["rows"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rounds", "0"], "above 0"),
        (["--prompts", "-1"], "above 0"),
        (["--max-tokens", "0"], "above 0"),
        (["--k", "17"], "between 1 and 16"),
        (["--k", "two"], "no list of numbers"),
        (["--kinds", "poem"], "unknown kind 'poem'"),
        (["--draft", "somewhere"], "--draft needs --target"),
        (["--gui", "--k", "5"], "--k does not go with --gui"),
        (["--gui", "--against", "transformers"], "--against does not go with --gui"),
        (["--gui", "--threads", "1"], "--threads does not go with --gui"),
        (["--gui", "--drafter", "ngram"], "--drafter does not go with --gui"),
        (["--gui", "--suite", "exact"], "--suite does not go with --gui"),
        (["--repaint", "--k", "5"], "--k does not go with --repaint"),
        (["--gui", "--repaint"], "--repaint does not go with --gui"),
    ],
)
def test_options_that_make_no_measurement_are_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bench", *options])
    assert left.value.code == 2
    assert words in capsys.readouterr().err


def test_the_peer_gives_the_same_tokens_and_counts_every_one(pair: Path) -> None:
    engine = Engine(threads=1, device="cpu")
    engine.load(PairLocation("tiny", pair / "target", pair / "draft"), lambda _: None)
    peer = TransformersPeer(pair / "target", pair / "draft", device="cpu", dtypes=FLOAT32)
    sampling = SamplingSettings(temperature=0.0, max_tokens=24)
    request = GenerationRequest((Message(Role.USER, "Hello there"),), sampling)
    prepared = engine.prepare(request)
    ours = ids_of(list(engine.run(prepared, RunControl(1, False))))
    eos = sorted(engine.pair.prompt.eos_ids)
    for assistant_tokens, first_chunk in ((None, 1), (4, 5), (0, 21)):
        reply = peer.generate(prepared.prompt_ids, sampling, eos, assistant_tokens)
        assert list(reply.tokens) == ours
        assert len(reply.tokens) - reply.decode_tokens <= first_chunk
        assert reply.ttft_ns > 0
        assert (reply.decode_ns > 0) == (reply.decode_tokens > 0)


def test_the_peer_runs_in_the_dtypes_of_our_own_side(pair: Path) -> None:
    peer = TransformersPeer(pair / "target", pair / "draft", device="cpu", dtypes=("bfloat16", "float32"))
    assert peer._target.dtype == torch.bfloat16
    assert peer._draft is not None
    assert peer._draft.dtype == torch.float32
