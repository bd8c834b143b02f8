"""What would make a pair fit, in the order of how little it changes. Each is planned before it is offered.

First what is modest, since it leaves the target's text alone and costs nothing: another tp degree, a shorter context, a smaller
draft; two of these where one is not enough. Then another instance, which costs money, and no draft, which costs speed. Last
int8, which the library can do and this application does not yet: an int8 draft's errors would cost acceptance only, an int8
target is another model. Must not know how bytes are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from chatapp.domain.memory_plan import PairPlan, Suggestion
from chatapp.domain.neuron_hosts import HOSTS, NeuronHost
from chatapp.library.planner.memory import INT8
from chatapp.library.planner.planning import PairRequest, plan_pair
from chatapp.library.planner.shapes import KNOWN

SHORTEST_CONTEXT = 512
MOST = 5
Change = tuple[str, PairRequest]
"""Words, and the request with the change made."""


def planned(request: PairRequest) -> PairPlan:
    """The plan, with suggestions where the pair does not fit."""
    plan = plan_pair(request)
    return plan if plan.fits else replace(plan, suggestions=tuple(_suggestions(request)))


def best_degree(request: PairRequest) -> PairRequest:
    """The request at the degree that an instance is best used with: it fits, AWS's lists agree on it, most cores; where none
    fits, the one that lacks least."""

    def merit(candidate: PairRequest) -> tuple[bool, bool, int]:
        plan = plan_pair(candidate)
        agreed = not candidate.host.tp_doubt(candidate.tp_degree)
        return plan.fits, agreed and plan.fits, candidate.tp_degree if plan.fits else -plan.used_bytes

    return max((_with_degree(request, degree) for degree in request.host.tp_degrees), key=merit)


def recommended(plans: list[PairPlan]) -> PairPlan | None:
    """Of plans on several instances the smallest that fits: fewest cores, then least host memory."""
    fitting = [plan for plan in plans if plan.fits]
    return min(fitting, key=lambda plan: _size(plan.host), default=None)


def _size(host: NeuronHost) -> tuple[int, int]:
    return host.cores, host.host_ram_gib


def _suggestions(request: PairRequest) -> Iterator[Suggestion]:
    found = _singly(request, MODEST) or _in_pairs(request, MODEST)
    found += _singly(request, DEAR)
    yield from (found or _in_pairs(request, MODEST + DEAR))[:MOST]


def _singly(request: PairRequest, steps: tuple[Step, ...]) -> list[Suggestion]:
    return [made for step in steps for made in _fitting(request, step(request))]


def _in_pairs(request: PairRequest, steps: tuple[Step, ...]) -> list[Suggestion]:
    pairs = combinations(steps, 2)
    return [made for first, second in pairs for made in _fitting(request, _both(request, first, second))]


def _both(request: PairRequest, first: Step, second: Step) -> Iterator[Change]:
    for words, changed in first(request):
        for more, both in second(changed):
            yield f"{words} and {more}", both


def _fitting(request: PairRequest, changes: Iterator[Change]) -> Iterator[Suggestion]:
    """The first of one kind that fits: each step offers the smaller change first."""
    for words, changed in changes:
        plan = plan_pair(changed)
        if plan.fits:
            draft = changed.draft
            at_hand = draft is None or draft == request.draft
            numbers = (changed.target_weights, changed.draft_weights)
            yield Suggestion(
                words,
                changed.host.name,
                plan.settings,
                draft.name if draft is not None else "",
                changed.target_weights,
                changed.draft_weights,
                plan.used_bytes,
                plan.is_tight,
                applies=at_hand and INT8 not in numbers,
            )
            return


def _with_degree(request: PairRequest, degree: int) -> PairRequest:
    return replace(request, settings=replace(request.settings, tp_degree=degree))


def _other_degree(request: PairRequest) -> Iterator[Change]:
    """Those that the lists agree on first, then the most cores."""
    host = request.host
    for degree in sorted(host.tp_degrees, key=lambda one: (bool(host.tp_doubt(one)), -one)):
        if degree != request.tp_degree:
            yield f"tp {degree}", _with_degree(request, degree)


def _shorter_context(request: PairRequest) -> Iterator[Change]:
    positions = request.settings.positions // 2
    while positions >= SHORTEST_CONTEXT:
        shorter = replace(request.settings, positions=positions, token_buckets=(), context_buckets=())
        yield f"a context of {positions:,} positions", replace(request, settings=shorter)
        positions //= 2


def _int8_draft(request: PairRequest) -> Iterator[Change]:
    if request.draft is not None and request.draft_weights != INT8:
        yield "the draft in int8 (not run by this application yet)", replace(request, draft_weights=INT8)


def _other_draft(request: PairRequest) -> Iterator[Change]:
    """Known models of the target's vocabulary, the largest below the present draft first."""
    draft, target = request.draft, request.target
    if draft is None:
        return
    alike = [
        shape
        for shape in KNOWN.values()
        if shape.vocabulary == target.vocabulary
        and shape.parameters < min(draft.parameters, target.parameters)
    ]
    for shape in sorted(alike, key=lambda one: -one.parameters):
        yield f"{shape.name} as the draft", replace(request, draft=shape)


def _other_instance(request: PairRequest) -> Iterator[Change]:
    """Smaller ones are offered too: a pair can fail on a large instance for its tp degree alone."""
    for host in sorted(HOSTS, key=_size):
        if host != request.host:
            moved = best_degree(replace(request, host=host))
            yield f"{host.name} with tp {moved.tp_degree}", moved


def _int8_target(request: PairRequest) -> Iterator[Change]:
    if request.target_weights != INT8:
        both = request.draft is not None
        words = f"{'both models' if both else 'the target'} in int8 (another model; not run by this application yet)"
        yield (
            words,
            replace(request, target_weights=INT8, draft_weights=INT8 if both else request.draft_weights),
        )


def _no_draft(request: PairRequest) -> Iterator[Change]:
    if request.draft is not None:
        yield "no draft model (n-gram look-up proposes)", replace(request, draft=None)


Step = Callable[[PairRequest], Iterator[Change]]
MODEST: tuple[Step, ...] = (_other_degree, _shorter_context, _other_draft)
DEAR: tuple[Step, ...] = (_other_instance, _no_draft, _int8_draft, _int8_target)
