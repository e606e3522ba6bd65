"""Once-for-All's ProxylessNAS supernet: the published search space, as a timm model made elastic.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.efficientnet import EfficientNet

from elastic import Recipe
from zoo.networks.mobile import proxyless
from zoo.networks.ofa_mobilenetv3 import elastic_blocks
from zoo.networks.preprocessing import Shape

STAGES = (
    ("ds_r1_k3_s1_e1_c16",),
    ("ir_r4_k7_s2_e6_c24",),
    ("ir_r4_k7_s2_e6_c40",),
    ("ir_r4_k7_s2_e6_c80",),
    ("ir_r4_k7_s1_e6_c96",),
    ("ir_r4_k7_s2_e6_c192",),
    ("ir_r1_k7_s1_e6_c320",),
)
STEM, FEATURES = 32, 1280


def ofa_proxyless(
    width: float = 1.3,
    num_classes: int = 1000,
    resolutions: Sequence[int] | None = None,
    input_size: Shape = (3, 224, 224),
) -> tuple[EfficientNet, Recipe]:
    """The network with fresh weights: kernel and expansion of 21 blocks, depth of 5 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.

    Args:
        width: all widths are multiplied by it and rounded to multiples of 8; published is 1.3.
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is.
        input_size: (channels, height, width) of the full-size input.
    """
    model = proxyless(STAGES, STEM, FEATURES, width=width, classes=num_classes, channels=input_size[0])
    return model, elastic_blocks(model, resolutions, input_size)
