"""Uniform subnets: those that timm builds by itself, from keyword arguments alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Reader = Callable[[Any], dict[str, Any]]
"""Reads the arguments off a model, as if all blocks (of a stage) were like the first."""


def uniform_arguments(model: nn.Module) -> dict[str, Any]:
    """The arguments of `timm.create_model` that would give a network with the sizes of the model's first blocks.

    Whether the model is that network is for the caller to compare.

    Args:
        model: an extracted model of timm.

    Returns:
        The arguments; none for classes whose sizes aren't all arguments.
    """
    reader = _READERS.get(f"{type(model).__module__}:{type(model).__qualname__}")
    return {} if reader is None else reader(model)


def _vit(model: Any) -> dict[str, Any]:
    block = model.blocks[0]
    return {
        "img_size": model.patch_embed.img_size[0],
        "embed_dim": model.embed_dim,
        "depth": len(model.blocks),
        "num_heads": block.attn.num_heads,
        "mlp_ratio": block.mlp.fc1.out_features / model.embed_dim,
    }


def _convnext(model: Any) -> dict[str, Any]:
    return {
        "depths": [len(stage.blocks) for stage in model.stages],
        "dims": [stage.blocks[0].conv_dw.out_channels for stage in model.stages],
        "kernel_sizes": [stage.blocks[0].conv_dw.kernel_size[0] for stage in model.stages],
    }


def _swin(model: Any) -> dict[str, Any]:
    block = model.layers[0].blocks[0]
    return {
        "embed_dim": model.patch_embed.proj.out_channels,
        "depths": [len(layer.blocks) for layer in model.layers],
        "num_heads": [layer.blocks[0].attn.num_heads for layer in model.layers],
        "mlp_ratio": block.mlp.fc1.out_features / block.mlp.fc1.in_features,
    }


_READERS: dict[str, Reader] = {
    "timm.models.vision_transformer:VisionTransformer": _vit,
    "timm.models.convnext:ConvNeXt": _convnext,
    "timm.models.swin_transformer:SwinTransformer": _swin,
}
