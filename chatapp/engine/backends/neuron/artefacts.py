"""Prepared graphs on disk: one folder per side of a pair, under the key of its recipe, whole or not there at all.

    ROOT/<20 digits of the key>/    manifest.json and the library's files; is there only once everything is
    ROOT/<…>.partial/               what is being prepared; a later attempt goes on from it
    ROOT/<…>.lock                   held by the process that prepares it
    ROOT/compiler-cache/            the compiler's own cache: graphs that were compiled before the rest was stopped
    ROOT/durations.json             how long graphs took, for estimates

A manifest is written last, into the partial folder, and the folder renamed in one step: no reader ever sees half a set.
Must not know a library, how graphs are made, or a screen; must not import torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chatapp.domain.errors import ArtefactsDamaged, BeingPrepared, ModelNotFound, NotPrepared
from chatapp.domain.preparation import counted
from chatapp.engine.backends.neuron.recipe import Difference, Recipe, Role

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
FOLDER_DIGITS = 20
PARTIAL = ".partial"
OUTGOING = ".outgoing"
LOCK = ".lock"
GRAPH = ".neff"
COMPILER_CACHE = "compiler-cache"
DURATIONS = "durations.json"
HASH_WHOLE_UP_TO = 256 << 20
"""Bytes. Of larger files (sharded weights of tens of gigabytes) the size and both ends are hashed, marked `ends:`."""
END_BYTES = 1 << 20
NAMED_DIFFERENCES = 3
KEY = re.compile(r"[0-9a-fA-F]{4,64}")
"""What a person gives of one. Nothing else may become part of a path, least of all of one that is removed."""
SHOWN_BY = "`chatapp prepare --list` shows the keys."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a prepared set is. `files` are `(name, bytes, hash)`; `seconds` is the time that its last attempt took."""

    key: str
    model: str
    role: Role
    simulated: bool
    made_at: str
    chatapp: str
    graphs: int
    seconds: float
    facts: Mapping[str, str]
    files: tuple[tuple[str, int, str], ...]

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self.files)


