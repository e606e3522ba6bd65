"""Once-for-All's MobileNetV3 space at the size of Fashion-MNIST's images: to be trained on a laptop.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020; the
widths and strides are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.mobilenetv3 import MobileNetV3

from elastic import Recipe
from zoo.mobile import mobilenetv3
from zoo.ofa_mobilenetv3 import elastic_blocks
from zoo.preprocessing import Preprocessing, Shape

RESOLUTIONS = (20, 24, 28)
IMAGES = Preprocessing(mean=(0.286,), std=(0.353,), crop_pct=1.0)

_STAGES = (
    ("ds_r1_k3_s1_e1_c16_nre",),
    ("ir_r4_k7_s2_e6_c16_nre",),
    ("ir_r4_k7_s1_e6_c24_se0.25",),
    ("ir_r4_k7_s1_e6_c40_se0.25",),
    ("cn_r1_k1_s1_c240",),
)
"""In timm's notation. The first convolution halves the image, too, and all stages work on 7×7 pixels: CPUs have no
fast gradient of a depthwise convolution whose kernel is larger than its input."""

_STEM, _FEATURES = 16, 512


def ofa_fashion_mnist(
    num_classes: int = 10, resolutions: Sequence[int] = RESOLUTIONS, input_size: Shape = (1, 28, 28)
) -> tuple[MobileNetV3, Recipe]:
    """The network with fresh weights: kernel and expansion of 12 blocks, depth of 3 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.

    Args:
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is.
        input_size: (channels, height, width) of the full-size input.
    """
    model = mobilenetv3(_STAGES, _STEM, _FEATURES, classes=num_classes, channels=input_size[0])
    return model, elastic_blocks(model, resolutions, input_size)
