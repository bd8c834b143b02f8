"""Real events for tests: scripts a run without an engine, and knows nothing of who reads it.

`RunScript` is the builder; every call appends one event, and the fold of the events is a real `RunRecord`:

    script = RunScript("Hello?", window=4).first("Once")
    script.verify([" upon", " a"], " time", rejected=" day")    # two accepted, a correction, one draft untested
    script.verify([" there", " was", " a"], " fox")             # whole window kept: the last one is a bonus
    script.set_window(8).plain(" who")                           # speculation off for one step: a target token
    record = script.end().record()

`scripted_run` cuts any list of token texts into steps by a seeded generator, `byte_tokens` splits a text between bytes as
byte-level tokenizers do, and `demo_conversation` is a hand-made one that shows everything at once.
"""

from __future__ import annotations

import codecs
import dataclasses
import itertools
import random
from collections.abc import Iterable, Sequence

from chatapp.domain.events import (
    EndReason,
    Environment,
    ModelInfo,
    Notice,
    Prefilled,
    PrefillProgress,
    RunEnded,
    RunEvent,
    RunStarted,
    StepCommitted,
    WindowChoice,
)
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.domain.request import GenerationRequest, Message, Role, SamplingSettings
from chatapp.domain.tokens import CommittedToken, DraftedToken, DraftOutcome, TokenKind

STARTED_AT = "2026-03-14T09:26:53Z"
MS = 1_000_000
PREFILL_NS = 180 * MS
DRAFT_NS = 2 * MS
VERIFY_NS = 21 * MS
SAMPLE_NS = MS // 2
HOST_NS = MS // 4
VERIFY_BYTES = 230_000_000
DRAFT_BYTES = 11_000_000
BANDWIDTH = 25e9


def environment(*, draft: bool = True) -> Environment:
    return Environment(
        backend="toy",
        device="cpu",
        threads=1,
        target=ModelInfo("toy-target", "ToyTable", 9_400_000, "float32", "ab" * 32, "table, float32"),
        draft=ModelInfo("toy-draft", "ToyTable", 610_000, "float32", "cd" * 32, "table") if draft else None,
        context_limit=2048,
        vocabulary=4096,
        versions=(("python", "3.11.9"), ("torch", "2.13.0")),
        platform="Linux-x86_64",
        bandwidth=BANDWIDTH,
    )


def request(
    prompt: str = "Tell me a story.",
    *,
    system: str = "",
    window: int = 5,
    speculation: bool = True,
    sampling: SamplingSettings | None = None,
) -> GenerationRequest:
    messages = [Message(Role.SYSTEM, system)] if system else []
    return GenerationRequest(
        messages=(*messages, Message(Role.USER, prompt)),
        sampling=sampling or SamplingSettings(seed=7),
        window=window,
        speculation=speculation,
    )


def token_id(text: str) -> int:
    """A stable id for a text; the same on every machine and in every run."""
    value = 17
    for char in text:
        value = (value * 31 + ord(char)) % 4093
    return value


