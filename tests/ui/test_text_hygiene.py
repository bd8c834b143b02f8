from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatapp.ui.text_hygiene import clean_prompt, visible


def test_what_is_changed_is_told() -> None:
    cleaned = clean_prompt("a\ud800b\x00\x07c\r\nd\te\u202e")
    assert cleaned.text == "a\ufffdbc\nd\te\u202e"
    assert (cleaned.replaced, cleaned.removed, cleaned.direction_controls) == (1, 2, 1)
    assert clean_prompt("plain text\n").notice == ""


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert clean_prompt("\ud83d\ude00").text == "😀"


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_cleaned_text_is_safe_and_stays_so(text: str) -> None:
    once = clean_prompt(text).text
    once.encode()
    assert not any(ord(char) < 32 and char not in "\n\t" for char in once)
    assert clean_prompt(once).text == once


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_shown_text_is_printable_and_on_one_line(text: str) -> None:
    assert visible(text, limit=20).isprintable()


def test_spelled_out() -> None:
    assert visible(" a\n\t\u202e") == "␣a\\n\\t\\u{202e}"
    assert visible("") == "(no text)"
    assert visible("abcdef", limit=3) == "abc…"
