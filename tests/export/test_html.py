"""The HTML export: nothing from outside becomes markup, nothing is fetched, and everything promised is on the page."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.events import EndReason
from chatapp.domain.palette import KIND_STYLES, Theme
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.export.html.page import HtmlExporter
from chatapp.export.html.plot import tpot_plot
from chatapp.export.html.style import style_sheet
from chatapp.export.visible import visible
from tests.helpers.records import RunScript, conversation, demo_conversation, scripted_run, words
from tests.helpers.strategies import conversations, records

HOSTILE = [
    "<b>bold</b>",
    "<script>alert(1)</script>",
    "</script></style></title><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)' x=\"",
    "javascript:alert(1)",
    "[click](javascript:alert(1)) ![](http://example.org/x.png)",
    '<span class="t accepted">forged</span>',
    "<!-- --> <![CDATA[ ]]> &lt;b&gt; &#60;",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "a\x00b\x1b[31mred\x07\x7f\x9b",
    "\ud800 lone \udfff",
    "`${alert(1)}` {{7*7}} <%= 1 %>",
    "</div></article></main></body></html>",
]
VOID = {"meta", "input", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """Tags in order, attributes, text without style; refuses tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[tuple[str, str]] = []
        self.by_class: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert len(values) == len(attrs), "an attribute twice"
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in values.items()]
        if tag not in VOID:
            self.open.append((tag, values.get("class", "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open[-1][0] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] != "style":
            self.words.append(data)
            for name in {name for _, names in self.open for name in names.split()}:
                self.by_class.setdefault(name, []).append(data)

    def text(self, name: str) -> str:
        return "".join(self.by_class.get(name, ()))


def page(value: Conversation) -> Page:
    return Page(HtmlExporter().render(value))


def everywhere(text: str) -> Conversation:
    """A conversation with `text` in every place that can hold it."""
    script = RunScript(f"prompt {text}", system=f"system {text}", stop=("never" + text,))
    script.first(text).verify([text], text, rejected=text).notice("code", text).plain(text)
    value = conversation(script.end(EndReason.FAILED, error=text).turn())
    value.title = value.created_at = text
    return value


# --- hostile text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text: str) -> None:
    harmless, hostile = page(everywhere("harmless")), page(everywhere(text))
    assert hostile.tags == harmless.tags
    assert [name[:2] for name in hostile.attributes] == [name[:2] for name in harmless.attributes]


@given(st.text(min_size=1, max_size=30).filter(str.strip))
def test_no_text_at_all_becomes_markup(text: str) -> None:
    assert page(everywhere(text)).tags == page(everywhere("harmless")).tags


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text: str) -> None:
    assert f"prompt {visible(text)}" in page(everywhere(text)).text("bubble")


@given(conversations)
def test_every_valid_record_gives_a_well_formed_page(value: Conversation) -> None:
    written = HtmlExporter().render(value)
    Page(written)
    written.encode()


@pytest.mark.parametrize("value", [demo_conversation(), *map(everywhere, HOSTILE)])
def test_nothing_acts_and_nothing_is_fetched(value: Conversation) -> None:
    found = page(value)
    assert not {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "use",
        "image",
        "foreignobject",
    } & set(found.tags)
    for tag, name, content in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "srcset", "style", "action", "xlink:href", "background"), (tag, name)
        if name == "href":
            assert re.fullmatch(r"#numbers-\d+", content)
    assert "@import" not in style_sheet()
    assert "url(" not in style_sheet()


def test_control_and_direction_characters_are_spelled_out() -> None:
    written = HtmlExporter().render(everywhere("a\x00b\x1b[31m\u202ec\u2066d\ud800"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", written)
    assert "a␀b␛[31m[U+202E]c[U+2066]d\ufffd" in written


def test_writing_from_right_to_left_keeps_its_marks() -> None:
    assert "שלום\u200f!" in HtmlExporter().render(everywhere("שלום\u200f!"))


# --- policy -------------------------------------------------------------------------------------------------------------


def test_the_policy_lets_in_this_style_sheet_and_nothing_else() -> None:
    written = HtmlExporter().render(demo_conversation())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', written)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    style = re.search("<style>(.*?)</style>", written, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert written.index("Content-Security-Policy") < written.index("<style>")


def test_the_same_conversation_gives_the_same_file() -> None:
    assert HtmlExporter().render(demo_conversation()) == HtmlExporter().render(demo_conversation())


# --- content ------------------------------------------------------------------------------------------------------------


def token_texts(record: RunRecord) -> list[str]:
    written = HtmlExporter().render(conversation(Turn("p", record)))
    reply = written[written.index('<div class="text"') : written.index('id="numbers-1"')]
    return re.findall(r'<span class="t [a-z ]+" tabindex="0">(.*?)<span class="card"', reply, re.DOTALL)


def test_the_tokens_join_to_the_visible_reply() -> None:
    record = scripted_run(words("The quick brown fox jumps over the lazy dog. " * 4), seed=8).record()
    assert "".join(token_texts(record)) == record.text


@given(records())
def test_the_tokens_of_any_record_join_to_its_visible_reply(record: RunRecord) -> None:
    if record.started is not None:
        assert "".join(html.unescape(text) for text in token_texts(record)) == visible(record.text)


def test_a_stop_string_is_not_shown() -> None:
    record = RunScript(stop=("END",)).first("Hello").plain(" E").plain("ND").end().record()
    assert token_texts(record) == ["Hello", " "]


def test_classes_have_the_palette_s_colours_and_marks() -> None:
    sheet = style_sheet()
    for kind, style in KIND_STYLES.items():
        assert f"--{kind.value}:{style.colour(Theme.LIGHT)};" in sheet
        assert f"--{kind.value}:{style.colour(Theme.DARK)};" in sheet
        assert f".{kind.value}{{--kind:var(--{kind.value});--mark:{style.underline.value}}}" in sheet


def test_each_token_has_its_class_and_card() -> None:
    script = RunScript(window=4).first("Once").verify([" upon"], " time", rejected=" day").end()
    written = HtmlExporter().render(conversation(script.turn()))
    reply = written[written.index('<div class="text"') : written.index('id="numbers-1"')]
    assert re.findall(r'class="t ([a-z]+)" tabindex="0"', reply) == ["target", "accepted", "correction"]
    cards = reply.split('<span class="card"')[1:]
    assert "instead of" in cards[2]
    assert "␣day" in cards[2]
    assert "draw 0.75" in cards[2]
    assert "step 1 · 2 of window 4" in cards[2]
    assert "1 draft untested" in cards[2]
    assert '<s class="rejected" aria-hidden="true"> day</s>' in reply


def test_tokens_without_characters_can_still_be_pointed_at() -> None:
    written = HtmlExporter().render(conversation(RunScript().first("").plain("🌊").end().turn()))
    assert '<span class="t target empty" tabindex="0"><span class="card"' in written


def test_changes_of_k_stand_where_they_happened() -> None:
    script = RunScript(window=5).first("a").set_window(8).verify(["b"], "c", rejected="x")
    found = page(conversation(script.set_speculation(False).plain("d").end().turn()))
    assert found.text("change") == "k 5 → 8speculation off"


def test_numbers_settings_and_conditions_are_on_the_page() -> None:
    found = page(demo_conversation())
    text = "".join(found.words)
    for wanted in (
        *("TPOT", "TTFT", "Tokens/s", "Acceptance", "Tested acceptance", "Mean length"),
        *("Seed", "Temperature", "rejection (lossless)", "Run conditions"),
        *("toy-target", "toy-draft", "float32", "sha256 abababababab", "torch 2.13.0", "cpu · 1 thread"),
        *("stopped", "The draft failed; the reply goes on with the target alone."),
    ):
        assert wanted in text, wanted
    for style in KIND_STYLES.values():
        assert style.meaning in found.text("legend")


def test_the_system_prompt_is_shown_when_it_changes() -> None:
    turns = [
        RunScript("x", system=system).first("a").end().turn()
        for system in ("Be brief.", "Be brief.", "Sing.")
    ]
    assert page(conversation(*turns)).text("system") == "System promptBe brief.System promptSing."


@pytest.mark.parametrize(
    "turns",
    [(), (Turn("unanswered", RunRecord()),), (RunScript().turn(),), (RunScript().first("a").turn(),)],
    ids=["no turns", "never started", "no step", "running"],
)
def test_unfinished_conversations_give_a_page(turns: tuple[Turn, ...]) -> None:
    found = page(conversation(*turns))
    assert found.tags.count("article") == len(turns)
    for turn in turns:
        words_wanted = "never started" if turn.record.started is None else "not finished"
        assert words_wanted in found.text("state")


# --- plot ---------------------------------------------------------------------------------------------------------------


def bars(record: RunRecord) -> list[tuple[float, float]]:
    svg = tpot_plot(record, "Reply 1")
    found = re.findall(r'<rect class="step" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
    return [(float(x), float(width)) for x, width in found]


def test_a_bar_per_verify_step_as_wide_as_its_tokens() -> None:
    record = (
        RunScript(window=4)
        .first("a")
        .verify(["b", "c", "d"], "e")
        .plain("f")
        .verify(["g"], "h", rejected="x")
        .record()
    )
    (first, one), (_, two), (_, three) = bars(record)
    gap = 1.5
    assert [width + gap for width in (one, two, three)] == pytest.approx(
        [4 * (two + gap), two + gap, 2 * (two + gap)], abs=0.05
    )
    assert first == pytest.approx(46, abs=0.01)


def test_spans_with_speculation_off_are_shaded_and_joined() -> None:
    script = (
        RunScript().first("a").verify(["b"], "c", rejected="x").set_speculation(False).plain("d").plain("e")
    )
    svg = tpot_plot(script.set_speculation(True).verify(["f"], "g", rejected="x").record(), "Reply 1")
    assert svg.count('class="off"') == 1
    assert svg.count('class="change-line"') == 2
    assert "off-key" in svg
    assert "off-key" not in tpot_plot(
        RunScript().first("a").verify(["b"], "c", rejected="x").record(), "Reply 1"
    )


def test_a_single_slow_step_does_not_flatten_the_others_and_is_marked() -> None:
    script = RunScript().first("a")
    for letter in "bcdefghijklmnopqrstuvw":
        script.verify([], letter, rejected="x", seconds=0.02)
    script.verify([], "z", rejected="x", seconds=5)
    svg = tpot_plot(script.record(), "Reply 1")
    assert svg.count('class="notch"') == 1
    assert "5,000 ms per token" in svg
    heights = [float(height) for height in re.findall(r'class="step"[^>]* height="([\d.]+)"', svg)]
    assert min(heights) > 30


def test_no_plot_without_a_verify_step() -> None:
    assert tpot_plot(RunScript().first("a").end().record(), "Reply 1") == ""


def test_a_token_s_card_says_who_proposed_it_and_why_the_window_was_as_long() -> None:
    shown = page(demo_conversation())
    card = shown.text("card")
    assert "proposed byn-gram look-up" in card
    assert "proposed bydraft model" in card
    assert "acceptortypical (lossy)" in card
    assert "adaptivek 6: the next draft would cost more than it gains" in card
    assert "estimatesexpected tokens 3.25, draft 2 ms, verify 23 ms" in card


def test_a_reply_of_a_lossy_acceptor_is_labelled() -> None:
    lossy = (
        RunScript().first("a").set_acceptor("typical", lossless=False).verify(["b"], "c", rejected="d").end()
    )
    shown = page(conversation(lossy.turn()))
    assert shown.text("lossy").startswith("lossy")
    assert "acceptortypical (lossy)" in shown.text("card")
    assert page(conversation(RunScript().first("a").end().turn())).text("lossy") == ""


def test_labels_of_marks_do_not_run_together() -> None:
    script = RunScript(window=3).first("a")
    for place in range(40):
        script.set_acceptor("typical" if place % 2 else "rejection", lossless=not place % 2)
        script.verify(["b"], "c", rejected="d")
    drawn = tpot_plot(script.end().record(), "Reply 1")
    found = re.findall(r'class="change-label" x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)">([^<]+)<', drawn)
    assert len(found) > 2
    spans = []
    for x, anchor, text in found:
        wide = 6.0 * len(text)  # an average character at the size of the labels
        left = float(x) - (wide if anchor == "end" else 0.0)
        spans.append((left, left + wide))
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert begin > end
