"""Everything that decides the graphs of one side of a pair, in plain words, and the key that follows from it.

The libraries load compiled graphs by the hash of their HLO alone and look neither at compiler nor at flags (transformers_neuronx
0.13, base.py and compiler.py); a recipe names those too. Must not know where artefacts lie, and must not import torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from chatapp import __version__
from chatapp.domain.errors import PrepareFailed
from chatapp.domain.neuron import NeuronSettings

if TYPE_CHECKING:
    from chatapp.engine.backends.checkpoint import Checkpoint

Role = Literal["target", "draft"]
ROLES: tuple[Role, ...] = ("target", "draft")
RECIPE_VERSION = "1"
"""Raised when chatapp itself begins to build other graphs from the same arguments."""
LIBRARY_PACKAGES = {"tnx": "transformers-neuronx", "nxdi": "neuronx-distributed-inference"}
SHARED_PACKAGES = ("torch-neuronx", "neuronx-cc", "transformers")
"""torch-neuronx lowers the graphs, neuronx-cc compiles them, and transformers reads config.json."""
FLAGS_VARIABLE = "NEURON_CC_FLAGS"
FLAGS_WITHOUT_EFFECT = ("--retry_failed_compilation", "--cache_dir")
"""Of the compiler's cache, not of what it compiles (AWS Neuron documentation, "Neuron Persistent Cache")."""
CONFIG_WITHOUT_EFFECT = ("_name_or_path", "transformers_version")
LIBRARY = "library"
CORES = "NeuronCores (tp)"
SHOWN_CHARS = 60
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact in which a prepared set differs from what is asked for."""

    fact: str
    prepared: str
    asked: str

    def __str__(self) -> str:
        return f"{self.fact}: {_shown(self.prepared)} prepared, {_shown(self.asked)} asked for"


@dataclass(frozen=True, slots=True)
class Recipe:
    """`model` is the directory's name, for people, and no part of the key; `facts` are `(name, value)` in plain words."""

    model: str
    role: Role
    facts: tuple[tuple[str, str], ...]
    simulated: bool = False

    @property
    def key(self) -> str:
        """64 hexadecimal digits."""
        text = json.dumps(dict(self.facts), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, prepared: Mapping[str, str]) -> tuple[Difference, ...]:
        """What differs from the facts of a prepared set, in this recipe's order."""
        asked = dict(self.facts)
        names = [*asked, *(name for name in prepared if name not in asked)]
        pairs = [(name, prepared.get(name, NOTHING), asked.get(name, NOTHING)) for name in names]
        return tuple(Difference(*pair) for pair in pairs if pair[1] != pair[2])


def make_recipe(
    checkpoint: Checkpoint,
    settings: NeuronSettings,
    role: Role,
    *,
    options: Mapping[str, object] | None = None,
    flags: str | None = None,
) -> Recipe:
    """The recipe of one side. `settings` are as the launch plan resolved them: `library` tnx or nxdi, and `tp_degree` above 0.
    `options` are further arguments of the library that the adapter chose (`attention_layout`, ...).
    `flags` are the compiler's, None for those of the environment. Reads the weight files to hash them.

    Raises `ValueError` for settings that are not resolved, `PrepareFailed` for flags that no shell could read, and what `Checkpoint.weights_sha256` raises.
    """
    if settings.library not in LIBRARY_PACKAGES or settings.tp_degree < 1:
        raise ValueError(f"settings are not resolved: {settings}")
    simulated = bool(settings.rehearse)
    flags = os.environ.get(FLAGS_VARIABLE, "") if flags is None else flags
    facts = {
        "recipe": RECIPE_VERSION,
        "role": role,
        LIBRARY: LIBRARY_PACKAGES[settings.library],
        "device": "simulated" if simulated else "NeuronCores",
        "weights": checkpoint.weights_sha256(),
        CORES: str(settings.tp_degree),
        "context (positions)": str(settings.positions),
        "token buckets": _numbers(settings.all_token_buckets),
        "context buckets": _numbers(settings.all_context_buckets),
        "windows": _numbers(settings.windows if role == "target" else settings.draft_windows),
        "dtype": settings.dtype,
        **{f"option {name}": str(value) for name, value in sorted((options or {}).items())},
        **dict(neuron_versions(settings.library, simulated=simulated)),
        "compiler flags": _deciding_flags(flags),
        **{
            f"config.json: {name}": json.dumps(value, sort_keys=True)
            for name, value in sorted(checkpoint.config.items())
            if name not in CONFIG_WITHOUT_EFFECT
        },
    }
    return Recipe(checkpoint.name, role, tuple(facts.items()), simulated)


def neuron_versions(library: str, *, simulated: bool) -> tuple[tuple[str, str], ...]:
    """`(package, version)` of what traces and compiles; on the simulated device that is chatapp itself."""
    if simulated:
        return (("chatapp's simulated device", __version__),)
    names = (LIBRARY_PACKAGES[library], *SHARED_PACKAGES)
    return tuple((name, _version(name)) for name in names)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, values)) or "none"


def _deciding_flags(flags: str) -> str:
    """Without those that only steer the cache; in their order, which may matter to the compiler."""
    kept: list[str] = []
    skip_value = False
    try:
        words = shlex.split(flags)
    except ValueError as error:
        raise PrepareFailed(
            f"{FLAGS_VARIABLE} cannot be read ({error}): {flags}", remedy="Close its quotation marks."
        ) from error
    for word in words:
        name, has_value, _ = word.partition("=")
        if skip_value and not word.startswith("-"):
            skip_value = False
            continue
        skip_value = name == "--cache_dir" and not has_value
        if name not in FLAGS_WITHOUT_EFFECT:
            kept.append(word)
    return shlex.join(kept) or "none"


def _shown(value: str) -> str:
    return value if len(value) <= SHOWN_CHARS else f"{value[:12]}…"
