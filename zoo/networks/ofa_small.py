"""Once-for-All's MobileNetV3 space at the size of small images, Fashion-MNIST's and CIFAR-10's: trained on a laptop.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020; the
widths and strides are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timm.models.mobilenetv3 import MobileNetV3

from elastic import Recipe
from zoo.networks.mobile import Stages, mobilenetv3
from zoo.networks.ofa_mobilenetv3 import elastic_blocks
from zoo.networks.preprocessing import Shape


@dataclass(frozen=True)
class Design:
    """The full network.

    Attributes:
        stages: its blocks in timm's notation, the fixed first block and the last 1×1 convolution among them.
        stem: channels of the first convolution, which halves the image.
        features: channels in front of the classifier.
    """

    stages: Stages
    stem: int
    features: int


FASHION_MNIST = Design(
    stages=(
        ("ds_r1_k3_s1_e1_c16_nre",),
        ("ir_r4_k7_s2_e6_c16_nre",),
        ("ir_r4_k7_s1_e6_c24_se0.25",),
        ("ir_r4_k7_s1_e6_c40_se0.25",),
        ("cn_r1_k1_s1_c240",),
    ),
    stem=16,
    features=512,
)
"""All stages work on 7×7 pixels: CPUs have no fast gradient of a depthwise convolution whose kernel is larger than its
input."""

CIFAR10 = Design(
    stages=(
        ("ds_r1_k3_s2_e1_c8_nre",),
        ("ir_r4_k7_s1_e6_c8_nre",),
        ("ir_r4_k7_s2_e6_c8_se0.25",),
        ("ir_r4_k7_s1_e6_c16_se0.25",),
        ("cn_r1_k1_s1_c96",),
    ),
    stem=8,
    features=128,
)
"""So narrow that methods of training can be compared in minutes each: stages of 8×8, 4×4 and 4×4 pixels."""


def ofa_fashion_mnist(
    num_classes: int = 10, resolutions: Sequence[int] | None = (20, 24, 28), input_size: Shape = (1, 28, 28)
) -> tuple[MobileNetV3, Recipe]:
    """The network for Fashion-MNIST; arguments as for `ofa_cifar10`."""
    return _elastic(FASHION_MNIST, num_classes, resolutions, input_size)


def ofa_cifar10(
    num_classes: int = 10, resolutions: Sequence[int] | None = (24, 28, 32), input_size: Shape = (3, 32, 32)
) -> tuple[MobileNetV3, Recipe]:
    """The network for CIFAR-10.

    Args:
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is.
        input_size: (channels, height, width) of the full-size input.
    """
    return _elastic(CIFAR10, num_classes, resolutions, input_size)


def _elastic(
    design: Design, classes: int, resolutions: Sequence[int] | None, input_size: Shape
) -> tuple[MobileNetV3, Recipe]:
    """With fresh weights: kernel and expansion of 12 blocks, depth of 3 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.
    """
    model = mobilenetv3(design.stages, design.stem, design.features, classes=classes, channels=input_size[0])
    return model, elastic_blocks(model, resolutions, input_size)
