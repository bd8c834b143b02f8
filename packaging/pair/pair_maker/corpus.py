"""The training corpus: kinds of text drawn by weight, encoded and packed into shards.

A shard is a pure function of its number and of the generator's sources, so text never repeats while training
goes on, and a changed source shows.  It must not know models or training.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pair_maker.chat import ChatEncoder
from pair_maker.drill import drill, share
from pair_maker.kinds import KINDS, Kind
from pair_maker.sample import Sample

SEED = 20_240_229
SHARD_CONVERSATIONS = 20_000
TOKENIZER_CONVERSATIONS = 24_000
LONGEST = 640


def draw(seed: int, count: int, held_out: bool, kinds: Sequence[Kind] = KINDS) -> Iterator[Sample]:
    """``count`` conversations, kinds chosen by weight."""
    rng = random.Random(seed)
    weights = [kind.WEIGHT for kind in kinds]
    for kind in rng.choices(kinds, weights, k=count):
        yield kind.sample(rng, held_out)


def tokenizer_texts() -> Iterator[str]:
    """What the tokenizer is trained on."""
    for sample in draw(SEED, TOKENIZER_CONVERSATIONS, held_out=False):
        for _, text in sample.messages:
            yield text


def fingerprint(tokenizer_file: Path) -> str:
    """Changes when a generator's source, the weights of the kinds or the tokenizer change."""
    digest = hashlib.sha256(tokenizer_file.read_bytes())
    here = Path(__file__).parent
    for source in (here / "drill.py", *sorted((here / "kinds").glob("*.py"))):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Shard:
    """Encoded conversations end to end; conversation i is ``ids[starts[i]:starts[i + 1]]``."""

    ids: NDArray[np.uint16]
    spoken: NDArray[np.bool_]
    starts: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    made_from: str

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def save(self, path: Path) -> None:
        """Write whole or not at all."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, ids=self.ids, spoken=self.spoken, starts=self.starts, kinds=self.kinds,
                     made_from=np.array(self.made_from))
        os.replace(part, path)

    @staticmethod
    def load(path: Path) -> Shard:
        with np.load(path) as arrays:
            return Shard(arrays["ids"], arrays["spoken"], arrays["starts"], arrays["kinds"],
                         str(arrays["made_from"]))


def pack(samples: Iterator[Sample], encoder: ChatEncoder, made_from: str) -> Shard:
    """Encode ``samples``; those longer than ``LONGEST`` tokens are left out."""
    numbers = {kind.KIND: number for number, kind in enumerate(KINDS)}
    ids: list[int] = []
    spoken: list[bool] = []
    starts, kinds = [0], []
    for sample in samples:
        encoded = encoder.conversation(sample.messages)
        if len(encoded.ids) > LONGEST:
            continue
        ids += encoded.ids
        spoken += encoded.spoken
        starts.append(len(ids))
        kinds.append(numbers[sample.kind])
    return Shard(np.array(ids, np.uint16), np.array(spoken, np.bool_), np.array(starts, np.int64),
                 np.array(kinds, np.uint8), made_from)


def joined(first: Shard, second: Shard) -> Shard:
    """Both shards' conversations as one shard."""
    return Shard(
        np.concatenate((first.ids, second.ids)),
        np.concatenate((first.spoken, second.spoken)),
        np.concatenate((first.starts, second.starts[1:] + first.starts[-1])),
        np.concatenate((first.kinds, second.kinds)),
        first.made_from,
    )


def with_drills(samples: Iterator[Sample], portion: float, seed: int) -> Iterator[Sample]:
    """``samples``, a ``portion`` of them replaced by drills."""
    rng = random.Random(f"drill {seed}")
    for sample in samples:
        yield drill(rng) if rng.random() < portion else sample


class Corpus:
    """Shards by number, made when first asked for and kept on disk."""

    def __init__(self, directory: Path, encoder: ChatEncoder, made_from: str,
                 conversations: int = SHARD_CONVERSATIONS) -> None:
        self.made_from = made_from
        self._directory, self._encoder, self._conversations = directory, encoder, conversations
        directory.mkdir(parents=True, exist_ok=True)

    def shard(self, number: int) -> Shard:
        """Shard ``number``; one that other sources made is made anew."""
        path = self._directory / f"shard-{number:03}.npz"
        if path.exists():
            shard = Shard.load(path)
            if shard.made_from == self.made_from:
                return shard
        samples = draw(SEED + 1 + number, self._conversations, held_out=False)
        shard = pack(with_drills(samples, share(number), number), self._encoder, self.made_from)
        shard.save(path)
        return shard
