"""Once-for-All's MobileNetV3 supernets: the published search spaces, as timm models made elastic.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import elastic
from elastic import Supernet
from zoo.mobile import mobilenetv3
from zoo.preprocessing import RESOLUTIONS

EXPANSIONS = (3, 4, 6)
"""A block's mid width, relative to its input's."""

_STAGES = (
    ("ds_r1_k3_s1_e1_c16_nre",),
    ("ir_r4_k7_s2_e6_c24_nre",),
    ("ir_r4_k7_s2_e6_c40_se0.25_nre",),
    ("ir_r4_k7_s2_e6_c80",),
    ("ir_r4_k7_s1_e6_c112_se0.25",),
    ("ir_r4_k7_s2_e6_c160_se0.25",),
    ("cn_r1_k1_s1_c960",),
)
"""In timm's notation: repeats, kernel, stride, expansion, channels, squeeze-and-excitation, ReLU."""

_STEM, _FEATURES = 16, 1280


def ofa_mobilenetv3(width: float = 1.0, resolutions: Sequence[int] = RESOLUTIONS) -> Supernet:
    """The supernet with fresh weights: kernel and expansion of 20 blocks, depth of 5 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.

    Args:
        width: all widths are multiplied by it and rounded to multiples of 8; published are 1.0 and 1.2.
        resolutions: sides of the square input on offer, in pixels, 224 among them.
    """
    return elastic.elasticize(
        mobilenetv3(_STAGES, _STEM, _FEATURES, width=width),
        choices={
            "kernel": [3, 5, 7],
            "mid": [expansion / max(EXPANSIONS) for expansion in EXPANSIONS],
            "depth": [2, 3, 4],
            **dict.fromkeys(("stem", "width", "head", "kernel.0.*"), None),
        },
        input_size=(3, 224, 224),
        resolutions=list(resolutions),
        kernel_transforms=True,
    )
