"""Every error a person can meet, as one tree.

An error says three things: what happened, what was kept, and what to do. Layers raise these at their edges; the window
shows `what`, `kept` and `remedy` and never a traceback. This module must not know who raises or who shows.

    ChatappError
    ├── ModelError        ModelNotFound · NotAModel · WeightsDamaged · UnsupportedModel · VocabularyMismatch · LoadFailed
    │                     NotPrepared ── ArtefactsDamaged · BeingPrepared · PrepareFailed
    │                     DeviceUnavailable · DeviceMemoryFull
    ├── RequestError      EmptyPrompt · ContextOverflow · InvalidSetting · EngineBusy · EngineNotReady
    ├── GenerationFailed
    ├── RecordError       NotARecord · NewerSchema · DamagedRecord
    ├── ExportFailed
    └── StoreError        StoreNewer · StoreFailed · StoreDamaged
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.domain.ports import PairLocation


class ChatappError(Exception):
    """Base of all errors shown to a person.

    `what` says what happened, `kept` what was not lost, `remedy` what to do now; the last two may be empty.
    """

    def __init__(self, what: str, *, kept: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.kept = kept
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.kept, self.remedy) if part)


class ModelError(ChatappError):
    """A model or a pair of models cannot be used."""


class ModelNotFound(ModelError):
    """The directory, or a file that it must hold, does not exist."""


class NotAModel(ModelError):
    """The directory exists and holds no Hugging Face model."""


class WeightsDamaged(ModelError):
    """A weight file is truncated, of the wrong shape, or holds values that are not finite."""


class UnsupportedModel(ModelError):
    """A valid model that this backend cannot run."""


class VocabularyMismatch(ModelError):
    """Target and draft do not give the same ids to the same tokens.

    `examples` holds up to five `(token, target_id, draft_id)`; an id is -1 where that side lacks the token.
    """

    def __init__(self, what: str, examples: tuple[tuple[str, int, int], ...], *, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.examples = examples


class LoadFailed(ModelError):
    """Loading broke for a reason that is none of the above; `what` carries the library's own words."""


class NotPrepared(ModelError):
    """A pair for NeuronCores whose graphs were not compiled ahead, as it is to run; the window offers to prepare it.

    `differences` says in plain words in what the nearest prepared set differs. `location` is the pair, None where who raises
    does not know it.
    """

    def __init__(
        self,
        what: str,
        *,
        kept: str = "",
        remedy: str = "",
        differences: tuple[str, ...] = (),
        location: PairLocation | None = None,
    ) -> None:
        super().__init__(what, kept=kept, remedy=remedy)
        self.differences = differences
        self.location = location


class ArtefactsDamaged(NotPrepared):
    """A pair's compiled graphs are there and are not what was written; preparing mends them."""


class BeingPrepared(ModelError):
    """Another process is preparing the same graphs."""


class PrepareFailed(ModelError):
    """Compiling a pair's graphs ahead broke off; finished graphs are kept."""


class DeviceUnavailable(ModelError):
    """The device that a pair is to run on cannot be used as it is: no driver, too few cores, held by another process, or
    its library is missing or the wrong one."""


class DeviceMemoryFull(ModelError):
    """The pair does not fit into the device's memory. `breakdown` is what one core holds, `(what, bytes)`, as far as the
    runtime told."""

    def __init__(
        self, what: str, *, kept: str = "", remedy: str = "", breakdown: tuple[tuple[str, int], ...] = ()
    ) -> None:
        super().__init__(what, kept=kept, remedy=remedy)
        self.breakdown = breakdown


class RequestError(ChatappError):
    """A request was refused before anything was generated."""


class EmptyPrompt(RequestError):
    """Nothing but white space was to be sent."""


class ContextOverflow(RequestError):
    """The templated conversation leaves no room for a reply.

    `prompt_tokens` is its length, `limit_tokens` the longest that fits; both in tokens.
    """

    def __init__(self, prompt_tokens: int, limit_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.limit_tokens = limit_tokens
        self.excess_tokens = prompt_tokens - limit_tokens
        super().__init__(
            f"The conversation is {prompt_tokens:,} tokens long, {self.excess_tokens:,} more than the "
            f"{limit_tokens:,} that this model can take.",
            kept="Your text is still in the box.",
            remedy="Shorten it, or start a new chat (Ctrl+N).",
        )


class InvalidSetting(RequestError):
    """A setting is outside its range; `field` names it."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


class EngineBusy(RequestError):
    """A reply is still running."""


class EngineNotReady(RequestError):
    """No pair is loaded yet."""


class GenerationFailed(ChatappError):
    """The target failed while a reply was running. What was generated before stays in the record."""


class RecordError(ChatappError):
    """A file cannot be read back as a conversation."""


class NotARecord(RecordError):
    """The file is not one of ours."""


class NewerSchema(RecordError):
    """The file was written by a later version; `found` and `known` are schema versions."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"This file uses schema version {found}; this version of chatapp reads up to {known}.",
            remedy="Open it with a newer chatapp.",
        )


class DamagedRecord(RecordError):
    """The file claims to be ours and breaks the schema; `path` names the place inside it."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(what)
        self.path = path


class ExportFailed(ChatappError):
    """The export could not be written; nothing was changed at the destination."""


class StoreError(ChatappError):
    """Conversations cannot be kept on disk. The window goes on without."""


class StoreNewer(StoreError):
    """A later version of the application wrote the database; it is left as it is."""


class StoreFailed(StoreError):
    """The database cannot be opened or written: disk full, no rights, locked by another program."""


class StoreDamaged(StoreError):
    """The database, or a part of it, cannot be read; the file is kept aside."""
