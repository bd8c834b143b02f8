"""`python -m chatapp.engine.backends.decoder.kernels`: compile what bfloat16 checkpoints, the built-in pair among them, the adaptive
window and the sampling of long rows need on this processor and keep it on disk, so that the first start has it.
"""

from __future__ import annotations

from chatapp.engine import long_rows
from chatapp.engine.backends.decoder import kernels, whole
from chatapp.engine.windows import arithmetic


def main() -> None:
    kernels.passing("bfloat16")
    if not whole.processor_suits(kernels):
        kernels.normalising("bfloat16")
        kernels.gating("bfloat16")
        kernels.attending("bfloat16", "bfloat16")
    arithmetic.fastest()
    long_rows.prepare(long_rows.LONG)


if __name__ == "__main__":
    main()
