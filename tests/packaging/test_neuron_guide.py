"""packaging/neuron/README.md: its commands are ones that the program takes, its figures those of the files beside it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chatapp import cli
from chatapp.domain.neuron_hosts import HOSTS
from tests.packaging.test_neuron_requirements import pins

FOLDER = Path(__file__).resolve().parents[2] / "packaging" / "neuron"
GUIDE = (FOLDER / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [
    line.partition(" #")[0].strip()
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("chatapp")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_takes_the_command(command: str) -> None:
    chosen = cli._with_default(shlex.split(command)[1:])
    (entry,) = [entry for entry in cli.ENTRIES if entry.name == chosen[0]]
    cli._parser(entry, entry.load(), "").parse_args(chosen)


def test_the_guide_goes_all_the_way() -> None:
    said = "\n".join(COMMANDS)
    for step in ("plan --target", "doctor", "models ~", "prepare --target", "chatapp --neuron tnx"):
        assert step in said


def test_versions_are_those_that_are_pinned() -> None:
    older = pins(FOLDER / "constraints.txt", "3.10")
    newer = pins(FOLDER / "constraints-nxdi.txt", "3.12")
    assert f"| {older['torch']}, {older['transformers']}, {older['numpy']} |" in GUIDE
    assert f"| {newer['torch']}, {newer['transformers']}, 2.x |" in GUIDE
    assert older["transformers-neuronx"] in GUIDE
    assert newer["neuronx-distributed-inference"] in GUIDE


def test_instances_have_the_chips_that_the_planner_counts() -> None:
    for host in HOSTS:
        assert f"| {host.name} | {host.chips} | {host.chips * 32} GiB |" in GUIDE


def test_parameters_of_the_stack_are_there() -> None:
    template = (FOLDER / "cloudformation.yaml").read_text()
    for name in re.findall(r"ParameterKey=(\w+)", GUIDE):
        assert f"\n  {name}:\n    Type: " in template


def test_files_that_are_linked_are_there() -> None:
    for link in re.findall(r"\]\(([\w.-]+)\)", GUIDE):
        assert (FOLDER / link).is_file()
