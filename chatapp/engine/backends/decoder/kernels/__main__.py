"""`python -m chatapp.engine.backends.decoder.kernels`: compile what bfloat16 checkpoints, the built-in pair among them, the adaptive
window and the sampling of long rows need on this processor and keep it on disk, so that the first start has it.
"""

from __future__ import annotations

from chatapp.engine import long_rows
from chatapp.engine.backends.decoder import kernels, linears, whole
from chatapp.engine.windows import arithmetic


def main() -> None:
    kernels.passing("bfloat16")
    kernels.measuring()
    if not whole.processor_suits(kernels):
        # What stands between oneDNN's products, in the numbers that it multiplies here.
        numbers = "bfloat16" if linears.bfloat16_available() else "float32"
        kernels.normalising(numbers)
        kernels.gating(numbers)
        kernels.attending(numbers, numbers)
    arithmetic.fastest()
    long_rows.prepare(long_rows.LONG)


if __name__ == "__main__":
    main()
