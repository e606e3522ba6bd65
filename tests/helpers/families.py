"""One small model of every kind that the families' recipes must carry, with all its weights drawn at random."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import timm
import torch
from small import randomise
from timm.layers import BlurPool2d
from torch import nn

import elastic


@dataclass(frozen=True)
class Case:
    """A model as timm makes it, and the options that its recipe takes.

    Attributes:
        architecture: timm's name.
        build: arguments of `timm.create_model`.
        side: of the full-size input, in pixels.
        resolutions: on offer.
        options: of `elastic.elasticize`.
    """

    architecture: str
    build: dict[str, Any] = field(default_factory=dict)
    side: int = 64
    resolutions: tuple[int, ...] = (32, 64)
    options: dict[str, Any] = field(default_factory=dict)

    def model(self) -> nn.Module:
        """The plain model; the same one every time."""
        with torch.random.fork_rng(devices=[]):
            return randomise(timm.create_model(self.architecture, **{"num_classes": 5, **self.build}))

    def supernet(self) -> elastic.Supernet:
        """A supernet of it."""
        return elastic.elasticize(self.model(), resolutions=self.resolutions, **self.options)

    def images(self, count: int = 2) -> torch.Tensor:
        """A batch `(count, C, side, side)`."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(count, self.build.get("in_chans", 3), self.side, self.side, generator=generator)


def _cnn(architecture: str, build: dict[str, Any] | None = None, **options: Any) -> Case:
    return Case(architecture, build or {}, options={"input_size": (3, 64, 64), **options})


def _vit(architecture: str, **build: Any) -> Case:
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
    return Case(architecture, small | build, side=32, resolutions=(16, 24, 32))


_RESNET = {"layers": (1, 2, 3, 1), "channels": (16, 16, 24, 32)}
_CONVNEXT = {"depths": (1, 2, 3, 1), "dims": (16, 24, 32, 40)}

CASES = {
    "resnet": _cnn("resnet18", {"layers": (2, 2, 2, 2)}),
    "resnet without downsampling": _cnn("resnet18", {**_RESNET, "channels": (64, 64, 24, 32)}),
    "resnet bottleneck": _cnn("resnet50", _RESNET),
    "resnet-d": _cnn("resnet50d", _RESNET),
    "resnet-t": _cnn("resnet26t", {**_RESNET, "replace_stem_pool": True}),
    "resnet two poolings": _cnn("resnet18", {**_RESNET, "global_pool": "catavgmax"}),
    "resnet anti-aliased": _cnn("seresnetaa50d", {**_RESNET, "aa_layer": BlurPool2d}),
    "resnet one channel": Case("resnet18", {**_RESNET, "in_chans": 1}, 16, (8, 12, 16), {"input_size": (1, 16, 16)}),
    "wide resnet": _cnn("wide_resnet50_2", _RESNET),
    "resnext": _cnn("resnext50_32x4d", {**_RESNET, "cardinality": 8}),
    "senet": _cnn("senet154", {**_RESNET, "cardinality": 8, "base_width": 16}),
    "se-resnet": _cnn("seresnet50", _RESNET),
    "eca-resnet": _cnn("ecaresnet26t", _RESNET),
    "resnet-v2": _cnn("resnetv2_18", _RESNET),
    "resnet-v2 bottleneck": _cnn("resnetv2_50", _RESNET),
    "resnet-v2-d": _cnn("resnetv2_50d", _RESNET),
    "regnet-x": _cnn("regnetx_002"),
    "regnet-y": _cnn("regnety_002"),
    "regnet-z": _cnn("regnetz_005"),
    "mobilenet-v2": _cnn("mobilenetv2_035"),
    "mobilenet-v3": _cnn("mobilenetv3_small_050"),
    "mobilenet-v3 with matrices": _cnn("mobilenetv3_small_050", kernel_transforms=True),
    "mobilenet-v3 two poolings": _cnn("mobilenetv3_small_050", {"global_pool": "catavgmax"}),
    "efficientnet": _cnn("efficientnet_b0"),
    "efficientnet of tensorflow": _cnn("tf_efficientnet_lite0", kernel_transforms=True),
    "efficientnet-v2": _cnn("test_efficientnet"),
    "mnasnet": _cnn("semnasnet_050"),
    "fbnet": _cnn("fbnetc_100"),
    "convnext": _cnn("convnext_atto", _CONVNEXT),
    "convnext linear": _cnn("convnext_tiny", _CONVNEXT),
    "convnext norm first": _cnn("convnext_tiny_hnf", _CONVNEXT),
    "convnext overlapping stem": _cnn("convnext_atto_ols", _CONVNEXT),
    "convnext hidden head": _cnn("convnext_atto", {**_CONVNEXT, "head_hidden_size": 48}),
    "convnext-v2": _cnn("convnextv2_atto", _CONVNEXT),
    "vit": _vit("vit_tiny_patch16_224"),
    "vit without class token": _vit("vit_tiny_patch16_224", global_pool="avg", class_token=False),
    "vit with qk-norm": _vit("vit_tiny_patch16_224", qk_norm=True),
    "deit distilled": _vit("deit_tiny_distilled_patch16_224"),
    "deit3": _vit("deit3_small_patch16_224"),
    "vit with registers": _vit("vit_small_patch14_reg4_dinov2"),
}

COUNTED = (
    "resnet", "resnet bottleneck", "resnet-d", "resnext", "se-resnet", "resnet-v2", "regnet-y", "mobilenet-v2",
    "mobilenet-v3 with matrices", "convnext-v2", "convnext hidden head", "vit", "deit distilled", "vit with registers",
)  # fmt: skip
"""Of each family some: their costs are counted always, which takes seconds for each; those of the others in sweeps."""


@cache
def supernet(name: str) -> elastic.Supernet:
    """The supernet of a case, made once; leave its weights and its active subnet as they are."""
    return CASES[name].supernet()
