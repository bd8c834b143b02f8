"""Start: `python -m chatapp`, and the `chatapp` command.

The story in order: set the environment that libraries read once, when they are first imported; hand the arguments to
`chatapp.cli`, which imports the chosen subcommand and nothing else. This module must not import Qt, torch or any other
library, for the window is to be on screen before torch loads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

SMALL_MACHINE_CORES = 4
EXIT_INTERRUPTED = 130


def prepare_environment(environment: MutableMapping[str, str], cores: int) -> None:
    """Set what must be set before Qt, torch or transformers is imported; what a person has set is left alone."""
    environment.setdefault("HF_HUB_OFFLINE", "1")  # models are directories; nothing may ask the network
    environment.setdefault("TRANSFORMERS_OFFLINE", "1")
    environment.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    environment.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    environment.setdefault(
        "TOKENIZERS_PARALLELISM", "false"
    )  # one prompt at a time; its threads would disturb torch's
    environment.setdefault(
        "PYQTGRAPH_QT_LIB", "PySide6"
    )  # else another Qt binding on the machine may be taken
    # The smallest drafts run in numpy: products of 128 numbers, which more threads only slow down.
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    if cores <= SMALL_MACHINE_CORES:
        # Spinning barriers of the compute threads hold the cores that the window needs: with two threads on two cores
        # single steps took 60 to 170 ms, without spinning 15.
        environment.setdefault("GOMP_SPINCOUNT", "0")


def main() -> int:
    """Run the command line; returns the exit status."""
    prepare_environment(os.environ, os.cpu_count() or 1)
    try:
        from chatapp import cli  # after the environment is set

        return cli.main(sys.argv[1:])
    except KeyboardInterrupt:  # while a command was still being imported
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
