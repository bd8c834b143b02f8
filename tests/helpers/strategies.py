"""Hypothesis strategies for any valid record, sensible or not: every field takes every value that its type allows.

`records.py` builds runs that look like real ones; these here are for the laws that must hold for all.
"""

from __future__ import annotations

from hypothesis import strategies as st

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
from chatapp.domain.request import (
    MAX_SEED,
    MAX_WINDOW,
    MIN_WINDOW,
    GenerationRequest,
    Message,
    Role,
    SamplingSettings,
)
from chatapp.domain.tokens import CommittedToken, DraftedToken, DraftOutcome, TokenKind

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Any characters but lone surrogates: NUL, direction controls, emoji, combining marks."""
counts = st.integers(0, 2**63 - 1)
small = st.integers(0, 10_000_000)
probs = st.floats(0, 1) | st.floats(allow_nan=False)
"""Probabilities, and now and then what is none: a model may be broken. NaN apart, since it equals nothing."""
optional_probs = st.none() | probs

drafted_tokens = st.builds(
    DraftedToken,
    id=counts,
    text=texts,
    draft_prob=probs,
    target_prob=optional_probs,
    draw=optional_probs,
    outcome=st.sampled_from(DraftOutcome),
    source=texts,
)
committed_tokens = st.builds(
    CommittedToken,
    id=counts,
    text=texts,
    kind=st.sampled_from(TokenKind),
    target_prob=probs,
    draft_prob=optional_probs,
)
models = st.builds(
    ModelInfo,
    name=texts,
    architecture=texts,
    parameters=counts,
    dtype=texts,
    weights_sha256=texts,
    runs_on=texts,
)
environments = st.builds(
    Environment,
    backend=texts,
    device=texts,
    threads=counts,
    target=models,
    draft=st.none() | models,
    context_limit=counts,
    vocabulary=counts,
    versions=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    platform=texts,
    simulated=st.booleans(),
    bandwidth=st.floats(allow_nan=False),
)
samplings = st.builds(
    SamplingSettings,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 1_000_000),
    top_p=st.floats(0, 1, exclude_min=True),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0.1, 10),
    max_tokens=st.integers(1, 1_000_000),
    seed=st.integers(0, MAX_SEED),
    stop=st.lists(texts.filter(bool), max_size=2).map(tuple),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(counts, st.floats(-100, 100), max_size=2).map(
        lambda bias: tuple(bias.items())
    ),
)
_earlier = st.lists(st.builds(Message, role=st.sampled_from(Role), content=texts), max_size=2)
_last = st.builds(Message, role=st.just(Role.USER), content=texts.filter(str.strip))
requests = st.builds(
    GenerationRequest,
    messages=st.builds(lambda earlier, last: (*earlier, last), _earlier, _last),
    sampling=samplings,
    window=st.integers(MIN_WINDOW, MAX_WINDOW),
    speculation=st.booleans(),
    acceptor=texts,
    drafter=texts,
    policy=texts,
)
starts = st.builds(
    RunStarted,
    run_id=texts,
    started_at=texts,
    request=requests,
    acceptor=texts,
    lossless=st.booleans(),
    environment=environments,
    prompt_tokens=counts,
    drafter=texts,
    policy=texts,
)
ends = st.builds(
    RunEnded,
    reason=st.sampled_from(EndReason),
    ended_ns=counts,
    tail_text=texts,
    visible_chars=small,
    target_cached=counts,
    draft_cached=counts,
    error=texts,
)


choices = st.builds(
    WindowChoice,
    policy=texts,
    reason=texts,
    estimates=st.lists(st.tuples(texts, st.floats(allow_nan=False)), max_size=2).map(tuple),
)


@st.composite
def steps(draw: st.DrawFn, index: int, not_before_ns: int) -> StepCommitted:
    started_ns = not_before_ns + draw(small)
    return StepCommitted(
        index=index,
        window=draw(st.integers(1, 16)),
        window_asked=draw(st.integers(1, 16)),
        speculation=draw(st.booleans()),
        drafted=tuple(draw(st.lists(drafted_tokens, max_size=3))),
        tokens=tuple(draw(st.lists(committed_tokens, max_size=3))),
        accepted=draw(small),
        started_ns=started_ns,
        ended_ns=started_ns + draw(small),
        draft_ns=draw(small),
        verify_ns=draw(small),
        sample_ns=draw(small),
        host_ns=draw(small),
        visible_chars=draw(small),
        residual_fallbacks=draw(small),
        choice=draw(st.none() | choices),
        draft_bytes=draw(small),
        verify_bytes=draw(small),
        acceptor=draw(texts),
        lossless=draw(st.booleans()),
    )


@st.composite
def event_sequences(draw: st.DrawFn) -> list[RunEvent]:
    """Events in an order that a record takes; empty, unfinished and whole runs."""
    if not draw(st.booleans()):
        return []
    events: list[RunEvent] = [draw(starts)]
    side = st.one_of(
        st.builds(Prefilled, model=texts, positions=counts, reused=counts, duration_ns=counts),
        st.builds(PrefillProgress, done=counts, total=counts),
        st.builds(Notice, code=texts, message=texts, at_ns=counts),
    )
    clock_ns = 0
    for index in range(draw(st.integers(0, 4))):
        events += draw(st.lists(side, max_size=1))
        step = draw(steps(index, clock_ns))
        clock_ns = step.ended_ns
        events.append(step)
    return events + ([draw(ends)] if draw(st.booleans()) else [])


@st.composite
def records(draw: st.DrawFn) -> RunRecord:
    record = RunRecord()
    for event in draw(event_sequences()):
        record.apply(event)
    return record


conversations = st.builds(
    Conversation,
    id=texts,
    title=texts,
    created_at=texts,
    turns=st.lists(st.builds(Turn, prompt=texts, record=records()), max_size=2),
)