def default_root() -> Path:
    """`chatapp/neuron` in the person's data folder (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".local" / "share"
    return base / "chatapp" / "neuron"


class ArtefactStore:
    """The prepared sets under `root`, None for the usual place. Nothing is made on disk before `begun`."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    @property
    def compiler_cache(self) -> Path:
        """For `NEURON_COMPILE_CACHE_URL`, while a set is prepared."""
        return self.root / COMPILER_CACHE

    @property
    def durations(self) -> Path:
        return self.root / DURATIONS

    def folder(self, recipe: Recipe) -> Path:
        """Where the finished set lies, or will."""
        return self.root / recipe.key[:FOLDER_DIGITS]

    # Looking

    def find(self, recipe: Recipe) -> Path | None:
        """The folder of the finished set with every file checked, None when it was never prepared.

        Raises `ArtefactsDamaged` when it was, and is not what it was.
        """
        folder = self.folder(recipe)
        if not folder.is_dir():
            return None
        wrong = _trouble(folder, recipe.key)
        if wrong:
            raise ArtefactsDamaged(
                f"The graphs prepared for {recipe.model} ({recipe.role}) are damaged: {wrong}",
                remedy="Prepare the pair again; what is whole in the compiler's cache is not compiled twice.",
            )
        return folder

    def require(self, recipe: Recipe) -> Path:
        """As `find`. Raises `NotPrepared`, which names what differs from the nearest prepared set."""
        found = self.find(recipe)
        if found is not None:
            return found
        near = self.nearest(recipe)
        what = f"{recipe.model} ({recipe.role}) is not prepared for this device"
        kept = self._kept(recipe)
        if near is None:
            raise NotPrepared(
                f"{what}.", kept=kept, remedy="Prepare the pair first: its graphs must be compiled once."
            )
        raise NotPrepared(
            f"{what} as it is to run; the nearest prepared set differs in {named(near[1])}.",
            kept=kept,
            remedy="Prepare the pair as it is to run, or ask for what is prepared (`chatapp prepare --list`).",
            differences=tuple(map(str, near[1])),
        )

    def _kept(self, recipe: Recipe) -> str:
        """What an attempt that was not finished left of this very set."""
        graphs = sum(1 for _ in self.folder(recipe).with_suffix(PARTIAL).glob(f"*{GRAPH}"))
        return (
            f"Of an earlier attempt {counted(graphs, 'graph')} {'is' if graphs == 1 else 'are'} kept."
            if graphs
            else ""
        )

    def nearest(self, recipe: Recipe) -> tuple[Manifest, tuple[Difference, ...]] | None:
        """The finished set of the same weights and side with the fewest differences, None when there is none."""
        weights = dict(recipe.facts)["weights"]
        near = [
            (manifest, recipe.differences(manifest.facts))
            for manifest in self.manifests()
            if manifest.role == recipe.role and manifest.facts.get("weights") == weights
        ]
        return min(near, key=lambda one: len(one[1]), default=None)

    def manifests(self) -> list[Manifest]:
        """Every finished set, oldest first, target before draft; folders whose manifest cannot be read are passed over."""
        try:
            folders = [path for path in self.root.iterdir() if path.is_dir() and not path.suffix]
        except OSError:
            return []
        found = [manifest for folder in folders if (manifest := read_manifest(folder)) is not None]
        return sorted(found, key=lambda manifest: (manifest.made_at, manifest.role == "draft"))

    def unfinished(self) -> list[Path]:
        """Partial folders, of attempts that were stopped or still run."""
        try:
            return sorted(self.root.glob(f"*{PARTIAL}"))
        except OSError:
            return []

    # Making

    @contextmanager
    def begun(self, recipe: Recipe) -> Iterator[Path]:
        """The folder to put the set's files into, with what an earlier attempt left there, for as long as the lock is held.
        `finish` makes it a set. Raises `BeingPrepared`, or `OSError` where nothing can be written."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = self.folder(recipe)
        lock = FileLock(folder.with_suffix(LOCK))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BeingPrepared(
                f"{recipe.model} ({recipe.role}) is being prepared by another process.",
                kept="That one goes on.",
                remedy="Wait until it has finished, or stop it.",
            ) from None
        try:
            partial = folder.with_suffix(PARTIAL)
            partial.mkdir(exist_ok=True)
            yield partial
        finally:
            lock.release()

    def salvage(self, recipe: Recipe) -> None:
        """Take what is whole of a damaged set into the partial folder; the caller is inside `begun`."""
        folder = self.folder(recipe)
        manifest = read_manifest(folder)
        partial = folder.with_suffix(PARTIAL)
        for name, size, digest in manifest.files if manifest is not None else ():
            path, kept = folder / name, partial / name
            if not kept.exists() and _is_whole(path, size, digest):
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, kept)

    def finish(self, recipe: Recipe, *, graphs: int, seconds: float, version: str) -> Path:
        """Turn the partial folder into the finished set, in place of a damaged one; the caller is inside `begun`."""
        folder = self.folder(recipe)
        partial = folder.with_suffix(PARTIAL)
        manifest = Manifest(
            key=recipe.key,
            model=recipe.model,
            role=recipe.role,
            simulated=recipe.simulated,
            made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            chatapp=version,
            graphs=graphs,
            seconds=round(seconds, 1),
            facts=dict(recipe.facts),
            files=_measured(partial),
        )
        _write_manifest(partial / MANIFEST, manifest)
        if folder.exists():
            outgoing = folder.with_suffix(OUTGOING)
            shutil.rmtree(outgoing, ignore_errors=True)
            folder.rename(outgoing)
            shutil.rmtree(outgoing, ignore_errors=True)
        partial.rename(folder)
        return folder

    def remove(self, key: str) -> list[str]:
        """Remove the finished set whose key begins with `key` (4 digits at least), and what is unfinished of it; returns the
        folders' names. Raises `ModelNotFound` when there is none or more than one, or `BeingPrepared`."""
        if KEY.fullmatch(key) is None:
            raise ModelNotFound(
                f"{key!r} is no key, or too little of one.",
                remedy=f"Give at least 4 of its digits. {SHOWN_BY}",
            )
        wanted = key.lower()[:FOLDER_DIGITS]
        found = [path for path in sorted(self.root.glob(f"{wanted}*")) if path.is_dir()]
        if not found:
            raise ModelNotFound(f"Nothing is prepared under the key {key} in {self.root}.", remedy=SHOWN_BY)
        if len({path.stem for path in found}) > 1:
            raise ModelNotFound(
                f"The key {key} fits several sets: {', '.join(path.name for path in found)}.",
                kept="Nothing was removed.",
                remedy="Give more of its digits.",
            )
        for folder in found:
            lock = FileLock(folder.with_suffix(LOCK))
            try:
                with lock.acquire(timeout=0):
                    shutil.rmtree(folder)
            except Timeout:
                raise BeingPrepared(
                    f"{folder.name} is being prepared by another process.", remedy="Stop that one first."
                ) from None
            folder.with_suffix(LOCK).unlink(missing_ok=True)
        return [folder.name for folder in found]


