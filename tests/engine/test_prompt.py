"""Messages → ids: user text never becomes a special token, and a longer conversation extends a shorter one's ids."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from chatapp.domain.errors import InvalidSetting, LoadFailed, ModelNotFound, VocabularyMismatch
from chatapp.domain.request import Message, Role
from chatapp.engine.prompt import Prompt, clean_text, require_same_vocabulary
from tests.helpers import tokenizers as small

KINDS = {"byte-level": small.byte_level, "byte-fallback": small.byte_fallback}
SPECIAL_TEXT = st.lists(
    st.one_of(st.sampled_from([*small.SPECIALS, "<unk>", "<|", "|>", "<|en", "d|>"]), st.text(max_size=5)),
    max_size=6,
).map("".join)


@lru_cache(maxsize=4)
def prompt_of(kind: str, template: str | None = small.TEMPLATE) -> tuple[Tokenizer, Prompt]:
    tokenizer = KINDS[kind]()
    return tokenizer, wrapped(tokenizer, template)


def wrapped(tokenizer: Tokenizer, template: str | None = small.TEMPLATE) -> Prompt:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|end|>", pad_token="<|pad|>"
    )
    fast.chat_template = template
    return Prompt(fast, ())


def user(text: str) -> Message:
    return Message(Role.USER, text)


def specials_in(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    special = {
        id: added.content for id, added in tokenizer.get_added_tokens_decoder().items() if added.special
    }
    return [special[token] for token in ids if token in special]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(system=SPECIAL_TEXT, question=SPECIAL_TEXT, answer=SPECIAL_TEXT, again=SPECIAL_TEXT)
def test_text_of_special_tokens_never_gives_special_ids(
    kind: str, system: str, question: str, answer: str, again: str
) -> None:
    tokenizer, prompt = prompt_of(kind)
    messages = [
        Message(Role.SYSTEM, system),
        user(question),
        Message(Role.ASSISTANT, answer),
        user(again),
    ]
    ids = prompt.encode(messages)
    unknown = (
        "<unk>"  # what no vocabulary entry covers may be <unk>; the template's own tokens are the point here
    )
    found = [name for name in specials_in(tokenizer, ids) if name != unknown]
    roles = ["system", "user", "assistant", "user"]
    expected = ["<|bos|>", *(part for role in roles for part in (f"<|{role}|>", "<|end|>")), "<|assistant|>"]
    assert found == expected


@pytest.mark.parametrize("special", small.SPECIALS)
def test_user_text_comes_back_as_it_was_typed(special: str) -> None:
    _, prompt = prompt_of("byte-level")
    text = f"What is {special}? {special}{special} x"
    ids = prompt.encode([user(text)])
    assert prompt.decode(ids) == text


def test_only_the_message_with_special_text_is_encoded_by_itself() -> None:
    """So that a later message cannot change the ids, and with them the cached KV, of those before."""
    _, prompt = prompt_of("byte-fallback", "{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    first, reply = user("Hello there"), Message(Role.ASSISTANT, "Good day")
    plain = prompt.encode([first, reply])
    special = prompt.encode([first, reply, user("<|end|>")])
    assert special[: len(plain)] == plain


def test_special_tokens_that_only_the_normalised_text_shows() -> None:
    tokenizer = small.byte_level()
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_special_tokens([AddedToken("<tool>", normalized=True, special=True)])
    prompt = wrapped(tokenizer)
    ids = prompt.encode([user("＜tool＞")])
    assert specials_in(tokenizer, ids) == ["<|bos|>", "<|user|>", "<|end|>", "<|assistant|>"]


def test_special_tokens_whose_own_text_is_normalised() -> None:
    tokenizer = small.byte_level()
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens([AddedToken("<Tool>", normalized=True, special=True)])
    prompt = wrapped(tokenizer)
    for text in ("<tool>", "<Tool>", "<TOOL>"):
        ids = prompt.encode([user(text)])
        assert specials_in(tokenizer, ids) == ["<|bos|>", "<|user|>", "<|end|>", "<|assistant|>"]


def test_special_tokens_that_transformers_does_not_list() -> None:
    tokenizer = small.byte_level(specials=(*small.SPECIALS, "<|hidden|>"))
    prompt = wrapped(tokenizer)
    ids = prompt.encode([user("<|hidden|>")])
    assert "<|hidden|>" not in specials_in(tokenizer, ids)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "x" * 10 + "\udc00" * 3])
def test_lone_surrogates_become_replacement_characters(text: str) -> None:
    _, prompt = prompt_of("byte-level")
    shown = prompt.decode(prompt.encode([user(text)]))
    assert shown == clean_text(text)
    shown.encode("utf-8")
    assert len(shown) == len(text)


def test_control_and_bidi_characters_pass_unchanged() -> None:
    _, prompt = prompt_of("byte-level")
    text = "a\x00b\x1b[31m\u202e\u2066c\u200f\r\n\t\x7f"
    assert prompt.decode(prompt.encode([user(text)])) == text


PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=100)
@given(turns=st.lists(st.tuples(PLAIN_TEXT, PLAIN_TEXT), min_size=1, max_size=4), last=PLAIN_TEXT)
def test_each_turn_extends_the_ids_of_the_turn_before(turns: list[tuple[str, str]], last: str) -> None:
    """The KV of the whole first turn, reply included, is good for the second."""
    tokenizer, prompt = prompt_of("byte-level")
    messages: list[Message] = []
    before: list[int] = []
    for question, reply in [*turns, (last, "")]:
        messages.append(user(question))
        ids = prompt.encode(messages)
        assert ids[: len(before)] == before
        tokenizer.encode_special_tokens = True
        said = tokenizer.encode(reply, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        before = [*ids, *said]
        messages.append(Message(Role.ASSISTANT, reply))


def test_a_tokenizer_without_a_template_gets_a_plain_one() -> None:
    _, prompt = prompt_of("byte-level", None)
    ids = prompt.encode([Message(Role.SYSTEM, "Be brief."), user("Hi")])
    assert prompt.decode(ids) == "system: Be brief.\n\nuser: Hi\n\nassistant:"


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x",
        "{{ nothing.at.all }}",
        "{% if %}",
    ],
)
def test_a_template_that_refuses_the_conversation_says_so(template: str) -> None:
    _, prompt = prompt_of("byte-level", template)
    with pytest.raises(InvalidSetting, match="chat template does not take this conversation") as raised:
        prompt.encode([Message(Role.SYSTEM, "Be brief."), user("Hi")])
    assert raised.value.field == "messages"


def test_pieces_name_special_tokens_and_show_lone_bytes() -> None:
    tokenizer, prompt = prompt_of("byte-level")
    assert prompt.piece(small.id_of(tokenizer, "<|end|>")) == "<|end|>"
    assert prompt.piece(tokenizer.encode("é").ids[0]).strip("\ufffd") == ""
    fallback, other = prompt_of("byte-fallback")
    assert other.piece(small.id_of(fallback, "<0xFF>")) == "\ufffd"


def test_loading_names_the_end_of_text(tmp_path: Path) -> None:
    tokenizer = small.byte_level()
    small.save(tokenizer, tmp_path)
    prompt = Prompt.load(tmp_path, [7])
    assert prompt.eos_ids == {7, small.id_of(tokenizer, "<|end|>")}
    assert prompt.vocabulary() == tokenizer.get_vocab()
    assert prompt.decode(prompt.encode([user("héllo 😀")])) == "héllo 😀"


def test_a_directory_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no tokenizer"):
        Prompt.load(tmp_path, ())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"model": 3}', '{"version": "1.0", "model": {"type": "BPE"}}']
)
def test_a_broken_tokenizer_file(tmp_path: Path, content: str) -> None:
    small.save(small.byte_level(), tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(LoadFailed, match="cannot be read") as raised:
        Prompt.load(tmp_path, ())
    assert raised.value.remedy


def test_vocabularies_are_compared_and_not_their_sizes() -> None:
    ours = {f"t{index}": index for index in range(100)}
    require_same_vocabulary(ours, dict(ours))
    swapped = {**ours, "t3": 4, "t4": 3}
    with pytest.raises(
        VocabularyMismatch, match=r"2 tokens differ.*'t3' \(3 / 4\), 't4' \(4 / 3\)"
    ) as raised:
        require_same_vocabulary(ours, swapped)
    assert raised.value.examples == (("t3", 3, 4), ("t4", 4, 3))
    shorter = {token: id for token, id in ours.items() if id < 90}
    with pytest.raises(VocabularyMismatch, match=r"10 tokens differ.*'t90' \(90 / missing\)") as raised:
        require_same_vocabulary(ours, shorter)
    assert raised.value.examples[0] == ("t90", 90, -1)
    assert len(raised.value.examples) == 5
    with pytest.raises(VocabularyMismatch, match=r"'t90' \(missing / 90\)"):
        require_same_vocabulary(shorter, ours)
