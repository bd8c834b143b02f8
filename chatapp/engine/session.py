"""The engine as the service sees it: load a pair, prepare a request, run it. One instance, one thread.

Caches outlive runs: the KV of the longest common prefix with the conversation before is reused.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from chatapp import __version__
from chatapp.domain.errors import (
    ContextOverflow,
    EmptyPrompt,
    EngineNotReady,
    InvalidSetting,
    VocabularyMismatch,
)
from chatapp.domain.events import Environment, RunEvent, RunStarted
from chatapp.domain.ports import EngineCapabilities, LoadProgress, PairInfo, PairLocation
from chatapp.domain.request import MAX_WINDOW, GenerationRequest, SamplingSettings
from chatapp.engine import long_rows
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.loading import default_device
from chatapp.engine.bandwidth import measure_bandwidth
from chatapp.engine.clock import MonotonicClock
from chatapp.engine.contracts import (
    CausalModel,
    ChunkingModel,
    Clock,
    Control,
    DeviceFacts,
    Drafter,
    FusedWindow,
    FusingContext,
    FusingModel,
    StepOutcome,
    WindowPolicy,
)
from chatapp.engine.devices import (
    NEURON,
    NEURON_HOST_THREADS,
    builtin_backend,
    device_facts,
    require_device,
)
from chatapp.engine.drafters.model import ModelDrafter
from chatapp.engine.loop import Parts, SpeculativeRun, Text
from chatapp.engine.prompt import Prompt, require_same_vocabulary
from chatapp.engine.randomness import Streams
from chatapp.engine.registry import (
    BackendChooser,
    DraftingContext,
    Registry,
    RunAcceptors,
    chosen,
    discover,
)
from chatapp.engine.registry.guards import GuardedPolicy
from chatapp.engine.sampling import Processor
from chatapp.engine.sequence import CachedSequence
from chatapp.engine.threads import ThreadGovernor, default_threads
from chatapp.engine.windows import arithmetic

LOADING = {"target": (0.35, 0.8), "draft": (0.8, 1.0)}
"""The shares of loading that the sides take."""
NAMED_PACKAGES = ("torch", "transformers", "tokenizers", "PySide6-Essentials")


@dataclass(frozen=True, slots=True)
class LoadedPair:
    """A pair ready to run, with the parts that it can run with. `text` may come from a real tokenizer or, for toys, from a test."""

    info: PairInfo
    target: CachedSequence
    draft: CachedSequence | None
    prompt: Prompt
    registry: Registry
    watch: Callable[[], Callable[[], str]] = lambda: lambda: ""
    """As `DeviceFacts.watch`."""


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A request that passed every check, with its ids."""

    request: GenerationRequest
    prompt_ids: tuple[int, ...]
    submitted_ns: int


