"""Spans: whatever ids come, the pieces are contiguous, in order, and together equal one decode of all ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from chatapp.engine.detokenizer import OVERLAP_TOKENS, REDECODED_TOKENS, Detokenizer, StopMatcher
from chatapp.engine.prompt import Prompt
from tests.helpers import tokenizers as small

MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": small.byte_level,
    "byte-fallback": small.byte_fallback,
}
KINDS = st.sampled_from(sorted(MAKERS))
TEXT = st.text(
    st.one_of(
        st.sampled_from("".join(small.TEXTS)),
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("😀👩\u200d👧🏽🇩🇪e\u0301\u200f\u202e中文字 \n\t\u00a0\ufeff"),
    ),
    max_size=80,
)


@lru_cache(maxsize=2)
def trained(kind: str) -> tuple[Tokenizer, Prompt]:
    tokenizer = MAKERS[kind]()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|end|>", pad_token="<|pad|>"
    )
    return tokenizer, Prompt(wrapped, ())


def pieces_of(prompt: Prompt, ids: Sequence[int]) -> tuple[list[str], str]:
    detokenizer = Detokenizer(prompt.decode)
    pieces = [detokenizer.push(token) for token in ids]
    assert detokenizer.emitted == len("".join(pieces))
    return pieces, detokenizer.finish()


def check_spans(prompt: Prompt, ids: Sequence[int]) -> list[str]:
    pieces, tail = pieces_of(prompt, ids)
    assert "".join(pieces) + tail == prompt.decode(ids)
    assert set(tail) <= {"\ufffd"}, "only what is no character yet may be held"
    return pieces


@settings(max_examples=150)
@given(kind=KINDS, text=TEXT)
def test_text_comes_back_and_each_character_with_the_token_that_completes_it(kind: str, text: str) -> None:
    tokenizer, prompt = trained(kind)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = check_spans(prompt, ids)
    assert prompt.decode(ids) == tokenizer.decode(ids)
    said = ""
    for place, piece in enumerate(pieces):
        said += piece
        complete = prompt.decode(ids[: place + 1]).rstrip("\ufffd")
        assert said.rstrip("\ufffd") == complete


@settings(max_examples=250)
@given(kind=KINDS, data=st.data())
def test_arbitrary_ids(kind: str, data: st.DataObject) -> None:
    tokenizer, prompt = trained(kind)
    ids = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), max_size=60))
    check_spans(prompt, ids)


BROKEN = [
    b"\xff", b"\x80", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"
]  # fmt: skip
WHOLE = ["a", " ", "é", "你", "😀", "\ufffd", "e\u0301"]


@settings(max_examples=250)
@given(
    kind=KINDS,
    parts=st.lists(
        st.one_of(
            st.sampled_from(BROKEN), st.sampled_from(WHOLE).map(str.encode), st.sampled_from(small.SPECIALS)
        ),
        max_size=24,
    ),
)
@example(kind="byte-fallback", parts=["你".encode(), b"\xff"])
@example(kind="byte-fallback", parts=[b"\xe4\xbd", "<|user|>", b"\xa0"])
def test_single_bytes_whole_and_broken_with_special_tokens_between(
    kind: str, parts: list[bytes | str]
) -> None:
    tokenizer, prompt = trained(kind)
    ids: list[int] = []
    for part in parts:
        ids += [small.id_of(tokenizer, part)] if isinstance(part, str) else byte_ids(kind, tokenizer, part)
    check_spans(prompt, ids)
    # Both kinds show the same: every whole character, and U+FFFD only where bytes fit none.
    data = b"".join(part for part in parts if isinstance(part, bytes))
    shown = prompt.decode(ids).replace("\ufffd", "")
    assert shown.lstrip(" ") == data.decode("utf-8", errors="ignore").replace("\ufffd", "").lstrip(" ")


def byte_ids(kind: str, tokenizer: Tokenizer, data: bytes) -> list[int]:
    if kind == "byte-fallback":
        return [small.id_of(tokenizer, f"<0x{byte:02X}>") for byte in data]
    names = byte_alphabet()
    return [small.id_of(tokenizer, names[byte]) for byte in data]


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[int, str]:
    """GPT-2's writing of bytes as printable characters."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=12)
@given(data=st.data())
def test_long_sequences_are_decoded_in_bounded_pieces(kind: str, data: st.DataObject) -> None:
    tokenizer, prompt = trained(kind)
    ids = data.draw(
        st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), min_size=110, max_size=160)
        | st.text(st.sampled_from("".join(small.TEXTS)), min_size=120, max_size=200).map(
            lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        )
    )
    check_spans(prompt, ids)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_work_per_token_does_not_grow_with_the_reply(kind: str) -> None:
    tokenizer, prompt = trained(kind)
    ids = tokenizer.encode(" ".join(small.TEXTS * 4), add_special_tokens=False).ids
    longest = 0

    def counted(part: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(part))
        return prompt.decode(part)

    detokenizer = Detokenizer(counted)
    for token in ids:
        detokenizer.push(token)
    assert len(ids) > 500
    assert longest <= REDECODED_TOKENS + 2 * OVERLAP_TOKENS


def test_byte_fallback_keeps_what_was_complete() -> None:
    """The tokenizer's own decoder would take back a character that was shown, because of a bad byte behind it."""
    tokenizer, prompt = trained("byte-fallback")
    ids = byte_ids("byte-fallback", tokenizer, "你".encode() + b"\xff")
    assert tokenizer.decode(ids) == "\ufffd" * 4
    assert prompt.decode(ids) == "你\ufffd"
    pieces, tail = pieces_of(prompt, ids)
    assert (pieces, tail) == (["", "", "你", ""], "\ufffd")


def test_a_faulty_detokenizer_is_seen() -> None:
    """Decoding each token by itself is the usual mistake; these properties must see it."""
    tokenizer, prompt = trained("byte-level")
    ids = byte_ids("byte-level", tokenizer, "😀".encode())
    assert "".join(prompt.decode([token]) for token in ids) != prompt.decode(ids)


# -- stop strings -------------------------------------------------------------------------------------------------

SHORT = st.text("ab", max_size=4)


@settings(max_examples=400)
@given(pieces=st.lists(SHORT, max_size=12), stops=st.lists(st.text("ab", min_size=1, max_size=5), max_size=3))
def test_a_stop_string_is_never_shown_and_nothing_else_is_hidden(pieces: list[str], stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    text, visible = "", 0
    for piece in pieces:
        text += piece
        before = visible
        stopped, visible = matcher.push(piece)
        places = [text.find(stop) for stop in stops if stop in text]
        assert stopped == bool(places)
        assert visible >= before, "what was shown is never taken back"
        assert not any(stop in text[:visible] for stop in stops)
        if stopped:
            assert visible == min(places)
            return
        hidden = text[visible:]
        begun = [stop for stop in stops if hidden and stop.startswith(hidden)]
        assert bool(begun) == bool(hidden), "only the beginning of a stop string is held"
        longer = [text[at:] for at in range(visible) if any(stop.startswith(text[at:]) for stop in stops)]
        assert not longer, "what might begin a stop string is held from its first character"


def test_without_stop_strings_everything_is_visible() -> None:
    assert StopMatcher(()).push("abc") == (False, 3)


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert StopMatcher(("cd", "bc")).push("abcd") == (True, 1)