def showable(text: str, stops: Iterable[str]) -> int:
    """How many characters of a growing `text` may be shown: none of a stop string, nor of what might become one."""
    found = [text.find(stop) for stop in stops if stop in text]
    begun = [size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return min([*found, len(text) - max(begun, default=0)])


class RunScript:
    """Builds the events of one run; k and the toggle are state, as they are in the window."""

    def __init__(
        self,
        prompt: str = "Tell me a story.",
        *,
        system: str = "",
        window: int = 5,
        speculation: bool = True,
        stop: tuple[str, ...] = (),
        run_id: str = "run-0001",
        jitter: random.Random | None = None,
        policy: str = "fixed",
        logit_bias: tuple[tuple[int, float], ...] = (),
        device: str = "",
    ) -> None:
        """`device` names a rehearsal's."""
        self.prompt = prompt
        self._policy = policy
        self._acceptor = ("rejection", True)
        self._window = window
        self._speculation = speculation
        self._stops = stop
        self._jitter = jitter or random.Random(11)
        self._clock_ns = 0
        self._steps = 0
        self._text = ""
        sampling = SamplingSettings(seed=7, stop=stop, logit_bias=logit_bias)
        asked = request(prompt, system=system, window=window, speculation=speculation, sampling=sampling)
        self.events: list[RunEvent] = [
            RunStarted(
                run_id=run_id,
                started_at=STARTED_AT,
                request=dataclasses.replace(asked, policy=policy),
                acceptor="rejection",
                lossless=True,
                environment=dataclasses.replace(environment(), device=device, simulated=True)
                if device
                else environment(),
                prompt_tokens=3 + len(prompt) // 4,
                drafter="model",
                policy=policy,
            )
        ]

    def set_window(self, window: int) -> RunScript:
        self._window = window
        return self

    def set_speculation(self, on: bool) -> RunScript:
        self._speculation = on
        return self

    def set_policy(self, name: str) -> RunScript:
        self._policy = name
        return self

    def set_acceptor(self, name: str, lossless: bool = True) -> RunScript:
        self._acceptor = (name, lossless)
        return self

    def progress(self, done: int, total: int) -> RunScript:
        self.events.append(PrefillProgress(done, total))
        return self

    def notice(self, code: str, message: str) -> RunScript:
        self.events.append(Notice(code, message, self._clock_ns))
        return self

    def first(self, text: str) -> RunScript:
        """Prefill, and step 0 with the target's first token."""
        self._clock_ns += PREFILL_NS
        self.events.append(Prefilled("target", 40, 0, PREFILL_NS))
        token = CommittedToken(token_id(text), text, TokenKind.TARGET, self._prob(0.3, 0.99), None)
        self._commit((), (token,), 0, window=1)
        self.events.append(Prefilled("draft", 40, 0, 12 * MS))
        return self

    def plain(self, text: str) -> RunScript:
        """A step of k = 1: one target token and no drafts."""
        token = CommittedToken(token_id(text), text, TokenKind.TARGET, self._prob(0.1, 0.99), None)
        self._commit((), (token,), 0, window=1)
        return self

    def verify(
        self,
        accepted: Sequence[str],
        last: str | None,
        *,
        rejected: str | None = None,
        draw: float | None = 0.75,
        seconds: float | None = None,
        source: str = "model",
    ) -> RunScript:
        """A verify step: `accepted` drafts, then `last`: a correction of `rejected`, or without it a bonus. All drafts are
        of one `source`.

        Behind a rejected draft the window is filled with untested ones. `last` None: the reply ended inside the window.
        """
        drafted = [self._draft(text, DraftOutcome.ACCEPTED) for text in accepted]
        tokens = [
            CommittedToken(
                draft.id, draft.text, TokenKind.ACCEPTED, draft.target_prob or 0.0, draft.draft_prob
            )
            for draft in drafted
        ]
        if rejected is not None:
            drafted.append(self._draft(rejected, DraftOutcome.REJECTED, draw))
        if rejected is not None or last is None:
            missing = self._window - 1 - len(drafted)
            drafted += [self._draft(" …", DraftOutcome.UNTESTED) for _ in range(missing)]
        if last is not None:
            kind = TokenKind.BONUS if rejected is None else TokenKind.CORRECTION
            draft_prob = self._prob(0.01, 0.2) if rejected is not None else None
            tokens.append(CommittedToken(token_id(last), last, kind, self._prob(0.1, 0.9), draft_prob))
        drafted = [dataclasses.replace(draft, source=source) for draft in drafted]
        window = self._window if rejected is not None or last is None else len(drafted) + 1
        self._commit(tuple(drafted), tuple(tokens), len(accepted), window=window, seconds=seconds)
        return self

    def end(
        self,
        reason: EndReason = EndReason.END_OF_TEXT,
        *,
        tail: str = "",
        visible: int | None = None,
        error: str = "",
    ) -> RunScript:
        """Close the run; a stop string in the text cuts it, unless `visible` says where."""
        text = self._text + tail
        if visible is None:
            found = [text.find(stop) for stop in self._stops if stop in text]
            visible = min(found) if found else len(text)
            reason = EndReason.STOP_STRING if found else reason
        self.events.append(RunEnded(reason, self._clock_ns, tail, visible, 60, 60, error))
        return self

    def record(self) -> RunRecord:
        record = RunRecord()
        for event in self.events:
            record.apply(event)
        return record

    def turn(self) -> Turn:
        return Turn(self.prompt, self.record())

    def _prob(self, low: float, high: float) -> float:
        return round(self._jitter.uniform(low, high), 4)

    def _draft(self, text: str, outcome: DraftOutcome, draw: float | None = None) -> DraftedToken:
        untested = outcome is DraftOutcome.UNTESTED
        target = self._prob(0.01, 0.2) if outcome is DraftOutcome.REJECTED else self._prob(0.5, 0.99)
        if outcome is DraftOutcome.ACCEPTED:
            draw = self._prob(0.0, 0.5)
        return DraftedToken(
            token_id(text), text, self._prob(0.4, 0.9), None if untested else target, draw, outcome
        )

    def _commit(
        self,
        drafted: tuple[DraftedToken, ...],
        tokens: tuple[CommittedToken, ...],
        accepted: int,
        *,
        window: int,
        seconds: float | None = None,
    ) -> None:
        self._text += "".join(token.text for token in tokens)
        started_ns = 0 if self._steps == 0 else self._clock_ns
        draft_ns = DRAFT_NS * len(drafted)
        verify_ns = PREFILL_NS if self._steps == 0 else VERIFY_NS + self._jitter.randrange(4 * MS)
        if seconds is not None:
            verify_ns = max(int(seconds * 1e9) - draft_ns - SAMPLE_NS - HOST_NS, 1)
        ended_ns = started_ns + draft_ns + verify_ns + SAMPLE_NS + HOST_NS
        self._clock_ns = ended_ns
        self.events.append(
            StepCommitted(
                index=self._steps,
                window=window,
                window_asked=self._window,
                speculation=self._speculation,
                drafted=drafted,
                tokens=tokens,
                accepted=accepted,
                started_ns=started_ns,
                ended_ns=ended_ns,
                draft_ns=draft_ns,
                verify_ns=verify_ns,
                sample_ns=SAMPLE_NS,
                host_ns=HOST_NS,
                visible_chars=showable(self._text, self._stops),
                choice=self._choice(window) if self._steps else None,
                draft_bytes=DRAFT_BYTES * len(drafted),
                verify_bytes=VERIFY_BYTES,
                acceptor=self._acceptor[0],
                lossless=self._acceptor[1],
            )
        )
        self._steps += 1

    def _choice(self, window: int) -> WindowChoice:
        if not self._speculation:
            return WindowChoice(self._policy, "speculation is off")
        if self._policy == "fixed":
            return WindowChoice(self._policy, f"k {window}, as asked")
        estimates = (("expected_tokens", 3.25), ("draft_ms", 2.0), ("verify_ms", 23.0))
        return WindowChoice(
            self._policy, f"k {window}: the next draft would cost more than it gains", estimates
        )


def byte_tokens(text: str, cuts: Iterable[int]) -> tuple[list[str], str]:
    """Token texts of `text` when tokens are cut at these UTF-8 byte offsets, and what the decoder still holds.

    A character belongs to the token that completes it, so a token inside an emoji has an empty text. An incomplete last
    character comes back as U+FFFD in the second value, as `RunEnded.tail_text` has it.
    """
    data = text.encode()
    bounds = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [decoder.decode(data[low:high]) for low, high in itertools.pairwise(bounds)]
    return pieces, decoder.decode(b"", final=True)


def words(text: str) -> list[str]:
    """Tokens as a word-level tokenizer makes them: the space belongs to the word behind it."""
    pieces: list[str] = []
    for char in text:
        if pieces and not (char in " \n" and pieces[-1].strip(" \n")):
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces


def scripted_run(
    texts: Sequence[str],
    *,
    seed: int = 0,
    prompt: str = "Tell me a story.",
    window: int = 5,
    stop: tuple[str, ...] = (),
    changes: bool = True,
    reason: EndReason = EndReason.END_OF_TEXT,
    tail: str = "",
    ended: bool = True,
) -> RunScript:
    """A run whose tokens have these texts, cut into steps of every kind; k and the toggle change now and then.

    The texts join to the reply, whatever the seed. `changes` False keeps k and the toggle still.
    """
    dice = random.Random(seed)
    script = RunScript(prompt, window=window, stop=stop, jitter=random.Random(seed + 1))
    left = list(texts)
    if left:
        script.first(left.pop(0))
    off = 0
    while left:
        if changes and dice.random() < 0.06:
            window = dice.choice([2, 3, 5, 8, 12])
            script.set_window(window)
        if changes and not off and dice.random() < 0.04:
            off = dice.randint(1, 4)
        script.set_speculation(not off)
        if off:
            off -= 1
            script.plain(left.pop(0))
            continue
        whole = dice.random() < 0.45
        kept = window - 1 if whole else dice.randrange(window - 1)
        kept = min(kept, len(left) - 1)
        accepted, last = left[:kept], left[kept]
        left = left[kept + 1 :]
        wanted = None if whole and kept == window - 1 else dice.choice([" the", " maybe", "\n", " 7"])
        script.verify(accepted, last, rejected=wanted)
    return script.end(reason, tail=tail) if ended else script


def conversation(*turns: Turn, title: str = "A test") -> Conversation:
    return Conversation("0b0e7a52-6f0e-4a43-8d1c-2f1f3e0f9a11", title, STARTED_AT, list(turns))


def demo_conversation() -> Conversation:
    """Two turns with every kind, a k change, speculation off and on, code, an emoji, a notice and a cut reply."""
    story = RunScript(
        "Tell me a story about Mira, a lighthouse and a silver key.", window=5, logit_bias=((613, -1.5),)
    )
    story.first("Mira").verify([" lived", " in", " an"], " old", rejected=" the")
    story.verify([" lighthouse", " at", " the", " edge"], " of").verify(
        [" the", " sea", "."], " Every", rejected="\n"
    )
    story.verify([" evening", " she", " climbed"], " ninety", rejected=" the").verify(
        ["-"], "two", rejected="nine"
    )
    story.set_window(8)
    story.verify([" steps", " to", " light", " the", " lamp", ".", "\n\n"], "One")
    story.verify([" night"], " a", rejected=",").verify(
        [" silver", " key", " lay", " on", " the", " window"], " sill", rejected="s"
    )
    story.set_speculation(False)
    for text in (".", " It", " was", " warm", ",", " as", " if"):
        story.plain(text)
    story.set_speculation(True)
    story.verify([" someone", " had", " just", " let", " it", " go", "."], " 🌊")
    story.end()
    code = RunScript(
        "Now a function that counts the steps, with a short explanation of how it works.", window=6
    )
    code.first("Here").verify([" it", " is", ":\n\n", "```", "python"], "\n")
    code.verify(["def", " count"], "_steps", rejected="(").verify(
        ["(", "floors", ":"], " int", rejected=" list"
    )
    code.verify([",", " per", "_floor", ":", " int"], ")")
    code.set_policy("adaptive").verify(
        [" ->", " int", ":\n", "    "], "return", rejected="if", source="ngram"
    )
    code.set_acceptor("typical", lossless=False)
    code.verify([" floors", " *", " per", "_floor", "\n"], "```")
    code.verify(["\n\n", "Every"], " floor", rejected=" step")
    code.notice("draft_failed", "The draft failed; the reply goes on with the target alone.")
    for text in (" has", " the", " same", " number", " of", " steps"):
        code.plain(text)
    code.end(EndReason.CANCELLED)
    return conversation(story.turn(), code.turn(), title="The lighthouse")
