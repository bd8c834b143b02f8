"""The document is a function of the record: arbitrary texts, cut anywhere, streamed or opened, give the same blocks."""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatapp.domain.events import EndReason
from chatapp.domain.record import RunRecord
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript.flow import Block, ReplyFlow, Role, plain_blocks
from chatapp.ui.transcript.graphemes import Boundaries
from chatapp.ui.transcript.harmless import harmless
from tests.helpers.records import RunScript, byte_tokens, demo_conversation, scripted_run

SNIPPETS = [
    "a",
    " word",
    "\n",
    "\n\n",
    "```",
    "```py\n",
    "é",
    "e\u0301",
    "\u0301",
    "👩‍👩‍👧",
    "🇩🇪🇫",
    "🌊",
    "한국",
    "שלום",
    "\u202eabc",
    "<b>x</b>",
    "**[k 5](x)**",
    "\x00\x1b[31m",
    "\t",
    "\r\n",
    "\u2028",
    "END",
]
TEXTS = st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=4)), max_size=24).map("".join)


def streamed(script: RunScript) -> tuple[RunRecord, ReplyFlow]:
    """Apply one event after the other, reading the flow after each; every prefix must equal a fresh fold."""
    record = RunRecord()
    flow = ReplyFlow(record)
    for event in script.events:
        record.apply(event)
        flow.update()
        fresh = ReplyFlow(record)
        fresh.update()
        assert flow.blocks == fresh.blocks
    return record, flow


def text_of(blocks: list[Block], source: str) -> str:
    lines = [
        "".join(source[run.start : run.end] for run in block.runs if run.role is Role.TEXT)
        for block in blocks
    ]
    return "\n".join(lines)


def kinds_of(blocks: list[Block]) -> dict[int, TokenKind | None]:
    return {
        offset: run.kind
        for block in blocks
        for run in block.runs
        if run.role is Role.TEXT
        for offset in range(run.start, run.end)
    }


@st.composite
def scripts(draw: st.DrawFn) -> RunScript:
    text = draw(TEXTS).encode("utf-8", "replace").decode()
    data = text.encode()
    cuts = draw(st.lists(st.integers(0, max(len(data), 1)), max_size=40))
    texts, tail = byte_tokens(text, cuts)
    stop = draw(st.sampled_from([(), ("END",), ("\n\n",), ("b", "word")]))
    return scripted_run(
        texts, seed=draw(st.integers(0, 999)), window=draw(st.integers(2, 9)), stop=stop, tail=tail
    )


@given(scripts())
@settings(max_examples=150, deadline=None)
def test_streaming_and_opening_give_the_same_blocks(script: RunScript) -> None:
    record, flow = streamed(script)
    assert text_of(flow.blocks, record.full_text) == record.text


@given(scripts())
@settings(max_examples=150, deadline=None)
@example(scripted_run(*[byte_tokens("a🌊e\u0301b👩‍👩‍👧", range(0, 99, 2))[0]], seed=5))
def test_every_character_has_the_colour_of_the_token_that_completes_its_cluster(script: RunScript) -> None:
    record, flow = streamed(script)
    text = record.text
    cuts = Boundaries(harmless(text))
    kinds = kinds_of(flow.blocks)
    ends = sorted({cuts.snap(offset) for offset in range(len(text) + 1)})
    for start, end in itertools.pairwise(ends):
        owner = record.token_at(end - 1)
        assert owner is not None
        for offset in range(start, end):
            if text[offset] != "\n":
                assert kinds[offset] is owner.kind
    assert len(kinds) == sum(char != "\n" for char in text)


@given(scripts())
@settings(max_examples=80, deadline=None)
def test_marks_stand_where_the_record_says_and_are_no_text(script: RunScript) -> None:
    record, flow = streamed(script)
    marks = [run for block in flow.blocks for run in block.runs if run.role is Role.MARK]
    due = [change for change in record.window_changes() if change.offset <= record.visible_chars]
    assert len(marks) == len(due)
    cuts = Boundaries(harmless(record.text))
    assert [run.start for run in marks] == [cuts.snap(change.offset) for change in due]
    for run, change in zip(marks, due, strict=True):
        block = next(block for block in flow.blocks if run in block.runs)
        assert change.label.replace(" ", "\u00a0") in block.shown[run.shown_start : run.shown_end]


@given(TEXTS)
def test_harmless_keeps_every_offset_and_no_control(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    assert not any(
        char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\r\x00\x1b"
        for char in shown
    )
    assert all(old == new for old, new in zip(text, shown, strict=True) if old.isalnum())


def test_lone_surrogates_become_replacement_characters() -> None:
    assert harmless("a\ud83db") == "a\ufffdb"


def test_a_stop_string_is_never_shown_while_it_may_still_come() -> None:
    script = (
        RunScript(stop=("END",))
        .first("so")
        .verify([" it", " E"], "N", rejected="x")
        .verify(["D"], " more")
        .end()
    )
    record = RunRecord()
    flow = ReplyFlow(record)
    shown = []
    for event in script.events:
        record.apply(event)
        flow.update()
        shown.append(flow.blocks[-1].shown)
    assert shown[-1] == "so it "
    assert not any("E" in text for text in shown)
    assert record.ended is not None
    assert record.ended.reason is EndReason.STOP_STRING


def test_a_final_length_below_what_was_shown_takes_text_back() -> None:
    script = RunScript().first("one").verify([" two\n", " three"], " four", rejected="x").end(visible=5)
    _record, flow = streamed(script)
    assert [block.shown for block in flow.blocks] == ["one t"]


def test_the_tail_of_an_incomplete_character_belongs_to_the_last_token() -> None:
    texts, tail = byte_tokens("ab", [1])
    record, flow = streamed(scripted_run(texts, tail=tail + "\ufffd"))
    assert flow.blocks[-1].shown == "ab\ufffd"
    assert flow.blocks[-1].runs[-1].token == record.token_count - 1


def test_a_token_of_line_breaks_alone_is_shown_once_and_owns_its_sign() -> None:
    script = (
        RunScript()
        .first("a")
        .verify(["\n\n", "b"], "\n", rejected=".")
        .verify([".", "c\n"], "d", rejected="x")
        .end()
    )
    _record, flow = streamed(script)
    assert [block.shown for block in flow.blocks] == ["a↵", "", "b↵", ".c", "d"]
    assert [run.token for block in flow.blocks for run in block.runs if run.role is Role.LINE_END] == [1, 3]


def test_code_fences_set_their_lines_and_nothing_else_apart() -> None:
    flow = ReplyFlow(demo_conversation().turns[1].record)
    flow.update()
    code = [block.is_code for block in flow.blocks]
    assert code == [False, False, True, True, True, True, False, False]


def test_a_fence_that_arrives_in_pieces_turns_into_code_when_it_is_whole() -> None:
    record, flow = streamed(
        RunScript().first("``").verify(["`"], "py", rejected="'").verify(["\n"], "x").end()
    )
    assert [block.is_code for block in flow.blocks] == [True, True]
    assert record.text == "```py\nx"


def test_a_pasted_fence_is_code_in_a_prompt_too() -> None:
    assert [block.is_code for block in plain_blocks("a\n```\nb\n```\nc")] == [False, True, True, True, False]


def test_marks_do_not_change_what_is_read_as_a_fence() -> None:
    script = RunScript(window=4).first("```").set_window(8).verify(["\n", "x", "\n"], "```").set_window(3)
    _record, flow = streamed(script.verify(["\n"], "y").end())
    assert [block.is_code for block in flow.blocks] == [True, True, True, False]
