"""Input normalisation inside a model: its first convolution subtracts a mean and divides by a standard deviation.

Adversarial attacks need a model whose inputs are pixels between 0 and 1, so that ε is in units of pixel values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from elastic.errors import RecipeError
from elastic.upstream import library_of
from elastic.upstream.loader import NormalizedConv2d, normalized

Normalization = Mapping[str, Sequence[float]]
"""`{"mean": …, "std": …}` of values between 0 and 1, one number per channel."""


def normalize_inputs(model: nn.Module, normalization: Normalization) -> None:
    """Make a model's first convolution normalise its inputs, in place.

    Args:
        model: its first convolution must be a plain `nn.Conv2d`.
        normalization: mean and std.

    Raises:
        RecipeError: there is no such convolution, or it has another number of channels.
    """
    path, conv = first_convolution(model)
    channels = conv.in_channels
    mean, std = (list(map(float, normalization.get(key, ()))) for key in ("mean", "std"))
    if set(normalization) != {"mean", "std"} or len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise RecipeError(
            f"normalize is {dict(normalization)}; wanted mean and std, {channels} numbers each (those of std above 0), "
            f"since {path} has {channels} channels"
        )
    normalized(conv, mean, std)


def first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """The path of the convolution that images enter, and the convolution.

    Raises:
        RecipeError: the model has none, or it isn't a plain `nn.Conv2d`, but one that pads or scales by itself.
    """
    path = library_of(model).first_convolution
    found = None if path is None else model.get_submodule(path)
    if path is None or type(found) is not nn.Conv2d:
        what = "it has no convolution" if path is None else f"its first layer {path} is a {type(found).__name__}"
        raise RecipeError(
            f"{type(model).__name__} can't normalise its inputs: {what}, not a plain Conv2d; leave normalize out and "
            "normalise the data"
        )
    return path, found


def normalization_of(model: nn.Module) -> dict[str, Any] | None:
    """Path, mean and std of a model that normalises its inputs; None for others."""
    for path, module in model.named_modules():
        if isinstance(module, NormalizedConv2d):
            return {"path": path, "mean": list(module.mean), "std": list(module.std)}
    return None
