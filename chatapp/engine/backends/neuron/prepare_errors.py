"""What tracing, the compiler and the disk raise while graphs are prepared, as our errors with what to do.

The compiler runs in processes of its own and says most in its log: that is looked at too. Must not know who prepares.

Source: AWS Neuron documentation, "Neuron Persistent Cache" and the transformers-neuronx developer guide
(neuron-contract.md §§1.5, 1.6).
"""

from __future__ import annotations

import errno
import re
import shutil
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError

from chatapp.domain.errors import LoadFailed, ModelError, PrepareFailed
from chatapp.engine.backends.neuron.errors import LIBRARY_FAILURES, Asked, load_error, words

FAILURES = (*LIBRARY_FAILURES, SubprocessError)
GIGABYTE = 1e9
NO_SPACE = "No space left on device"
CACHED_FAILURE = r"cached failed neff|retry_failed_compilation"
NO_COMPILER = r"(?:No such file or directory|not found)[^\n]*neuronx-cc|No module named '?neuronxcc"
LAST_LINES = 3
LAST_LINE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was being prepared, for words. `log` is what libraries and compiler wrote, `log_path` where it is kept."""

    asked: Asked
    root: Path
    workers: int
    log: str
    log_path: Path | None = None


def prepare_error(error: BaseException, around: Circumstances) -> ModelError:
    """Why preparing broke off."""
    asked, text = around.asked, f"{around.log}\n{error}"
    side = f"{asked.model} ({asked.role})"
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or NO_SPACE in text:
        return PrepareFailed(
            f"The disk is full: {_free(around.root)} are left for {around.root}.",
            remedy="Make room, or choose another place with --artefacts, and prepare again.",
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PrepareFailed(
            f"{error.filename or around.root} cannot be written: {error.strerror}.",
            remedy="Choose another place with --artefacts.",
        )
    if isinstance(error, BrokenProcessPool | MemoryError):
        fewer = max(around.workers // 2, 1)
        advice = (
            f"Compile fewer at once (`chatapp prepare --workers {fewer}`), or"
            if around.workers > 1
            else "Prepare"
        )
        return PrepareFailed(
            f"A compiler process was killed while it compiled graphs of {side}, most often for want of memory: "
            f"{around.workers} ran at once.",
            remedy=f"{advice} on a machine with more memory; what is prepared can be copied.",
        )
    if re.search(NO_COMPILER, text):
        return PrepareFailed(
            "The compiler neuronx-cc is not installed.",
            remedy="Install it with the versions in packaging/neuron/constraints.txt; `chatapp doctor` checks it.",
        )
    if re.search(CACHED_FAILURE, text):
        return PrepareFailed(
            f"A graph of {side} could not be compiled before, and the compiler's cache remembers that.",
            remedy="After changing what was wrong, prepare with --retry-failed.",
        )
    known = load_error(error, around.log, asked)
    if type(known) is not LoadFailed:
        return known
    last = " / ".join(_last_lines(around.log))
    said = f" The last it wrote: {last}" if last else ""
    kept = f"See {around.log_path} for all that was written. " if around.log_path is not None else ""
    return PrepareFailed(
        f"The graphs of {side} cannot be compiled: {words(error)}.{said}",
        remedy=f"{kept}Try again with --retry-failed once the cause is mended.",
    )


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / GIGABYTE:.1f} GB"
    except OSError:
        return "0 GB"


def _last_lines(log: str) -> list[str]:
    lines = [line.strip()[:LAST_LINE_CHARS] for line in log.splitlines() if line.strip()]
    return lines[-LAST_LINES:]
