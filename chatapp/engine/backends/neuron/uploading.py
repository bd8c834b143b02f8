"""How far a model of transformers-neuronx is on its way to the device: layers whose weights were uploaded, then graphs.

The library tells nobody: two methods of the model at hand are counted, nothing is patched beyond it. Must not know who listens.

Source: transformers_neuronx 0.13, llama/model.py:115-270, base.py:77-89 (neuron-contract.md §1.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Tell = Callable[[float, str], None]
"""A share in 0..1, and words such as `layer 12 of 80`."""
WEIGHTS_SHARE = 0.8
"""Of the time that weights may take: reading and uploading them outweighs loading graphs."""


def count_upload(model: Any, layers: int, tell: Tell) -> None:
    """Before `to_neuron`. Calls come while it runs, on its thread."""
    _count(
        model.decoder_lm_head,
        "new_layer",
        lambda done: tell(WEIGHTS_SHARE * min(done / layers, 1.0), f"layer {min(done, layers)} of {layers}"),
    )
    decoders = list(model.nbs_objs)
    total = len(decoders)
    for place, decoder in enumerate(decoders):
        share = WEIGHTS_SHARE + (1.0 - WEIGHTS_SHARE) * place / total
        words = f"graphs, {place + 1} of {total}"
        _count(decoder, "setup", lambda _, share=share, words=words: tell(share, words))  # type: ignore[misc]  # a default binds the loop's values


def _count(owner: Any, name: str, told: Callable[[int], None]) -> None:
    """Have `told` called with the number of the call, before each call of the method."""
    method: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        told(calls)
        return method(*arguments, **options)

    setattr(owner, name, counting)
