"""`chatapp plan`, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.cli import main

PAIR = ["--target", "Llama-2-70B", "--draft", "Llama-2-7B"]


def test_a_pair_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *PAIR, "--instance", "trn1.32xlarge"]) == 0
    text = capsys.readouterr().out
    for words in (
        "Fits: 7.73 of 15.9 GiB on each of 32 cores.",
        "22 to compile: target 15, draft 7",
        "8 key/value heads kept as 32",
        "overhead, assumed                   3.00",
        "20.6 ms for a token of Llama-2-70B, 3.7 ms for one of Llama-2-7B",
        "not measured here",
        "These are estimates",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_pair_that_does_not_fit_and_what_would_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *PAIR, "--instance", "inf2.24xlarge", "--tp", "12"]) == 1
    text = capsys.readouterr().out
    assert "Does not fit: 17.2 of 15.9 GiB on each of 12 cores" in text
    assert "It fits with\n  - " in text


def test_all_instances_and_the_recommended_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *PAIR]) == 0
    text = capsys.readouterr().out
    assert text.count("does not fit") == 4
    assert "Take inf2.48xlarge with tp 24" in text
    assert main(["plan", "--target", "Llama-3-8B", "--draft", "Llama-2-7B"]) == 1
    assert "It fits no instance" in capsys.readouterr().out


def test_a_degree_holds_for_every_instance_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *PAIR, "--tp", "24"]) == 0
    assert capsys.readouterr().out.count("cannot run") == 5


def test_json_has_bytes_and_is_marked_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *PAIR, "--instance", "trn1.32xlarge", "--dtype", "int8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["estimate"] is True
    assert (found["tp_degree"], found["positions"], found["dtype"]) == (32, 2048, "bf16")
    assert (found["target"]["weights"], found["draft"]["weights"]) == ("int8", "int8")
    parts = [found[side][part] for side in ("target", "draft") for part in ("weights_bytes", "kv_bytes")]
    assert sum(parts) + found["overhead_bytes"] == found["used_bytes"] < found["limit_bytes"]
    assert found["published"]["target"]["token_ms"] == 20.6
    assert main(["plan", *PAIR, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["recommended"] == "inf2.48xlarge"
    assert [one["fits"] for one in table["plans"]] == [False, False, False, True, False, True]


def test_published_latencies_are_not_shown_for_another_degree(capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", *PAIR, "--instance", "trn1.32xlarge", "--tp", "16"])
    assert "20.6 ms" not in capsys.readouterr().out


def test_the_built_in_pair_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--instance", "inf2.xlarge", "--context", "512", "--windows", "4,2"]) == 0
    text = capsys.readouterr().out
    assert "built-in target + built-in draft on inf2.xlarge" in text
    assert "Windows compiled for the target: 2 and 4 rows." in text
    assert "9 to compile: target 5, draft 4" in text


def test_a_directory_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "model_type": "mistral",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
        "vocab_size": 32_000,
        "max_position_embeddings": 32_768,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["plan", "--target", str(tmp_path), "--instance", "inf2.8xlarge"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "of its models only Llama verifies several tokens at once" in text
    assert "Nothing was found with which it would fit." in text


def test_windows_longer_than_the_context_are_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--target", "Llama-3-70B", "--instance", "inf2.xlarge", "--tp", "1", "--context", "8"]
    main(words)
    said = capsys.readouterr().out
    assert "graphs       5 to compile" in said
    assert "for the target: 2, 4 and 8 rows" in said
    assert "1 core (this" in said
    assert "with 1 compiling process," in said


def test_no_line_is_longer_than_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "plan",
            "--target",
            "Llama-3-8B",
            "--instance",
            "trn1.32xlarge",
            "--tp",
            "24",
            "--context",
            "9999999",
        ]
    )
    said = capsys.readouterr().out
    assert "Cannot run: trn1.32xlarge can spread a model over 1, 2, 8, 16 or 32 NeuronCores" in said
    assert max(map(len, said.splitlines())) <= 100


def test_what_cannot_be_planned_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--target", "Nothing-1B"]) == 1
    assert "Known names: Llama-2-7B" in capsys.readouterr().err
    assert main(["plan", "--draft", "Llama-2-7B"]) == 1
    assert "--target" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--tp", "0"], ["--context", "x"], ["--windows", "2,"], ["--instance", "p5.48xlarge"]]
)
def test_a_wrong_command_line_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["plan", *wrong])
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_it_answers_without_torch_and_without_qt() -> None:
    code = (
        "import sys; from chatapp.cli import main; "
        "status = main(['plan', '--target', 'Llama-3-8B', '--instance', 'inf2.xlarge']); "
        "heavy = {'torch', 'transformers', 'PySide6', 'numpy'} & set(sys.modules); "
        "sys.exit(status or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
