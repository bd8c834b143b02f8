"""The Markdown export: readable, and closed against everything that a text could try."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.export.markdown_format import MarkdownExporter, fenced, inline
from tests.helpers.records import BANDWIDTH, RunScript, conversation, demo_conversation
from tests.helpers.strategies import conversations


def outside_fences(markdown: str) -> list[str]:
    """Lines that are no code, by the rule of CommonMark 4.5: a fence ends at one of at least its own length."""
    lines: list[str] = []
    fence = ""
    for line in markdown.split("\n"):
        found = re.match(r" {0,3}(`{3,})", line)
        if not fence and found:
            fence = found[1]
        elif fence and found and len(found[1]) >= len(fence) and not line.strip(" `"):
            fence = ""
        elif not fence:
            lines.append(line)
    assert not fence, "a fence stays open"
    return lines


@given(st.text(st.sampled_from("`~ \n#a<>[](){}|"), max_size=60))
def test_no_text_leaves_its_fence(text: str) -> None:
    assert outside_fences(fenced(text)) == []
    assert outside_fences(f"before\n\n{fenced(text)}\n\nbehind") == ["before", "", "", "behind"]


@given(conversations)
def test_prompts_and_replies_never_stand_outside(value: Conversation) -> None:
    plain = Conversation(value.id, "title", "today", [Turn("x", turn.record) for turn in value.turns])
    marked = Conversation(
        value.id, "title", "today", [Turn("x\n```\n# HEAD\n<b>", turn.record) for turn in value.turns]
    )
    render = MarkdownExporter().render
    assert outside_fences(render(marked)) == outside_fences(render(plain))


@pytest.mark.parametrize(
    "text",
    [
        "# head",
        "* item",
        "<script>",
        "[a](javascript:b)",
        "![](x)",
        "a\n\n# b",
        "| cell |",
        "`code`",
        "&lt;",
        "a_b_",
    ],
)
def test_titles_are_inert(text: str) -> None:
    line = inline(text)
    assert "\n" not in line
    assert not re.search(r"(?<!\\)[#*<\[\]`|_]", line)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("2) a", "2\\) a"),
        ("===", "\\==="),
        ("1-2", "1-2"),
        ("0.7", "0.7"),
        ("-1", "-1"),
    ],
)
def test_line_starts_are_inert(text: str, wanted: str) -> None:
    assert inline(text) == wanted


def test_addresses_do_not_become_links() -> None:
    assert "://" not in inline("see https://example.org")
    assert "www." not in inline("see www.example.org")
    assert "@" not in inline("mail me@example.org")


def test_control_characters_are_spelled_out() -> None:
    script = RunScript("a\x1b[31m").first("b\u202ec\x00").end()
    markdown = MarkdownExporter().render(conversation(script.turn()))
    assert "a␛[31m" in markdown
    assert "b[U+202E]c␀" in markdown


def test_a_transcript_with_its_numbers() -> None:
    markdown = MarkdownExporter().render(demo_conversation())
    assert markdown.startswith("# The lighthouse\n")
    assert "Mira lived in an old lighthouse at the edge of the sea." in markdown
    assert "**Reply** (stopped)" in markdown
    assert "> The draft failed; the reply goes on with the target alone." in markdown
    assert "TPOT **9." in markdown
    assert "Window: k 5 → 8 at step 6; speculation off at step 9; speculation on, k 8 at step 16." in markdown
    assert "## Run conditions" in markdown
    assert markdown.endswith("\n")
    assert not markdown.endswith("\n\n")


def test_the_table_of_shares_has_every_class() -> None:
    markdown = MarkdownExporter().render(demo_conversation())
    for style in KIND_STYLES.values():
        assert re.search(rf"^\| {style.label} \| \d+ \| \d+ % \|$", markdown, re.MULTILINE)


def test_rejected_drafts_are_summed_up() -> None:
    script = RunScript(window=4).first("Once").verify([" upon"], " time", rejected=" d|`ay").end()
    markdown = MarkdownExporter().render(conversation(script.turn()))
    assert "1 draft rejected, 1 untested:" in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| 1 |"))
    assert row.count("|") == 7
    assert "| draft model |" in row
    assert "``␣d¦`ay``" in row


def test_many_rejected_drafts_are_cut_and_counted() -> None:
    script = RunScript(window=3).first("a")
    for letter in "bcdefghijklmnopqrst":
        script.verify([], letter, rejected="x")
    markdown = MarkdownExporter().render(conversation(script.end().turn()))
    assert "19 drafts rejected, 19 untested; the first 12:" in markdown
    assert len(re.findall(r"^\| \d+ \| `x` \|", markdown, re.MULTILINE)) == 12


def test_a_run_without_rejections_says_so() -> None:
    script = RunScript(window=3).first("a").verify(["b", "c"], "d").end()
    assert "No draft was rejected (0 drafts untested)." in MarkdownExporter().render(
        conversation(script.turn())
    )


def test_a_conversation_that_never_started() -> None:
    markdown = MarkdownExporter().render(conversation(Turn("Hello?", RunRecord())))
    assert "(never started)" in markdown
    assert "Hello?" in markdown


def test_decisions_and_their_reasons_are_told() -> None:
    markdown = MarkdownExporter().render(demo_conversation())
    assert "auto on at step 5" in markdown
    assert "acceptor typical (lossy) at step 6" in markdown
    assert "**Lossy**" in markdown.split("## Turn 2")[1]
    assert "**Lossy**" not in markdown.split("## Turn 2")[0]
    assert "- adaptive: k 6: the next draft would cost more than it gains (" in markdown
    assert "Logit bias 613: -1.5" in markdown
    assert "runs on: table, float32" in markdown
    assert "Memory bandwidth: 25.0 GB/s" in markdown


def test_the_memory_gauge_is_bytes_over_time_and_left_out_where_nothing_is_known() -> None:
    script = RunScript(window=2).first("a").verify(["b"], "c", seconds=0.025)
    record = script.end().record()
    step = record.steps[1]
    share = step.verify_bytes / (step.verify_ns / 1e9) / BANDWIDTH
    markdown = MarkdownExporter().render(conversation(Turn("p", record)))
    assert f"verify {100 * share:.0f} % of 25.0 GB/s" in markdown
    assert record.started is not None
    blind = replace(record.started, environment=replace(record.started.environment, bandwidth=0.0))
    record.started = blind
    without = MarkdownExporter().render(conversation(Turn("p", record)))
    assert "Memory traffic" not in without
    assert "Memory bandwidth" not in without
