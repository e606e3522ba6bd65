"""ProARD's supernets: Once-for-All's search spaces on networks that keep more of CIFAR's 32×32 pixels.

The stem keeps the image's side, and so does the first elastic stage of the mobile networks. Images go in as they are,
with values between 0 and 1: an adversary's step then has the size that it says.

Source: Mousavi et al., "ProARD: Progressive Adversarial Robustness Distillation", IJCNN 2025, and its code's networks
for CIFAR. Its "MobileNetV2" has the stage widths of ProxylessNAS: it asks for MobileNetV2's by a name ("google") that
its networks for CIFAR don't know.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet

from elastic import Recipe
from zoo.networks import ofa_mobilenetv3, ofa_proxyless
from zoo.networks.mobile import Stages, keep_side, mobilenetv3, proxyless
from zoo.networks.ofa_mobilenetv3 import elastic_blocks
from zoo.networks.ofa_resnet import STAGES, STEM, elastic_ratios, resnet50d
from zoo.networks.preprocessing import Shape

_EPS = 1e-5
"""Of all BatchNorms, as ProARD trains; ProxylessNAS's usual one is larger."""


def proard_resnet50(
    num_classes: int = 10, resolutions: Sequence[int] | None = None, input_size: Shape = (3, 32, 32)
) -> tuple[ResNet, Recipe]:
    """ResNet50 with fresh weights: expansion of 18 blocks, depth and width of 4 stages, stem (see `ofa_resnet`).

    Args:
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is, and alone by default.
        input_size: (channels, height, width) of the full-size input.
    """
    model = resnet50d(STEM, STAGES, classes=num_classes, eps=_EPS, channels=input_size[0], small_images=True)
    return model, elastic_ratios(model, resolutions, input_size)


def proard_mobilenetv3(
    num_classes: int = 10, resolutions: Sequence[int] | None = None, input_size: Shape = (3, 32, 32)
) -> tuple[MobileNetV3, Recipe]:
    """MobileNetV3 with fresh weights: kernel and expansion of 20 blocks, depth of 5 stages.

    Args are those of `proard_resnet50`.
    """
    stages = _less_halved(ofa_mobilenetv3.STAGES)
    stem, features = ofa_mobilenetv3.STEM, ofa_mobilenetv3.FEATURES
    model = mobilenetv3(stages, stem, features, _EPS, classes=num_classes, channels=input_size[0])
    keep_side(model)
    return model, elastic_blocks(model, resolutions, input_size)


def proard_mobilenetv2(
    num_classes: int = 10, resolutions: Sequence[int] | None = None, input_size: Shape = (3, 32, 32)
) -> tuple[EfficientNet, Recipe]:
    """MobileNetV2's kind with fresh weights: kernel and expansion of 21 blocks, depth of 5 stages.

    Args are those of `proard_resnet50`.
    """
    stages = _less_halved(ofa_proxyless.STAGES)
    stem, features = ofa_proxyless.STEM, ofa_proxyless.FEATURES
    model = proxyless(stages, stem, features, _EPS, classes=num_classes, channels=input_size[0])
    keep_side(model)
    return model, elastic_blocks(model, resolutions, input_size)


def _less_halved(stages: Stages) -> Stages:
    """The stages, the first elastic one of which keeps the image's side."""
    first, second, *others = stages
    return (first, [blocks.replace("_s2_", "_s1_") for blocks in second], *others)
