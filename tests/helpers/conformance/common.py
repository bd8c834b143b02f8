"""What the suites share: how a breach is told, replies of a toy pair, and how they compare with the target's own table."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from chatapp.bench.chi_square import chi_square_p
from chatapp.domain.request import SamplingSettings
from chatapp.engine.contracts import Acceptor, Drafter
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.randomness import Streams
from chatapp.engine.registry.parts import DraftingContext
from chatapp.engine.sampling import Processor
from tests.helpers.engine import NEUTRAL, PROMPT, Rig, Schedule, finished, ids_of, toy_rig

CHANCE = 1e-6
TRUNCATED = replace(NEUTRAL, temperature=0.7, top_p=0.9)
SETTINGS = {"temperature 1": NEUTRAL, "temperature 0.7, top-p 0.9": TRUNCATED}
MakeAcceptor = Callable[[Streams], Acceptor]
MakeDrafter = Callable[[DraftingContext], "Drafter | None"]


class Nonconforming(AssertionError):
    """The part breaks its contract; the message says which law."""


def require(holds: bool, law: str) -> None:
    if not holds:
        raise Nonconforming(law)


def made(make: MakeDrafter, context: DraftingContext) -> Drafter:
    drafter = make(context)
    require(drafter is not None, "it is made where there is a draft model")
    assert drafter is not None
    return drafter


def model_drafter(context: DraftingContext) -> Drafter:
    assert context.draft is not None
    return ModelDrafter(context.draft, context.processor, context.acceptor, context.ends)


def chain_pair() -> Rig:
    """The next token depends on the last alone: a long reply is a Markov chain of four states."""
    return toy_rig(vocabulary=4, order=1, noise=1.5, sharpness=1.0, context_limit=2000)


def reply(
    rig: Rig,
    acceptor: str | MakeAcceptor,
    sampling: SamplingSettings,
    *,
    window: int = 5,
    control: Schedule | None = None,
    make: MakeDrafter = model_drafter,
    eos: Sequence[int] = (),
) -> list[int]:
    """The ids of one reply, every law of the loop checked on the way."""
    size = rig.target_model.vocabulary
    run = rig.run(
        sampling=sampling,
        acceptor=acceptor,
        window=window,
        control=control,
        eos=eos,
        drafter=lambda draft, processor, rule: made(
            make, DraftingContext(draft, processor, rule, frozenset(eos), size)
        ),
    )
    return ids_of(finished(rig, run))


def chain_p(said: Sequence[int], rig: Rig, sampling: SamplingSettings) -> float:
    """Chance of the reply's transition counts under the target's processed table; 0 for an impossible transition."""
    processor = Processor(sampling)
    size = rig.target_model.vocabulary
    counts = Counter(itertools.pairwise([PROMPT[-1], *said]))
    observed: list[float] = []
    expected: list[float] = []
    for last in range(size):
        row = processor.row(rig.target_model.logits_after([last]), ())
        total = sum(counts[last, token] for token in range(size))
        observed += [float(counts[last, token]) for token in range(size)]
        expected += [total * row.prob(token) for token in range(size)]
    visited = len({last for last, _ in counts})  # a state that was never visited binds nothing
    return chi_square_p(observed, expected, constraints=visited)


def two_sided(z: float) -> float:
    """Chance of a normal deviation at least this large."""
    return math.erfc(abs(z) / math.sqrt(2.0))
