"""Checkpoint → model on a device. Which checkpoints can be had here, and reading their weights."""

from __future__ import annotations

from collections.abc import MutableMapping

import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.cuda.device import DeviceModel
from chatapp.engine.backends.cuda.launch import launcher_for
from chatapp.engine.backends.decoder.shape import DecoderShape, read_shape
from chatapp.engine.backends.decoder.weights import check_weights


def load_cuda(checkpoint: Checkpoint, device: str, *, role: str) -> DeviceModel:
    """A decoder that `decoder.shape.obstacle` has nothing against, in the checkpoint's dtype on `device`, "cuda" as a rule.
    `role` is "target" (rows exact where the device allows it) or "draft". Raises `ModelError`."""
    shape = read_shape(checkpoint.directory, checkpoint.config)
    dtype = checkpoint.dtype()
    weights: MutableMapping[str, torch.Tensor] = {
        name.removeprefix("model."): tensor for name, tensor in checkpoint.load_weights(dtype).items()
    }
    if shape.tied:
        weights.pop("lm_head.weight", None)
    check_weights(checkpoint.directory, shape, weights)
    for name in weights:
        weights[name] = weights[name].to(device)
    info = ModelInfo(
        checkpoint.name,
        checkpoint.architecture,
        sum(tensor.numel() for tensor in weights.values()),
        str(dtype).removeprefix("torch."),
        checkpoint.weights_sha256(),
    )
    return device_model(shape, weights, info, device, exact=role == "target")


@torch.inference_mode()
def device_model(
    shape: DecoderShape,
    weights: MutableMapping[str, torch.Tensor],
    info: ModelInfo,
    device: str,
    *,
    exact: bool,
) -> DeviceModel:
    """`weights` lie on `device` already; they are taken out of the mapping."""
    return DeviceModel(shape, weights, info, launcher_for(torch.device(device)), exact=exact)
