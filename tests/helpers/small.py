"""Small supernets with randomised weights, and the source of one: for tests that need a real family or two."""

from functools import cache

import timm
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.mobilenetv3 import MobileNetV3

import elastic
from elastic import SupernetSource
from elastic.testing import randomised as randomise

SOURCE = SupernetSource(
    "vit_tiny_patch16_224",
    {"num_classes": 5, "img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
    options={"resolutions": [16, 32]},
)


def vit(**options) -> elastic.Supernet:
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=5
    )
    return elastic.elasticize(randomise(model), resolutions=[16, 24, 32], **options)


BLOCKS = [["ds_r1_k3_s1_c16"], ["ir_r3_k5_s2_e3_c24_se0.25"], ["ir_r2_k7_s2_e4_c32"]]


def mobilenet(blocks=BLOCKS, **options) -> elastic.Supernet:
    model = MobileNetV3(decode_arch_def(blocks), num_classes=5, num_features=64)
    return elastic.elasticize(randomise(model), input_size=(3, 32, 32), resolutions=[24, 32], **options)


FAMILIES = {"vit": vit, "mobilenet": mobilenet}


@cache
def made_once(family: str) -> elastic.Supernet:
    """One of them, made once; leave its weights and its active subnet as they are."""
    return FAMILIES[family]()
