"""Once-for-All's mobile networks as timm models: stages in timm's notation in, an ordinary model out.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn

Stages = Sequence[Sequence[str]]
"""Blocks in timm's notation (`ir_r4_k7_s2_e6_c24`), grouped by stage: repeats, kernel, stride, expansion, channels."""


def mobilenetv3(
    stages: Stages,
    stem: int,
    features: int,
    eps: float = 1e-5,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
) -> MobileNetV3:
    """The MobileNetV3 kind: h-swish, squeeze-and-excitation, a mix of features without bias or norm.

    Args:
        stages: its blocks, the 1×1 convolution before the pooling among them.
        stem: channels of the first convolution.
        features: channels in front of the classifier.
        eps: of all BatchNorms.
        width: all channels are multiplied by it and rounded to multiples of 8.
        classes: how many logits.
        channels: of the images.
    """
    excite = partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU, rd_round_fn=round_channels)
    shared = _shared(stages, stem, features, eps, width, classes, channels)
    return MobileNetV3(head_bias=False, act_layer=nn.Hardswish, se_layer=excite, **shared)


def proxyless(
    stages: Stages,
    stem: int,
    features: int,
    eps: float = 1e-3,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
) -> EfficientNet:
    """The ProxylessNAS kind, after MobileNetV2: ReLU6 throughout; arguments as for `mobilenetv3`."""
    return EfficientNet(act_layer=nn.ReLU6, **_shared(stages, stem, features, eps, width, classes, channels))


def keep_side(model: EfficientNet | MobileNetV3) -> None:
    """Let the first convolution keep the image's side instead of halving it, for images of few pixels."""
    model.conv_stem.stride = (1, 1)
    for feature in model.feature_info:
        feature["reduction"] //= 2


def _shared(
    stages: Stages, stem: int, features: int, eps: float, width: float, classes: int, channels: int
) -> dict[str, Any]:
    rounded = partial(round_channels, multiplier=width)
    return {
        "block_args": decode_arch_def([list(stage) for stage in stages]),
        "num_classes": classes,
        "in_chans": channels,
        "stem_size": stem,
        "num_features": rounded(features),
        "round_chs_fn": rounded,
        "norm_layer": partial(nn.BatchNorm2d, eps=eps),
    }
