"""The last set of Neuron software that runs transformers-neuronx, and what its successor asks for. Facts, no judgement.

Source: AWS Neuron SDK, helperscripts/n2-manifest.json of v2.32.0, and "Release Content" of v2.25.0 and v2.31.0 (wheels and system packages). Support for
transformers-neuronx ended on 16 September 2025; SDK 2.26.1 is the last that lists it.
"""

from __future__ import annotations

from collections.abc import Mapping

INDEX = "https://pip.repos.neuron.amazonaws.com"
"""AWS's package index. The public one has empty placeholders under the same names."""
LAST_SDK = "2.26.1"
LIBRARY = "transformers-neuronx"
LIBRARY_SDK = {
    "0.13.322": "2.21.0",
    "0.13.380": "2.21.1",
    "0.13.470": "2.22",
    "0.13.798": "2.23",
    "0.13.985": "2.24",
    "0.13.1216": "2.25",
    "0.13.1315": LAST_SDK,
}
"""Every wheel of transformers-neuronx since 2.21, and the SDK that it belongs to."""
LIBRARY_PYTHONS = ((3, 9), (3, 11))
WHEELS = {"neuronx-cc": (2, 21, 33363), "libneuronxla": (2, 2, 12677)}
"""Companions of the last wheel; `packaging/neuron/constraints.txt` pins the same."""
SMALLEST_REAL = {
    LIBRARY: (0, 2),
    "neuronx-distributed-inference": (0, 2),
    "torch-neuronx": (1, 11),
    "neuronx-cc": (2,),
    "libneuronxla": (2,),
}
"""Below these are the empty placeholders of the public index, the highest of them 1.0.post1."""
TORCH_NEURONX = "torch-neuronx"
TORCH_NEURONX_TORCH = ((2, 6), (2, 7), (2, 8))
TORCH_NEURONX_BUILD = (2, 10, 16998)
"""Its version is torch's, three numbers, and then this build."""
DRIVER = "aws-neuronx-dkms"
RUNTIME = "aws-neuronx-runtime-lib"
COLLECTIVES = "aws-neuronx-collectives"
TOOLS = "aws-neuronx-tools"
SYSTEM = {
    "2.25": {DRIVER: (2, 23, 9), RUNTIME: (2, 27, 23), COLLECTIVES: (2, 27, 34), TOOLS: (2, 25, 145)},
    LAST_SDK: {DRIVER: (2, 24, 7), RUNTIME: (2, 28, 23), COLLECTIVES: (2, 28, 27), TOOLS: (2, 26, 14)},
    "2.31": {DRIVER: (2, 29, 0), RUNTIME: (2, 33, 10), COLLECTIVES: (2, 33, 10), TOOLS: (2, 31, 13)},
}
"""System packages by SDK; `packaging/neuron` installs the same."""
MOVED_TREE_DRIVER = (2, 31)
"""From this driver on parts of the sysfs tree stand elsewhere ("Neuron Sysfs User Guide", v2.33.0)."""
IMAGE_VENV = "/opt/aws_neuronx_venv_pytorch_2_7_transformers"
"""Where the last machine images with transformers-neuronx (SDK 2.25) keep it; gone from SDK 2.26 on."""

SUCCESSOR = "neuronx-distributed-inference"
SUCCESSOR_LAST = (0, 10, 18399)
SUCCESSOR_SDK = "2.31"
SUCCESSOR_PYTHONS = ((3, 11), (3, 13))
SUCCESSOR_TORCH = (2, 9)
SUCCESSOR_WHEELS = {"neuronx-cc": (2, 26, 6360), "libneuronxla": (2, 2, 17544)}
"""Its companions; `packaging/neuron/constraints-nxdi.txt` pins the same."""
SUCCESSOR_TRANSFORMERS = ((4, 57), (5,))
"""The first version that SDK 2.31's will do with, and the first that is too new."""

TRANSFORMERS_LIMIT = (4, 48)
"""transformers-neuronx 0.13.380 asks for less than this; what later wheels ask for is not public."""
TRANSFORMERS_BREAKS = (5,)
"""From here on the library finds no `rope_theta` and silently takes 10000 (llama/config.py; Llama-3 needs 500000)."""


def system_set(versions: Mapping[str, str]) -> tuple[str, Mapping[str, tuple[int, ...]]]:
    """The SDK that the installed wheels are of, as far as its system packages are listed here, and those packages."""
    library = ".".join(versions.get(LIBRARY, "").split("+")[0].split(".")[:3])
    sdk = LIBRARY_SDK.get(library, LAST_SDK)
    if LIBRARY not in versions and SUCCESSOR in versions:
        sdk = SUCCESSOR_SDK
    sdk = sdk if sdk in SYSTEM else LAST_SDK
    return sdk, SYSTEM[sdk]


def dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