class Engine:
    """Loads pairs and runs requests; knows no thread and no screen."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        threads: int | None = None,
        device: str | None = None,
        may_compile: bool = False,
    ) -> None:
        """`may_compile`: graphs that a device needs and nobody prepared are compiled while loading, in processes forked from
        this one. Never with a window."""
        self._may_compile = may_compile
        self._clock = clock or MonotonicClock()
        self._threads = threads
        self._device = device
        self._pair: LoadedPair | None = None
        self._policies: dict[tuple[str, str], WindowPolicy] = {}
        self._governor = ThreadGovernor(1, torch.set_num_threads)

    @property
    def pair(self) -> LoadedPair:
        """Raises `EngineNotReady` before the first load."""
        if self._pair is None:
            raise EngineNotReady("No model pair is loaded yet.", remedy="Wait until loading has finished.")
        return self._pair

    @property
    def compute_threads(self) -> int:
        """How many compute at present, the engine's own among them."""
        return torch.get_num_threads()

    def load(self, location: PairLocation, on_progress: Callable[[LoadProgress], None]) -> PairInfo:
        """Replaces the pair before only when the new one is whole. Raises `ModelError`."""
        device = self._device or default_device() if location.neuron is None else NEURON
        if device != NEURON:
            require_device(device)

        def tell(role: str, share: float, words: str) -> None:
            begin, end = LOADING[role]
            on_progress(LoadProgress(begin + (end - begin) * share, f"Loading the {role}: {words}"))

        builtin = builtin_backend(location.neuron, may_compile=self._may_compile, tell=tell)
        facts = builtin.facts or device_facts(device)
        threads = self._threads or default_threads()
        if device == NEURON and not facts.simulated:
            threads = min(threads, NEURON_HOST_THREADS)
        torch.set_num_threads(threads)
        # Whoever named a number of threads gets that number.
        governed = self._threads is None and device == "cpu"
        self._governor = ThreadGovernor(threads if governed else 1, torch.set_num_threads)
        on_progress(LoadProgress(0.05, "Reading the tokenizer"))
        target_files = read_checkpoint(location.target)
        draft_files = read_checkpoint(location.draft) if location.draft is not None else None
        # Plugins are imported here and not before: on the engine thread, with the window long on the screen.
        backends = BackendChooser(discover(), device, builtin)
        for files in (target_files, draft_files):
            if files is not None:
                # Before the tokenizer: transformers reads config.json for it too, and says less about what is wrong there.
                backends.check(files)
        prompt = Prompt.load(location.target, target_files.eos_ids())
        if draft_files is not None and location.draft is not None and not same_tokenizer(location):
            require_same_vocabulary(prompt.vocabulary(), Prompt.load(location.draft, ()).vocabulary())
        backends.require(target_files, "target")
        if draft_files is not None:  # now: cores that hold a target cannot be given back
            backends.require(draft_files, "draft")
        on_progress(LoadProgress(LOADING["target"][0], "Loading the target"))
        target = backends.load(target_files, role="target", weights=location.target_weights)
        draft: CausalModel | None = None
        if draft_files is not None:
            on_progress(LoadProgress(LOADING["draft"][0], "Loading the draft"))
            draft = backends.load(draft_files, role="draft", weights=location.draft_weights)
            require_all_ids(prompt, target, draft)
        bandwidth = measure_bandwidth(threads, device) if device != NEURON else 0.0
        self._pair = assemble(
            location, target, draft, prompt, facts, bandwidth=bandwidth, registry=backends.registry
        )
        self._policies.clear()
        on_progress(LoadProgress(1.0, "Ready"))
        return self._pair.info

    def prepare(self, request: GenerationRequest) -> PreparedRun:
        """Template and check a request. Raises `RequestError`; nothing is computed yet and no cache is touched."""
        submitted_ns = self._clock.now_ns()
        pair = self.pair
        chosen(pair.registry.acceptors, "acceptor", request.acceptor)
        chosen(pair.registry.drafters, "drafter", request.drafter)
        chosen(pair.registry.policies, "policy", request.policy)
        ids = pair.prompt.encode(request.messages)
        if not ids:
            raise EmptyPrompt("There is nothing to send: the prompt has no tokens.")
        if max(ids) >= pair.info.environment.vocabulary:
            piece = pair.prompt.piece(max(ids))
            raise InvalidSetting(
                "messages", f"The model has no embedding for {piece!r}, which its tokenizer gives."
            )
        limit = pair.info.capabilities.context_limit - 1
        if len(ids) > limit:
            raise ContextOverflow(len(ids), limit)
        return PreparedRun(request, tuple(ids), submitted_ns)

    def run(self, prepared: PreparedRun, control: Control) -> Iterator[RunEvent]:
        """The events of one reply."""
        pair, request = self.pair, prepared.request
        streams = Streams(request.sampling.seed)
        acceptors = RunAcceptors(streams, greedy=request.sampling.greedy, parts=pair.registry.acceptors)
        acceptor = acceptors(control.acceptor)
        processor = Processor(request.sampling, len(prepared.prompt_ids))
        drafter = self._drafter(request.drafter, processor, acceptors)
        started = RunStarted(
            run_id=str(uuid.uuid4()),
            started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            request=request,
            acceptor=acceptor.name,
            lossless=acceptor.lossless,
            environment=replace(pair.info.environment, threads=torch.get_num_threads()),
            prompt_tokens=len(prepared.prompt_ids),
            drafter=request.drafter if drafter is not None else "none",
            policy=request.policy,
        )
        draft = pair.draft
        return SpeculativeRun(
            started=started,
            prompt_ids=prepared.prompt_ids,
            parts=Parts(
                target=pair.target,
                drafter=drafter,
                acceptor=acceptors,
                policy=lambda name: self._policy(name, request.drafter),
                processor=processor,
                text=Text(pair.prompt.decode, pair.prompt.piece, pair.prompt.eos_ids),
                clock=self._clock,
                draft_cached=(lambda: draft.length) if draft is not None else (lambda: 0),
                fused=self._fused(request.sampling, streams, drafter),
                after_step=self._watch_threads,
                troubles=self._policy_troubles,
                remark=pair.watch(),
            ),
            control=control,
            submitted_ns=prepared.submitted_ns,
        ).events()

    def _watch_threads(self, outcome: StepOutcome) -> str | None:
        return self._governor.observe(outcome.window, outcome.verify_ns)

    def _drafter(self, name: str, processor: Processor, acceptors: RunAcceptors) -> Drafter | None:
        """None where nobody is to propose, or the drafter needs a draft model and the pair has none."""
        pair, part = self.pair, self.pair.registry.drafters[name]
        if part.needs_draft and pair.draft is None:
            return None
        vocabulary = pair.info.environment.vocabulary
        return part.make(
            DraftingContext(pair.draft, processor, acceptors.current, pair.prompt.eos_ids, vocabulary)
        )

    def _fused(
        self, settings: SamplingSettings, streams: Streams, drafter: Drafter | None
    ) -> FusedWindow | None:
        """None where a target cannot do it, or somebody else than the draft model proposes."""
        pair, proposed = self.pair, isinstance(drafter, ModelDrafter)
        model = pair.target.model
        if not isinstance(model, FusingModel) or not (drafter is None or proposed):
            return None
        draft = pair.draft if proposed else None
        ends, vocabulary = pair.prompt.eos_ids, pair.info.environment.vocabulary
        return model.fuse(FusingContext(pair.target, draft, settings, streams, ends, vocabulary))

    def _policy(self, name: str, drafter: str) -> WindowPolicy:
        """One instance per policy and drafter for as long as the pair is loaded: what it learnt serves the next reply. A name
        that is not known, in mid-run, means `fixed`."""
        policies = self.pair.registry.policies
        part = policies.get(name) or policies["fixed"]
        if (name, drafter) not in self._policies:
            self._policies[name, drafter] = part.make()
        return self._policies[name, drafter]

    def _policy_troubles(self) -> list[str]:
        guarded = [policy for policy in self._policies.values() if isinstance(policy, GuardedPolicy)]
        return [trouble for policy in guarded for trouble in policy.take_troubles()]

    def forget(self) -> None:
        """Drop all KV (a benchmark's cold start)."""
        self.pair.target.rewind(0)
        if self.pair.draft is not None:
            self.pair.draft.rewind(0)


