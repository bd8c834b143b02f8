"""How kernels are compiled for the processor at hand, and kept. Knows no kernel."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("numba is told not to compile")

F = TypeVar("F", bound=Callable[..., Any])
PLAIN = {"int": types.intp, "float": types.float64, "bool": types.boolean}
UNKEPT = (RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, pickle.PickleError)
"""What numba raises without a folder to write to, and what reading and writing its files there does."""


def processor_features() -> set[str]:
    """As LLVM names them; those that numba was told to compile for (NUMBA_CPU_FEATURES), if it was."""
    told = getattr(numba.config, "CPU_FEATURES", None)
    if told is not None:
        return {name[1:] for name in told.split(",") if name.startswith("+")}
    try:
        return {name for name, there in llvm.get_host_cpu_features().items() if there}
    except RuntimeError:  # LLVM cannot tell on every system
        return set()


def lanes(features: set[str]) -> int:
    return 16 if "avx512f" in features else 8 if "avx2" in features else 4


_FEATURES = processor_features()
LANES = lanes(_FEATURES)
"""Numbers of float32 in a vector of this processor."""
PAIRS = LANES == 16 and "avx512bf16" in _FEATURES
"""It multiplies pairs of bfloat16 and adds them up in float32."""

# A product and a sum may become one instruction. Sums may be reordered only where nothing but the code decides how. That no
# number is NaN is nowhere said: of weights that hold one the logits must tell.
ORDERED = {"contract", "nsz"}
ANY_ORDER = {*ORDERED, "reassoc"}
AS_WRITTEN: set[str] = set()
"""To the bit what Python makes of the same lines."""


@lru_cache(maxsize=1)
def stamp_of_sources() -> int:
    """numba's cache on disk notices a change of the file that an entry stands in, not of those it calls, but also the values
    that an entry closes over: every entry closes over this one."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))


def compiled(flags: set[str], **options: Any) -> Callable[[F], F]:
    # numpy's way of dividing: without a branch for zero, which would keep loops from being vectorised.
    return numba.njit(nogil=True, fastmath=flags, error_model="numpy", **options)  # type: ignore[no-any-return] # untyped


declared: Any = cgutils.get_or_insert_function


def instruction(build: Callable[..., Any]) -> Any:
    """A function that becomes the LLVM instructions that `build` names; numba types its arguments by their number."""
    return intrinsic(build)


def entry(function: F, flags: set[str] = ORDERED) -> F:
    """A kernel that is called from outside, compiled at once for the `int`, `float` and `bool` of its annotations; gives one of those,
    or nothing. Kept on disk wherever numba finds a folder to write to; a full disk or a damaged file there costs the time of
    compiling, no more. In the process that compiles it a kernel may round otherwise in last bits than in all later ones,
    which read it back: what it calls is then another copy. So an installation compiles ahead (`__main__`)."""
    names = getattr(function, "__annotations__", {})
    given = PLAIN.get(names.get("return", ""), types.void)
    taken = given(*[PLAIN[kind] for name, kind in names.items() if name != "return"])
    try:
        return compiled(flags, signature_or_function=taken, cache=True)(function)
    except UNKEPT:
        return compiled(flags, signature_or_function=taken)(function)
