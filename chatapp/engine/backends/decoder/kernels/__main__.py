"""`python -m chatapp.engine.backends.decoder.kernels`: compile what bfloat16 checkpoints, the built-in pair among them, need
on this processor and keep it on disk, so that the first start has it. numba compiles a kernel when it is first called, with
the types of that call: it is called for no rows.
"""

from __future__ import annotations

from chatapp.engine.backends.decoder.kernels import attending, drafting, gating, normalising


def main() -> None:
    normalising("bfloat16")(0, 0, 0, 0, 0, 1, 1.0)
    gating("bfloat16")(0, 0, 0, 1)
    attending("bfloat16", "bfloat16")(0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 16, 1.0, 0, 0)
    drafting("bfloat16")(*[0] * 21, 1.0)


if __name__ == "__main__":
    main()
