"""Inputs for BatchNorm statistics where there is no training data: made-up ones, that come with the package."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor

from zoo.catalog import find

_BATCH = 128


def calibration(name: str) -> list[Tensor]:
    """Made-up inputs at full resolution, as a named supernet wants them: batches float32 `(N, C, H, W)`.

        subnet = supernet.extract(arch)
        elastic.recalibrate(subnet, zoo.calibration(name))      # where the arch is of full resolution

    They are like the images that the supernet was trained on, and none of them: drawn from Gaussians of these. Real
    training images are better.

    Args:
        name: one of `zoo.list()`.

    Returns:
        Batches of 128, the last one of what is left; an empty list where no inputs come with the package.

    Raises:
        RecipeError: no supernet of this name.
    """
    entry = find(name)
    path = entry.made_up_file
    if path is None or entry.images is None:
        return []
    images = load_file(path)["images"].float() / 255
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (entry.images.mean, entry.images.std))
    return list(((images - mean) / std).split(_BATCH))
