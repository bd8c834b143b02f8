"""Finding neuronx-distributed-inference and making one of its applications. The only module here that imports the library.

What it would pass over in silence is an error here: a setting that this version does not know, a directory that was compiled
for something else.
Source: neuronx-distributed-inference 0.9, models/config.py, models/application_base.py, utils/hf_adapter.py.
"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chatapp.domain.errors import ArtefactsDamaged, DeviceUnavailable, LoadFailed, UnsupportedModel
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.neuron.library import INDEX
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.nxdi.arguments import checkpoint_arguments, neuron_config_arguments

PACKAGE = "neuronx_distributed_inference"
DISTRIBUTION = "neuronx-distributed-inference"
FAMILIES = {
    "llama": ("models.llama.modeling_llama", "NeuronLlamaForCausalLM"),
    "mistral": ("models.mistral.modeling_mistral", "NeuronMistralForCausalLM"),
    "qwen2": ("models.qwen2.modeling_qwen2", "NeuronQwen2ForCausalLM"),
    "qwen3": ("models.qwen3.modeling_qwen3", "NeuronQwen3ForCausalLM"),
}
"""`model_type` → module and class. All inherit compiling, routing and speculation from one base."""
NAMED_PACKAGES = (DISTRIBUTION, "neuronx-distributed", "torch-neuronx", "neuronx-cc")
CONFIG_FILE = "neuron_config.json"
COMPILED_FILE = "model.pt"
INSTALL = (
    f"Install it from AWS's index (`pip install {DISTRIBUTION} --extra-index-url={INDEX}`), with the versions in "
    "packaging/neuron/constraints-nxdi.txt; `chatapp doctor` checks what is there."
)


def library_versions() -> tuple[tuple[str, str], ...]:
    """`(package, version)` of the wheels that trace, compile and run. Raises `DeviceUnavailable` where the library, or a package that it cannot be imported without, is missing."""
    try:
        package = import_module(PACKAGE)
        import_module(f"{PACKAGE}.models.config")
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        what = "is not installed" if missing == PACKAGE else f"cannot be imported without {missing or error}"
        raise DeviceUnavailable(f"neuronx-distributed-inference {what}.", remedy=INSTALL) from error
    own = str(getattr(package, "__version__", "of unknown version"))
    found = {name: _version(name) for name in NAMED_PACKAGES}
    return tuple(
        (name, text) for name, text in {**found, DISTRIBUTION: found[DISTRIBUTION] or own}.items() if text
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def make_application(checkpoint: Checkpoint, settings: NeuronSettings, role: Role) -> Any:
    """A `NeuronBaseForCausalLM` of resolved settings, neither compiled nor loaded. Raises `ModelError`, and whatever the
    library raises for numbers that do not fit together."""
    model_class = _model_class(checkpoint)
    config_class = model_class.get_config_cls()
    arguments = neuron_config_arguments(settings, role)
    neuron_config = model_class.get_neuron_config_cls()(**arguments)
    for name in arguments:
        # It only logs "Unexpected keyword arguments", and would compile something else.
        if not hasattr(neuron_config, name):
            raise LoadFailed(
                f"This version of neuronx-distributed-inference does not know the setting {name}.",
                remedy="Install 0.9 or 0.10 of it.",
            )
    hook = import_module(f"{PACKAGE}.utils.hf_adapter").load_pretrained_config
    config = config_class(
        neuron_config, load_config=hook(str(checkpoint.directory)), **checkpoint_arguments(checkpoint)
    )
    return model_class(str(checkpoint.directory), config)


def _model_class(checkpoint: Checkpoint) -> Any:
    family = str(checkpoint.config.get("model_type"))
    remedy = "Choose a Llama."
    if family not in FAMILIES:
        raise UnsupportedModel(
            f"{checkpoint.name} is of the family {family}, which has no class here.", remedy=remedy
        )
    module, name = FAMILIES[family]
    try:
        return getattr(import_module(f"{PACKAGE}.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise UnsupportedModel(
            f"This version of neuronx-distributed-inference has no {name}, which {checkpoint.name} needs.",
            remedy=remedy,
        ) from error


def require_compiled(folder: Path, checkpoint: Checkpoint, settings: NeuronSettings, role: Role) -> None:
    """Look whether `folder` holds graphs of these settings: loading compares nothing, and the first wrong launch would come
    in the middle of a reply. Raises `ArtefactsDamaged`."""
    what = f"The graphs prepared for {checkpoint.name} ({role}) in {folder}"
    remedy = "Prepare the pair again (`chatapp prepare`)."
    missing = [name for name in (COMPILED_FILE, CONFIG_FILE) if not (folder / name).is_file()]
    if missing:
        raise ArtefactsDamaged(f"{what} lack {missing[0]}.", remedy=remedy)
    try:
        saved = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["neuron_config"]
        asked = {name: _plain(value) for name, value in neuron_config_arguments(settings, role).items()}
        # Not named for a draft, where it must be the library's default.
        asked.setdefault("speculation_length", 0)
        different = [name for name, value in asked.items() if saved[name] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactsDamaged(
            f"{what} say nothing that can be read of what they are.", remedy=remedy
        ) from error
    if different:
        name = different[0]
        raise ArtefactsDamaged(
            f"{what} are for {name} {saved[name]}, and {asked[name]} is asked for.",
            remedy=remedy,
            differences=tuple(
                f"{name}: {saved[name]} prepared, {asked[name]} asked for" for name in different
            ),
        )


def _plain(value: object) -> object:
    """As the library writes it into its JSON."""
    text = str(value)
    return text.removeprefix("torch.") if text.startswith("torch.") else value
