"""How the published networks of Once-for-All are given their images, in timm's words."""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

RESOLUTIONS = tuple(range(128, 225, 4))
"""Sides of the square input that the published supernets are trained for, in pixels."""


def describe_images(model: nn.Module, side: int, architecture: str) -> None:
    """Note on `model`, where timm's `resolve_data_config` and an export look, how its images are prepared.

    As Once-for-All evaluates: resized to side / 0.875, the centre cut out, ImageNet's mean and deviation.

    Args:
        model: a timm model.
        side: of the square input, in pixels.
        architecture: the model's name.
    """
    config: dict[str, Any] = {
        "architecture": architecture,
        "input_size": (3, side, side),
        "num_classes": 1000,
        "interpolation": "bilinear",
        "crop_pct": 0.875,
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
    }
    model.pretrained_cfg = model.default_cfg = config  # type: ignore[assignment]
