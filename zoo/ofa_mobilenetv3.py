"""Once-for-All's MobileNetV3 supernets: the published search spaces, as timm models made elastic.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn

import elastic
from elastic import Supernet

RESOLUTIONS = tuple(range(128, 225, 4))
"""Sides of the square input that the published supernets are trained for, in pixels."""

EXPANSIONS = (3, 4, 6)
"""A block's mid width, relative to its input's."""

_BLOCKS = (
    ("ds_r1_k3_s1_e1_c16_nre",),
    ("ir_r4_k7_s2_e6_c24_nre",),
    ("ir_r4_k7_s2_e6_c40_se0.25_nre",),
    ("ir_r4_k7_s2_e6_c80",),
    ("ir_r4_k7_s1_e6_c112_se0.25",),
    ("ir_r4_k7_s2_e6_c160_se0.25",),
    ("cn_r1_k1_s1_c960",),
)
"""In timm's notation: repeats, kernel, stride, expansion, channels, squeeze-and-excitation, ReLU."""

_FEATURES = 1280


def ofa_mobilenetv3(width: float = 1.0, resolutions: Sequence[int] = RESOLUTIONS) -> Supernet:
    """The supernet with fresh weights: kernel and expansion of 20 blocks, depth of 5 stages, resolution.

    Stem, first block, stage widths and head are fixed; small kernels are made by learned matrices.

    Args:
        width: all widths are multiplied by it and rounded to multiples of 8; published are 1.0 and 1.2.
        resolutions: sides of the square input on offer, in pixels, 224 among them.
    """
    return elastic.elasticize(
        _model(width),
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


def _model(width: float) -> nn.Module:
    channels = partial(round_channels, multiplier=width)
    return MobileNetV3(
        decode_arch_def([list(stage) for stage in _BLOCKS]),
        num_features=channels(_FEATURES),
        head_bias=False,
        round_chs_fn=channels,
        act_layer=nn.Hardswish,
        se_layer=partial(
            SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU, rd_round_fn=round_channels
        ),
    )