def assemble(
    location: PairLocation,
    target: CausalModel,
    draft: CausalModel | None,
    prompt: Prompt,
    device: str | DeviceFacts,
    *,
    bandwidth: float = 0.0,
    registry: Registry | None = None,
) -> LoadedPair:
    """A pair from its parts. Where one side's logits are padded to more ids than the other's, both are cut to the shared
    ones: no tokenizer gives the rest. `device` as torch names it, or what else is to be said of it. `registry` None: the
    built-in parts."""
    facts = device if isinstance(device, DeviceFacts) else device_facts(device)
    vocabulary = target.vocabulary if draft is None else min(target.vocabulary, draft.vocabulary)
    environment = Environment(
        backend=backend_name(target),
        device=facts.words,
        threads=torch.get_num_threads(),
        target=target.info,
        draft=draft.info if draft is not None else None,
        context_limit=target.context_limit,
        vocabulary=vocabulary,
        versions=(
            ("chatapp", __version__),
            ("python", platform.python_version()),
            *package_versions(),
            *facts.versions,
        ),
        platform=platform.platform(),
        simulated=facts.simulated,
        bandwidth=bandwidth,
    )
    long_rows.prepare(vocabulary)
    arithmetic.fastest()
    target_sequence = CachedSequence(target, vocabulary)
    draft_sequence = CachedSequence(draft, vocabulary) if draft is not None else None
    registry = (registry or Registry()).with_drafters_tried(
        trial_context(draft_sequence, prompt.eos_ids, vocabulary)
    )
    capabilities = EngineCapabilities(
        windows=tuple(range(1, MAX_WINDOW + 1)),
        acceptors=tuple((part.name, part.lossless, part.description) for part in registry.acceptors.values()),
        context_limit=target.context_limit,
        can_speculate=True,  # where there is no draft model, the look-up needs none
        drafters=tuple(
            (part.name, part.description)
            for part in registry.drafters.values()
            if draft is not None or not part.needs_draft
        ),
        policies=tuple((part.name, part.description) for part in registry.policies.values()),
        plugin_errors=registry.errors,
        compiled_windows=compiled_windows(target),
    )
    info = PairInfo(location, environment, capabilities)
    return LoadedPair(info, target_sequence, draft_sequence, prompt, registry, facts.watch)


