"""Once-for-All's MobileNetV3 supernets: the published search spaces, as timm models made elastic.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3

from elastic import Recipe
from elastic.recipes.efficientnet import efficientnet
from zoo.networks.mobile import mobilenetv3
from zoo.networks.preprocessing import Shape, offered

KERNELS = (3, 5, 7)
"""Sides of a block's depthwise kernel."""

EXPANSIONS = (3, 4, 6)
"""A block's mid width, relative to its input's."""

DEPTHS = (2, 3, 4)
"""Blocks of a stage."""

STAGES = (
    ("ds_r1_k3_s1_e1_c16_nre",),
    ("ir_r4_k7_s2_e6_c24_nre",),
    ("ir_r4_k7_s2_e6_c40_se0.25_nre",),
    ("ir_r4_k7_s2_e6_c80",),
    ("ir_r4_k7_s1_e6_c112_se0.25",),
    ("ir_r4_k7_s2_e6_c160_se0.25",),
    ("cn_r1_k1_s1_c960",),
)
"""In timm's notation: repeats, kernel, stride, expansion, channels, squeeze-and-excitation, ReLU."""

STEM, FEATURES = 16, 1280


def ofa_mobilenetv3(
    width: float = 1.0,
    num_classes: int = 1000,
    resolutions: Sequence[int] | None = None,
    input_size: Shape = (3, 224, 224),
) -> tuple[MobileNetV3, Recipe]:
    """The network with fresh weights: kernel and expansion of 20 blocks, depth of 5 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.

    Args:
        width: all widths are multiplied by it and rounded to multiples of 8; published are 1.0 and 1.2.
        num_classes: how many logits.
        resolutions: sides of the square input on offer, in pixels; the full side always is.
        input_size: (channels, height, width) of the full-size input.
    """
    model = mobilenetv3(STAGES, STEM, FEATURES, width=width, classes=num_classes, channels=input_size[0])
    return model, elastic_blocks(model, resolutions, input_size)


def elastic_blocks(model: EfficientNet | MobileNetV3, resolutions: Sequence[int] | None, input_size: Shape) -> Recipe:
    """Elastic sizes of Once-for-All's mobile networks, whose full blocks have 7×7 kernels and expand by 6."""
    recipe = efficientnet(
        model,
        resolutions=offered(resolutions, input_size),
        input_size=(input_size[0], input_size[1], input_size[2]),
        kernel_transforms=True,
    )
    return recipe.with_choices(
        {
            "kernel": KERNELS,
            "mid": [expansion / max(EXPANSIONS) for expansion in EXPANSIONS],
            "depth": DEPTHS,
            **dict.fromkeys(("stem", "width", "head", "kernel.0.*"), None),
        }
    )
