"""Once-for-All's ProxylessNAS supernet: the published search space, as a timm model made elastic.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import elastic
from elastic import Supernet
from zoo.mobile import proxyless
from zoo.preprocessing import RESOLUTIONS

_STAGES = (
    ("ds_r1_k3_s1_e1_c16",),
    ("ir_r4_k7_s2_e6_c24",),
    ("ir_r4_k7_s2_e6_c40",),
    ("ir_r4_k7_s2_e6_c80",),
    ("ir_r4_k7_s1_e6_c96",),
    ("ir_r4_k7_s2_e6_c192",),
    ("ir_r1_k7_s1_e6_c320",),
)
_STEM, _FEATURES = 32, 1280


def ofa_proxyless(width: float = 1.3, resolutions: Sequence[int] = RESOLUTIONS) -> Supernet:
    """The supernet with fresh weights: kernel and expansion of 21 blocks, depth of 5 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.

    Args:
        width: all widths are multiplied by it and rounded to multiples of 8; published is 1.3.
        resolutions: sides of the square input on offer, in pixels, 224 among them.
    """
    return elastic.elasticize(
        proxyless(_STAGES, _STEM, _FEATURES, width=width),
        choices={
            "kernel": [3, 5, 7],
            "mid": [3 / 6, 4 / 6, 6 / 6],
            "depth": [2, 3, 4],
            **dict.fromkeys(("stem", "width", "head", "kernel.0.*"), None),
        },
        input_size=(3, 224, 224),
        resolutions=list(resolutions),
        kernel_transforms=True,
    )