def named(differences: Sequence[Difference]) -> str:
    """The first few, for one sentence."""
    shown = "; ".join(map(str, differences[:NAMED_DIFFERENCES]))
    more = len(differences) - NAMED_DIFFERENCES
    return f"{shown}; and {more} more" if more > 0 else shown


def read_manifest(folder: Path) -> Manifest | None:
    """None when there is none, or it is not one of ours."""
    try:
        read = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return _manifest(read)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _manifest(read: dict[str, Any]) -> Manifest:
    if read["manifest"] != MANIFEST_VERSION:
        raise ValueError("another version")
    return Manifest(
        key=str(read["key"]),
        model=str(read["model"]),
        role="draft" if read["role"] == "draft" else "target",
        simulated=bool(read["simulated"]),
        made_at=str(read["made_at"]),
        chatapp=str(read["chatapp"]),
        graphs=int(read["graphs"]),
        seconds=float(read["seconds"]),
        facts={str(name): str(value) for name, value in read["facts"].items()},
        files=tuple((str(name), int(size), str(digest)) for name, size, digest in read["files"]),
    )


def _write_manifest(path: Path, manifest: Manifest) -> None:
    text = json.dumps({"manifest": MANIFEST_VERSION, **asdict(manifest)}, indent=1, ensure_ascii=False)
    with path.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())  # a rename that survives a power cut must not name an empty file


def _trouble(folder: Path, key: str) -> str:
    """What is wrong with a finished set, "" when nothing is."""
    manifest = read_manifest(folder)
    if manifest is None:
        return f"its {MANIFEST} cannot be read."
    if manifest.key != key:
        return f"its {MANIFEST} is of another set."
    for name, size, digest in manifest.files:
        if not _is_whole(folder / name, size, digest):
            return f"{name} is not the file that was written."
    return ""


def _is_whole(path: Path, size: int, digest: str) -> bool:
    try:
        return path.stat().st_size == size and _hash(path) == digest
    except OSError:
        return False


def _measured(folder: Path) -> tuple[tuple[str, int, str], ...]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return tuple((path.relative_to(folder).as_posix(), path.stat().st_size, _hash(path)) for path in paths)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= HASH_WHOLE_UP_TO:
            for block in iter(lambda: file.read(END_BYTES), b""):
                digest.update(block)
            return digest.hexdigest()
        digest.update(file.read(END_BYTES))
        file.seek(-END_BYTES, os.SEEK_END)
        digest.update(file.read(END_BYTES))
    return f"ends:{digest.hexdigest()}"
