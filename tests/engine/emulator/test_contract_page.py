"""The page that the code cites has every section that is cited, and its tables are those of the tests."""

from __future__ import annotations

import re
from pathlib import Path

from chatapp.resources import resource_path

ROOT = Path(__file__).parents[3]
PAGE = resource_path("help", "neuron-contract.md").read_text(encoding="utf-8")
CITED = re.compile(r"neuron-contract\.md §+(\d+(?:\.\d+)?)(?:(?:, | and |-)(?:§)?(\d+(?:\.\d+)?))*")


def sections() -> set[str]:
    """Numbers of headings, and of items that begin with one; §4's list is numbered by itself."""
    found = set(re.findall(r"(?m)^(?:#+|-) §(\d+(?:\.\d+)?) ", PAGE))
    checklist = PAGE.split("## §4 ")[1].split("## §5 ")[0]
    return found | {f"4.{number}" for number in re.findall(r"(?m)^(\d)\. ", checklist)}


def test_every_cited_section_is_there() -> None:
    known = sections()
    assert len(known) > 20
    missing = []
    for folder in ("chatapp", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for match in CITED.finditer(text):
                numbers = re.findall(r"\d+(?:\.\d+)?", match.group().removeprefix("neuron-contract.md"))
                missing += [f"{path.name}: §{number}" for number in numbers if number not in known]
    assert missing == []


def test_the_page_says_that_nothing_ran_on_hardware() -> None:
    assert "Nothing here was run on Neuron hardware." in PAGE
    assert len(PAGE.splitlines()) <= 250
