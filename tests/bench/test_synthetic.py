"""Suites over random weights at tiny sizes: real tensors, the real engine and the real peer; structure and truth, no times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatapp.bench import models, rigged
from chatapp.bench.context import measure_contexts
from chatapp.bench.engines import SyntheticEngine, ids_of
from chatapp.bench.suites import SuiteOptions
from chatapp.domain.tokens import TokenKind
from chatapp.engine.backends import synthetic
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.synthetic import RandomShape, write_random, write_recast
from chatapp.resources import builtin_pair
from tests.helpers.checkpoints import llama_config, save

TINY = RandomShape(layers=2, hidden=64, heads=2, inner=96, vocabulary=3072)
PROMPT = list(range(10, 40))


@pytest.fixture(autouse=True)
def tiny_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by the names of the real ones, so that the suites themselves are run as they are."""
    monkeypatch.setitem(synthetic.SHAPES, "110M", TINY)
    monkeypatch.setitem(synthetic.SHAPES, "5M", replace(TINY, layers=1))


def pair(folder: Path) -> tuple[Path, Path]:
    tokenizer = builtin_pair().target
    target = write_random(folder / "target", TINY, "bfloat16", tokenizer=tokenizer)
    return target, write_random(
        folder / "draft", replace(TINY, layers=1), "bfloat16", tokenizer=tokenizer, seed=1
    )


def test_named_shapes_have_the_parameters_that_they_are_named_for() -> None:
    for name, millions in (("30M", 30), ("5M", 5), ("110M", 110)):
        shape = {"5M": RandomShape(4, 128, 2, 512), "110M": RandomShape(12, 768, 12, 2048)}.get(
            name, synthetic.SHAPES[name]
        )
        total = sum(torch.Size(size).numel() for _, size in synthetic._tensors(shape))
        assert total / 1e6 == pytest.approx(millions, rel=0.06)


def test_models_measures_both_sides_in_both_dtypes(capsys: pytest.CaptureFixture[str]) -> None:
    result = models.run_suite(SuiteOptions(shapes=("110M", "built-in"), rounds=1, threads=1))
    sides = {(row["shape"], row["side"], row["numbers"]) for row in result["rows"]}
    for shape in ("110M", "built-in"):
        for side in ("chatapp", "transformers"):
            assert {(shape, side, "float32"), (shape, side, "bfloat16")} <= sides
    assert any("int8" in row["numbers"] for row in result["rows"])
    assert all(row["one_token_ms"] > 0 and len(row["verify_ms"]) == 4 for row in result["rows"])
    what = [bar["what"] for bar in result["bars"]]
    assert what == [
        "one token, 110M bfloat16, 1 thread, chatapp / transformers",
        "verify(8) / one token, 110M bfloat16, 1 thread",
        "one token, built-in target in float32, 1 thread, chatapp / transformers",
        "one token, built-in target in bfloat16, 1 thread, chatapp / transformers",
    ]
    assert "one token" in capsys.readouterr().out


def test_a_rigged_draft_is_always_right_and_the_text_is_the_targets(tmp_path: Path) -> None:
    engine = SyntheticEngine(*pair(tmp_path))
    plain = ids_of(engine.answer(PROMPT, window=1, tokens=24))
    engine.rigged.story = [*PROMPT, *plain]
    record = engine.answer(PROMPT, window=8, tokens=24)
    assert ids_of(record) == plain
    kinds = [view.token.kind for view in record.tokens()]
    assert kinds == [
        TokenKind.TARGET,
        *([TokenKind.ACCEPTED] * 7 + [TokenKind.BONUS]) * 2,
        *([TokenKind.ACCEPTED] * 6 + [TokenKind.BONUS]),
    ]


def test_a_draft_that_is_told_another_story_is_corrected(tmp_path: Path) -> None:
    """The rig changes the proposals alone: what the target wants stands."""
    engine = SyntheticEngine(*pair(tmp_path))
    plain = ids_of(engine.answer(PROMPT, window=1, tokens=12))
    engine.rigged.story = [*PROMPT, *((token + 1) % 3072 for token in plain)]
    record = engine.answer(PROMPT, window=4, tokens=12)
    assert ids_of(record) == plain
    assert TokenKind.ACCEPTED not in {view.token.kind for view in record.tokens()}


def test_rigged_has_full_windows_on_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    result = rigged.run_suite(SuiteOptions(rounds=1, threads=1, max_tokens=25))
    lengths = {row["side"]: row["tokens_per_verify_step"] for row in result["rows"]}
    assert lengths["chatapp"] == pytest.approx(8.0)
    assert lengths["transformers assisted"] == pytest.approx(25 / 4)
    assert lengths["chatapp plain"] == lengths["transformers plain"] == 1.0
    assert result["texts_kept"]
    assert result["synthetic"]
    assisted, llama_cpp = result["bars"]
    assert assisted["value"] > 0
    assert llama_cpp["met"] is None
    assert "synthetic" in capsys.readouterr().out


def test_contexts_of_both_lengths_have_the_same_windows(capsys: pytest.CaptureFixture[str]) -> None:
    result = measure_contexts(SuiteOptions(rounds=1, threads=1, max_tokens=17), (40, 150))
    assert result["lengths"] == [40, 150]
    assert [row["k"] for row in result["rows"]] == [1, 8]
    assert [row["mean_acceptance_lengths"] for row in result["rows"]] == [[1.0, 1.0], [8.0, 8.0]]
    assert all(bar["value"] > 0 for bar in result["bars"])
    assert "TPOT ms at 150" in capsys.readouterr().out


def test_a_recast_checkpoint_holds_the_same_numbers(tmp_path: Path) -> None:
    source = save(tmp_path / "source", llama_config())
    recast = write_recast(source, tmp_path / "bfloat16", "bfloat16")
    ours = read_checkpoint(recast)
    assert ours.config["torch_dtype"] == "bfloat16"
    narrow = ours.load_weights(torch.float32)
    for name, tensor in read_checkpoint(source).load_weights(torch.float32).items():
        assert torch.equal(narrow[name], tensor.bfloat16().float())
    assert (recast / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