def compiled_windows(target: CausalModel) -> tuple[int, ...]:
    """Those that a verify pass of the slider's k can run in; none where every k has a cost of its own."""
    if not isinstance(target, ChunkingModel):
        return ()
    holding = [window for window in target.compiled_windows if window >= MAX_WINDOW]
    return (*(window for window in target.compiled_windows if window < MAX_WINDOW), *holding[:1])


def backend_name(model: CausalModel) -> str:
    """What the model calls its backend, or else the module that it comes from."""
    return str(getattr(model, "backend", type(model).__module__.rpartition(".")[2]))


def trial_context(draft: CachedSequence | None, ends: frozenset[int], vocabulary: int) -> DraftingContext:
    """What a stranger's drafter is made with once, to see that it can be."""
    acceptors = RunAcceptors(Streams(0), greedy=False)
    acceptors("rejection")
    return DraftingContext(draft, Processor(SamplingSettings()), acceptors.current, ends, vocabulary)


def require_all_ids(prompt: Prompt, target: CausalModel, draft: CausalModel) -> None:
    """Logits are cut to the ids that both sides have: a draft must have every id of the tokenizer that its target has.
    Raises `VocabularyMismatch`."""
    names = prompt.vocabulary()
    lacking = sorted((id, token) for token, id in names.items() if draft.vocabulary <= id < target.vocabulary)
    if lacking:
        raise VocabularyMismatch(
            f"The draft has {draft.vocabulary:,} ids and lacks {len(lacking):,} that the tokenizer gives and the target "
            f"has, the first is {lacking[0][1]!r} ({lacking[0][0]}).",
            tuple((token, id, -1) for id, token in lacking[:5]),
            remedy="Choose a draft of the same family, or open the target without a draft.",
        )


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
)


def same_tokenizer(location: PairLocation) -> bool:
    """Whether both sides ship the same tokenizer files to the byte: then there is nothing to compare."""
    if location.draft is None:
        return True
    try:
        return all(
            _bytes(location.target / name) == _bytes(location.draft / name) for name in TOKENIZER_FILES
        )
    except OSError:
        return False


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def package_versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in NAMED_PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
