"""Preprocessing of images, in timm's terms, and the resolutions on offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Shape = Sequence[int]
"""(channels, height, width) of one image."""

RESOLUTIONS = tuple(range(128, 225, 4))
"""Sides of the square input that the published supernets are trained for, in pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of an image, named as in timm's data configurations.

    Attributes:
        mean: subtracted per channel, of values between 0 and 1.
        std: divided by, per channel; by default, as mean is, ImageNet's.
        crop_pct: the image is resized to the input's side divided by this, then its centre is cut out.
        interpolation: of resizing.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.875
    interpolation: str = "bilinear"


IMAGENET = Preprocessing()
"""As Once-for-All evaluates."""

FASHION_MNIST = Preprocessing(mean=(0.286,), std=(0.353,), crop_pct=1.0)
CIFAR10 = Preprocessing(mean=(0.491, 0.482, 0.447), std=(0.247, 0.243, 0.262), crop_pct=1.0)

UNCHANGED = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, crop_pct=1.0)
"""Values between 0 and 1, as they are: an adversary's step has the same size in the image and in the input."""


def offered(resolutions: Sequence[int] | None, input_size: Shape) -> list[int]:
    """The resolutions asked for; by default the published ones up to the full side, or else the full side alone."""
    if resolutions is not None:
        return list(resolutions)
    side = input_size[-1]
    return [resolution for resolution in RESOLUTIONS if resolution <= side] or [side]


def describe_images(model: nn.Module, input_size: Shape, architecture: str, images: Preprocessing = IMAGENET) -> None:
    """Note on `model`, where timm's `resolve_data_config` and an export look, how its images are prepared.

    Args:
        model: a timm model.
        input_size: of the full-size input.
        architecture: the model's name.
        images: how they are prepared.
    """
    config = {
        "architecture": architecture,
        "input_size": tuple(input_size),
        "num_classes": model.num_classes,
        **asdict(images),
    }
    model.pretrained_cfg = model.default_cfg = config  # type: ignore[assignment]
