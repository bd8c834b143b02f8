"""Laws of `contracts.Acceptor`.

A rule that draws by `random()` of its streams is enumerated exactly; any other is sampled. Both then go through whole replies
of a toy pair, where positions, streams of one run and changing windows play their part.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from chatapp.bench.chi_square import chi_square_p
from chatapp.engine.contracts import Proposal, Verdict
from chatapp.engine.distribution import Row, one_hot
from chatapp.engine.randomness import Streams
from tests.helpers.conformance.common import (
    CHANCE,
    SETTINGS,
    MakeAcceptor,
    Nonconforming,
    chain_p,
    chain_pair,
    reply,
    require,
)
from tests.helpers.conformance.exact import Ids, NotScriptable, OneStep, Table, dense_row, sparse_row
from tests.helpers.engine import Schedule

EXACT = 1e-12
SAMPLES = 5_000
REPLY_TOKENS = 1200
LONG_SCHEDULE = [(5, True), (2, True), (16, True), (9, False), (3, True), (1, True), (7, True)]


def check_acceptor(make: MakeAcceptor, *, lossless: bool = True) -> None:
    """Raises `Nonconforming`. With `lossless` False the distribution is left out: only what every rule owes is checked."""
    check_declaration(make, lossless=lossless)
    check_verdicts(make, lossless=lossless)
    if lossless:
        check_distribution(make)
        check_replies(make)


def check_declaration(make: MakeAcceptor, *, lossless: bool) -> None:
    rule = make(Streams(0))
    require(bool(rule.name), "an acceptor has a name")
    require(
        rule.lossless is lossless, f"it declares lossless {rule.lossless!r}, and is checked as {lossless}"
    )


# -- the form of a verdict ----------------------------------------------------------------------------------------


def random_row(source: random.Random, size: int) -> Row:
    """Dense, sparse, flat, peaked or one-hot."""
    weights = [source.choice([0.0, 0.0, 1e-9, 0.2, 1.0, 5.0]) for _ in range(size)]
    weights[source.randrange(size)] += 1.0
    return source.choice([dense_row, sparse_row])(weights)


def check_verdicts(make: MakeAcceptor, *, lossless: bool, windows: int = 400) -> None:
    source = random.Random(1)
    for seed in range(windows):
        size, count = source.randrange(2, 7), source.randrange(1, 6)
        draft_rows = [random_row(source, size) for _ in range(count)]
        targets = [random_row(source, size) for _ in range(count + 1)]
        kept = copy.deepcopy((draft_rows, targets))
        first, second = (_verify(make, seed, draft_rows, targets) for _ in range(2))
        require(first == second, "the same seed gives the same verdict")
        drafts, verdict = first
        _check_verdict(verdict, drafts, size)
        final = targets[verdict.accepted].prob(verdict.final_id)
        require(not lossless or final > 0.0, "the final token is one that the target can give")
        for place in range(verdict.accepted if lossless else 0):
            require(targets[place].prob(drafts[place]) > 0.0, "a kept draft is one that the target can give")
        for row, before in zip([*draft_rows, *targets], [*kept[0], *kept[1]], strict=True):
            require(bool((row.probs == before.probs).all()), "rows are left as they are")


def _verify(
    make: MakeAcceptor, seed: int, draft_rows: Sequence[Row], targets: Sequence[Row]
) -> tuple[Ids, Verdict]:
    rule = make(Streams(seed))
    drafts = tuple(rule.draw_draft(row, 7 + place) for place, row in enumerate(draft_rows))
    for token, row in zip(drafts, draft_rows, strict=True):
        require(type(token) is int and row.prob(token) > 0.0, "a draft is drawn from its row")

    def target_rows(place: int) -> Row:
        require(0 <= place <= len(drafts), f"it asked for the target's row {place} of {len(drafts) + 1}")
        return targets[place]

    return drafts, rule.verify(Proposal(drafts, tuple(draft_rows)), target_rows, 7)


def _check_verdict(verdict: Verdict, drafts: Ids, size: int) -> None:
    require(type(verdict.accepted) is int, "`accepted` is a plain int")
    require(0 <= verdict.accepted <= len(drafts), f"it kept {verdict.accepted} of {len(drafts)} drafts")
    require(type(verdict.final_id) is int and 0 <= verdict.final_id < size, "the final token is an id")
    tested = min(verdict.accepted + 1, len(drafts))
    require(len(verdict.draws) >= tested, "every tested draft has its draw, or None")
    require(all(draw is None or 0.0 <= draw < 1.0 for draw in verdict.draws), "draws lie in [0, 1)")
    require(verdict.residual_fallbacks >= 0, "fallbacks are counted")


# -- the distribution ---------------------------------------------------------------------------------------------

TARGETS = ([0.5, 0.3, 0.2, 0.0], [0.0, 0.25, 0.35, 0.4], [0.15, 0.0, 0.6, 0.25], [0.3, 0.3, 0.2, 0.2])
DRAFTS = ([0.0, 0.4, 0.25, 0.35], [0.45, 0.2, 0.0, 0.35], [0.1, 0.55, 0.15, 0.2], [0.6, 0.0, 0.2, 0.2])
"""Supports differ, so that a residual by rank or by place instead of by id is seen."""


def check_distribution(make: MakeAcceptor) -> None:
    """What one window and its continuation say is distributed as the target alone would have it."""
    for title, target, draft, count in _cases():
        step = OneStep(make, target, draft, count, 4 if count == 1 else 3)
        try:
            deviation = step.deviation()
        except NotScriptable:
            p = _sampled_p(make, target, draft, count, 4 if count == 1 else 3)
            require(p > CHANCE, f"not the target's distribution: chi-square p {p:.1e} ({title})")
            continue
        require(deviation < EXACT, f"not the target's distribution: off by {deviation:.1e} ({title})")


def _cases() -> list[tuple[str, Table, Table, int]]:
    return [
        ("one draft, sparse rows", _table(TARGETS, 4, sparse=True), _table(DRAFTS, 4, sparse=True), 1),
        ("one draft, dense rows", _table(TARGETS, 4), _table(DRAFTS, 4), 1),
        ("one draft, dense and sparse", _table(TARGETS, 4), _table(DRAFTS, 4, sparse=True), 1),
        ("one draft that was not sampled", _table(TARGETS, 4), lambda _: one_hot(1, 4), 1),
        ("draft equal to target", _table(TARGETS, 4), _table(TARGETS, 4), 1),
        ("two drafts", _table(TARGETS, 3), _table(DRAFTS, 3, sparse=True), 2),
    ]


def _table(weights: Sequence[Sequence[float]], size: int, *, sparse: bool = False) -> Table:
    """A row for every prefix."""
    rows = [(sparse_row if sparse else dense_row)(row[:size]) for row in weights]
    return lambda prefix: rows[
        sum((place + 1) * (token + 1) for place, token in enumerate(prefix)) % len(rows)
    ]


def _sampled_p(make: MakeAcceptor, target: Table, draft: Table, count: int, size: int) -> float:
    seen: Counter[Ids] = Counter()
    for seed in range(SAMPLES):
        rule = make(Streams(seed))
        drafts: Ids = ()
        rows: list[Row] = []
        for place in range(count):
            rows.append(draft(drafts))
            drafts = (*drafts, rule.draw_draft(rows[-1], place))
        verdict = rule.verify(Proposal(drafts, tuple(rows)), lambda i, d=drafts: target(d[:i]), 0)  # type: ignore[misc]  # a default binds the loop's drafts
        said = (*drafts[: verdict.accepted], verdict.final_id)
        while len(said) <= count:
            said = (*said, rule.draw_target(target(said), len(said)))
        seen[said] += 1
    cells = list(itertools.product(range(size), repeat=count + 1))
    expected = [SAMPLES * math.prod(target(cell[:i]).prob(t) for i, t in enumerate(cell)) for cell in cells]
    return chi_square_p([seen[cell] for cell in cells], expected)


def check_replies(make: MakeAcceptor) -> None:
    """Long replies of a toy pair follow the target's table, whatever the windows are."""
    for title, settings in SETTINGS.items():
        for seed, steps in enumerate(([(2, True)], [(6, True)], LONG_SCHEDULE)):
            rig = chain_pair()
            sampling = replace(settings, max_tokens=REPLY_TOKENS, seed=seed)
            said = reply(rig, make, sampling, control=Schedule(steps))
            p = chain_p(said, rig, sampling)
            if p <= CHANCE:
                raise Nonconforming(
                    f"a reply does not follow the target: p {p:.1e} at {title}, windows {steps}"
                )
