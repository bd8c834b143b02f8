"""A decoder's pass as a whole (`passing`), or what stands between matrix products of others, and the arithmetic of long rows:
compiled for the processor at hand by numba.

As torch operators a layer is some forty small calls, which at batch 1 take longer than its products. Arguments are addresses and counts, which numba unpacks in a fraction of a microsecond. `act` is the type that
products take and give and `kv` the type of keys and values, `"float32"` or `"bfloat16"`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from chatapp.engine.backends.decoder.kernels.attention import CHUNK, TILE, attended, scratch_numbers
from chatapp.engine.backends.decoder.kernels.compiling import LANES, entry, stamp_of_sources
from chatapp.engine.backends.decoder.kernels.meeting import GIVEN_UP, MEETING_BYTES
from chatapp.engine.backends.decoder.kernels.nucleus import WORK_BYTES, nucleus
from chatapp.engine.backends.decoder.kernels.numbers import f32, u16
from chatapp.engine.backends.decoder.kernels.panels import STRIP
from chatapp.engine.backends.decoder.kernels.racing import raced, raced_among
from chatapp.engine.backends.decoder.kernels.rows import add_and_normalise, gated
from chatapp.engine.backends.decoder.kernels.vocabulary import massed, remaining, turned, weighed
from chatapp.engine.backends.decoder.kernels.whole import LAYER_NUMBERS, MODEL_NUMBERS, passed, scratch_bytes

__all__ = [
    "CHUNK",
    "GIVEN_UP",
    "LANES",
    "LAYER_NUMBERS",
    "MEETING_BYTES",
    "MODEL_NUMBERS",
    "STRIP",
    "TILE",
    "WORK_BYTES",
    "attending",
    "gating",
    "massing",
    "measuring",
    "narrowing",
    "normalising",
    "passing",
    "racing",
    "racing_among",
    "scratch_numbers",
    "subtracting",
    "turning",
    "weighing",
]

Kernel = Callable[..., None]
KINDS = {"float32": f32, "bfloat16": u16}


@lru_cache(maxsize=2)
def normalising(act: str) -> Kernel:
    """`(x, y, gain, h, rows, size, eps)`: x += y (address 0: nothing), h = x · gain / √(Σ x² + eps), by rows of `size`;
    `x` and `gain` are float32, `y` and `h` of `act`."""
    kind, stamp = KINDS[act], stamp_of_sources()

    @entry
    def normalise(x: int, y: int, gain: int, h: int, rows: int, size: int, eps: float) -> None:
        _ = stamp
        add_and_normalise(kind, kind, x, y, size, gain, h, rows, size, eps)

    return normalise


@lru_cache(maxsize=2)
def gating(act: str) -> Kernel:
    """`(gate_up, out, rows, size)`: silu(gate) · up, rows of `2 · size` to rows of `size`."""
    kind, stamp = KINDS[act], stamp_of_sources()

    @entry
    def gate(gate_up: int, out: int, rows: int, size: int) -> None:
        _ = stamp
        gated(kind, kind, gate_up, 2 * size, out, rows, size, 0, size)

    return gate


@lru_cache(maxsize=4)
def attending(act: str, kv: str) -> Kernel:
    """`(qkv, out, cache, tiles, turns, gain, scratch, start, rows, heads, kv_heads, size, eps, first, stop)`: rows `start`
    and on of a layer, for the key heads `first` … `stop`.

    `qkv` is `[rows, heads + 2 · kv_heads, size]` and `out` `[rows, heads, size]`, of `act`. `cache` is `[kv_heads, 2, tiles,
    padded · TILE]` of `kv`, keys `[size, TILE]` and values `[TILE, padded]` by tile, `padded` the next multiple of LANES; in
    bfloat16 keys `[size / 2, TILE, 2]` and values `[TILE / 2, padded, 2]`. `turns` are cosine and sine by position and
    pair, `gain` of queries and keys (address 0: none) with `eps` as in `normalising`, both float32. `scratch` has room for
    `attention.scratch_numbers(min(rows, CHUNK) · heads / kv_heads, size, start + rows)` float32.
    """
    kind, kv_kind, stamp = KINDS[act], KINDS[kv], stamp_of_sources()

    @entry
    def attend(
        qkv: int, out: int, cache: int, tiles: int, turns: int, gain: int, scratch: int, start: int, rows: int,
        heads: int, kv_heads: int, size: int, eps: float, first: int, stop: int,
    ) -> None:  # fmt: skip
        _ = stamp
        attended(
            kind, kind, kv_kind, qkv, out, cache, tiles, turns, gain, scratch, start, rows, (heads + 2 * kv_heads) * size,
            heads, kv_heads, size, eps, first, stop,
        )  # fmt: skip

    return attend


@lru_cache(maxsize=2)
def passing(kind: str) -> Kernel:
    """`(model, norm_eps, ids, count, start, rows, result, part, parts)`: positions `start` and on of a whole decoder, and of
    that the share of one of `parts` threads, all of which have to call it.

    `model` are `whole.MODEL_NUMBERS` int64, `ids` `count` int64. `result` is float32, `[rows, vocabulary]` in whole vectors,
    or `[rows, hidden]`. Embedding, matrices and KV (see `attending`) are of `kind`, matrices as in `panels.matrix_product`,
    gains float32 as in `normalising`, biases float32 in whole vectors. The scratch has the bytes that `measuring` gives.
    """
    number, stamp = KINDS[kind], stamp_of_sources()

    @entry
    def run_pass(
        model: int, norm_eps: float, ids: int, count: int, start: int, rows: int, result: int, part: int, parts: int,
    ) -> None:  # fmt: skip
        _ = stamp
        passed(number, model, norm_eps, ids, count, start, rows, result, part, parts)

    return run_pass


@lru_cache(maxsize=1)
def measuring() -> Callable[[int, int, int, int, int, int, int, int, int], int]:
    """`(kind_bytes, count, seen, parts, hidden, heads, kv_heads, size, inner)`: see `whole.scratch_bytes`. Kept on disk like the
    rest: compiling it takes a quarter of a second."""
    stamp = stamp_of_sources()

    @entry
    def measure(
        kind_bytes: int, count: int, seen: int, parts: int, hidden: int, heads: int, kv_heads: int, size: int, inner: int,
    ) -> int:  # fmt: skip
        _ = stamp
        return scratch_bytes(kind_bytes, count, seen, parts, hidden, heads, kv_heads, size, inner)

    return measure


@lru_cache(maxsize=1)
def weighing() -> Callable[[int, int, int, int, float, float], float]:
    """`(scores, out, sums, size, top, temperature)`: out = e^((scores − top) / temperature), 0 where that is below float32's
    range; gives the sum, and in `sums` that of every block. float32 both, sums float64."""
    stamp = stamp_of_sources()

    @entry
    def weigh(scores: int, out: int, sums: int, size: int, top: float, temperature: float) -> float:
        _ = stamp
        return weighed(scores, out, sums, size, top, temperature)

    return weigh


@lru_cache(maxsize=1)
def narrowing() -> Callable[[int, int, float, float, float, float, int, int, int, int], int]:
    """`(scores, size, top, temperature, top_p, min_p, ids, probs, room, work)`: what top-p and min-p leave of a row, ascending
    ids and normalised probabilities; gives how many, 0 where there are too many to tell here. `ids` are int64 and `probs`
    float32, `room` of each; `work` has WORK_BYTES."""
    stamp = stamp_of_sources()

    @entry
    def narrow_down(
        scores: int, size: int, top: float, temperature: float, top_p: float, min_p: float, ids: int, probs: int, room: int,
        work: int,
    ) -> int:  # fmt: skip
        _ = stamp
        return nucleus(scores, size, top, temperature, top_p, min_p, ids, probs, room, work)

    return narrow_down


@lru_cache(maxsize=1)
def subtracting() -> Callable[[int, int, int, int, int, float, float, float], float]:
    """`(target, draft, out, sums, size, factor, target_mass, draft_mass)`: out = max(factor · target / target_mass − draft /
    draft_mass, 0); gives the sum, and in `sums` that of every block. float32 all, sums float64."""
    stamp = stamp_of_sources()

    @entry
    def subtract(
        target: int,
        draft: int,
        out: int,
        sums: int,
        size: int,
        factor: float,
        target_mass: float,
        draft_mass: float,
    ) -> float:
        _ = stamp
        return remaining(target, draft, out, sums, size, factor, target_mass, draft_mass)

    return subtract


@lru_cache(maxsize=1)
def massing() -> Callable[[int, int, float], float]:
    """`(scores, size, top)`: Σ e^(scores − top), scores float32."""
    stamp = stamp_of_sources()

    @entry
    def mass(scores: int, size: int, top: float) -> float:
        _ = stamp
        return massed(scores, size, top)

    return mass


@lru_cache(maxsize=1)
def turning() -> Callable[[int, int, int, int], None]:
    """`(source, out, rows, columns)`: out `[rows, columns]` is source `[columns, rows]` turned round, float32 both."""
    stamp = stamp_of_sources()

    @entry
    def turn(source: int, out: int, rows: int, columns: int) -> None:
        _ = stamp
        turned(source, out, rows, columns)

    return turn


@lru_cache(maxsize=1)
def racing() -> Callable[[int, int, int], int]:
    """`(weights, size, base)`: the id of a dense row, float32, that wins `randomness.Streams.race`; `base` is a position's
    `noise_base` as a signed number."""
    stamp = stamp_of_sources()

    @entry
    def race(weights: int, size: int, base: int) -> int:
        _ = stamp
        return raced(weights, size, base)

    return race


@lru_cache(maxsize=1)
def racing_among() -> Callable[[int, int, int, int], int]:
    """`(ids, weights, size, base)`: the same for a sparse row; gives a place. `ids` are int64."""
    stamp = stamp_of_sources()

    @entry
    def race(ids: int, weights: int, size: int, base: int) -> int:
        _ = stamp
        return raced_among(ids, weights, size, base)

    return race
