"""WideResNets whose stages have widths and depths of their own: what robustness against adversaries asks for.

Source: Huang et al., "Exploring Architectural Ingredients of Adversarially Robust Deep Neural Networks", NeurIPS 2021:
width and depth of the last stage hurt robustness, those of the others help it. Zagoruyko & Komodakis, "Wide Residual
Networks", BMVC 2016, for the network. The choices are our own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from timm.layers import BatchNormAct2d, create_conv2d
from timm.models.resnetv2 import ResNetV2
from torch import nn

from elastic import Derived, Recipe
from elastic.errors import RecipeError
from elastic.recipes.resnetv2 import resnetv2
from zoo.networks.preprocessing import Shape, offered

WIDTHS = (0.25, 0.5, 0.8, 1.0)
"""Of each stage, relative to its full one: of 320, 640 and 640 channels WRN-34-10 has 160, 320 and 640, and the paper's
WRN-34-R 320, 640 and 512."""

_LEFT_OUT = 3
"""Blocks of each stage that may be left out; the first one stays."""


def robust_wrn(
    widths: Sequence[int] = (320, 640, 640),
    depth: int = 5,
    stem: int = 16,
    stride: int = 1,
    num_classes: int = 10,
    resolutions: Sequence[int] | None = None,
    input_size: Shape = (3, 32, 32),
) -> tuple[ResNetV2, Recipe]:
    """The network with fresh weights: width and depth of each stage.

    Args:
        widths: full channels of each stage; all but the first one halve the image.
        depth: blocks of each stage; 5 of them, of two convolutions each, make a WRN-34.
        stem: channels of the first convolution, others than the first stage has.
        stride: of the first convolution, whose kernel is larger by 1: 2 and 4 make networks for small computers.
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is, and alone by default.
        input_size: (channels, height, width) of the full-size input.

    Raises:
        RecipeError: a stem as wide as the first stage: the two would share their channels.
    """
    if stem == widths[0]:
        raise RecipeError(f"stem and first stage both have {stem} channels and would be one width; choose another stem")
    model = wide_resnet(widths, depth, stem, stride, num_classes, input_size[0])
    size = (input_size[0], input_size[1], input_size[2])
    recipe = resnetv2(model, resolutions=offered(resolutions, size), input_size=size)
    places = [(stage, block) for stage in range(len(widths)) for block in range(depth)]
    inside = {f"mid.{stage}.{block}": Derived((f"width.{stage}",)) for stage, block in places}
    depths = range(max(1, depth - _LEFT_OUT), depth + 1)
    recipe = recipe.with_choices({"width": WIDTHS, "depth": list(depths), "stem": None})
    return model, replace(recipe, derived=inside)


def wide_resnet(widths: Sequence[int], depth: int, stem: int, stride: int, classes: int, channels: int) -> ResNetV2:
    """A timm `ResNetV2` of pre-activation basic blocks with a stem of one convolution; arguments as above."""
    model = ResNetV2(
        [depth] * len(widths),
        tuple(widths),
        classes,
        channels,
        stem_chs=stem,
        basic=True,
        bottle_ratio=1.0,
        norm_layer=BatchNormAct2d,
        conv_layer=create_conv2d,
    )
    model.stem = nn.Sequential(OrderedDict(conv=create_conv2d(channels, stem, max(3, stride + 1), stride=stride)))
    for index, feature in enumerate(model.feature_info):
        feature["reduction"] = stride * 2 ** max(0, index - 1)
    model.init_weights(zero_init_last=False)
    return model
