"""Once-for-All's ResNet50-D supernet: the published search space, as a timm model made elastic.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020, and
its code's `ofa_resnet50`; the D variant is of He et al., "Bag of Tricks for Image Classification", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from timm.models._efficientnet_blocks import ConvBnAct
from timm.models.resnet import Bottleneck, ResNet, downsample_avg, downsample_conv
from torch import nn

from elastic import Derived, DimRule, Recipe
from elastic.recipes.resnet import resnet
from zoo.networks.preprocessing import Shape, offered

EXPANSIONS = (0.2, 0.25, 0.35)
"""A block's mid width, relative to its output's."""

WIDTHS = (0.65, 0.8, 1.0)
"""Of the stem's two widths and the stages', relative to the full ones."""

BASE_DEPTHS = (2, 2, 4, 2)
"""Blocks that each stage has at least; up to two more may follow."""


@dataclass(frozen=True)
class Stage:
    """One stage of bottleneck blocks.

    Attributes:
        width: channels that its blocks put out, a multiple of 4.
        mids: channels inside of each block.
    """

    width: int
    mids: tuple[int, ...]


STEM = (32, 64)
STAGES = (Stage(256, (88,) * 4), Stage(512, (176,) * 4), Stage(1024, (360,) * 6), Stage(2048, (720,) * 4))


def ofa_resnet(
    num_classes: int = 1000, resolutions: Sequence[int] | None = None, input_size: Shape = (3, 224, 224)
) -> tuple[ResNet, Recipe]:
    """The network with fresh weights: expansion of 18 blocks, depth and width of 4 stages, stem, resolution.

    `depth.stem` is 0 or 1: whether the stem's middle convolution, which has a skip connection, runs. Its width
    is a ratio, `ratio.stem`, of which two give 24 channels: as published, and as counted in `space.size`.

    Args:
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is.
        input_size: (channels, height, width) of the full-size input.
    """
    model = resnet50d(STEM, STAGES, classes=num_classes, channels=input_size[0])
    return model, elastic_ratios(model, resolutions, input_size)


def elastic_ratios(model: ResNet, resolutions: Sequence[int] | None, input_size: Shape) -> Recipe:
    """Elastic sizes of Once-for-All's ResNet of `STEM` and `STAGES`; mid widths follow the stage widths."""
    size = (input_size[0], input_size[1], input_size[2])
    recipe = resnet(model, resolutions=offered(resolutions, size), input_size=size)
    derived = {"stem.0": Derived(("ratio.stem",), Fraction(STEM[0]), divisor=8)}
    for stage, full in enumerate(STAGES):
        for block in range(len(full.mids)):
            place = f"{stage}.{block}"
            derived[f"mid.{place}"] = Derived((f"width.{stage}", f"expand.{place}"), divisor=8)
    depths = {f"depth.{stage}": DimRule((base, base + 1, base + 2)) for stage, base in enumerate(BASE_DEPTHS)}
    width = DimRule(WIDTHS, multiple=8)
    dims = {
        **recipe.dims,
        **depths,
        "stem": width,
        "width": width,
        "ratio": DimRule(WIDTHS, ratio=True),
        "expand": DimRule(EXPANSIONS, ratio=True),
    }
    return replace(recipe, dims=dims, derived=derived)


# --- the plain model ----------------------------------------------------------------------------------------


def resnet50d(
    stem: tuple[int, int],
    stages: Sequence[Stage],
    residual: bool = True,
    classes: int = 1000,
    eps: float = 1e-5,
    channels: int = 3,
    small_images: bool = False,
) -> ResNet:
    """A timm `ResNet` of the D kind with any widths, and Once-for-All's stem.

    Args:
        stem: channels inside of the stem and behind it.
        stages: four of them; all but the first one halve the image.
        residual: whether the stem has its middle convolution, which has a skip connection.
        classes: how many logits.
        eps: of all BatchNorms.
        channels: of the images.
        small_images: whether the stem keeps the image's side, and shortcuts take every other pixel instead of means.
    """
    norm = partial(nn.BatchNorm2d, eps=eps)
    planes = tuple(stage.width // Bottleneck.expansion for stage in stages)
    depths = (1,) * len(stages)  # of stages to be replaced: timm's have one ratio of mid width for all
    model = ResNet(Bottleneck, depths, classes, channels, channels=planes, norm_layer=norm)  # type: ignore[arg-type]
    middle = [ConvBnAct(stem[0], stem[0], 3, skip=True, norm_layer=norm)] if residual else []
    model.conv1 = nn.Sequential(
        nn.Conv2d(channels, stem[0], 3, stride=1 if small_images else 2, padding=1, bias=False),
        norm(stem[0]),
        nn.ReLU(inplace=True),
        nn.Sequential(*middle),
        nn.Conv2d(stem[0], stem[1], 3, padding=1, bias=False),
    )
    model.bn1 = norm(stem[1])
    if small_images:
        model.maxpool = nn.Identity()  # type: ignore[assignment]
        for index, feature in enumerate(model.feature_info):
            feature["reduction"] = 2 ** max(0, index - 1)
    width = model.feature_info[0]["num_chs"] = stem[1]
    shortcut = downsample_conv if small_images else downsample_avg
    for index, stage in enumerate(stages):
        stride = 1 if index == 0 else 2
        blocks: list[nn.Module] = []
        for mid in stage.mids:
            blocks.append(_bottleneck(width, mid, stage.width, 1 if blocks else stride, norm, shortcut))
            width = stage.width
        setattr(model, f"layer{index + 1}", nn.Sequential(*blocks))
    model.init_weights(zero_init_last=True)
    return model


def _bottleneck(
    before: int,
    mid: int,
    after: int,
    stride: int,
    norm: partial[nn.BatchNorm2d],
    shortcut: Callable[..., nn.Module],
) -> Bottleneck:
    planes = after // Bottleneck.expansion
    base_width = (mid + 0.5) * 64 / planes  # timm rounds planes × base_width / 64 down
    downsample = None if before == after else shortcut(before, after, 1, stride, norm_layer=norm)
    return Bottleneck(before, planes, stride, downsample, base_width=base_width, norm_layer=norm)  # type: ignore[arg-type]
