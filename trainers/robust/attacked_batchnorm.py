"""BatchNorm statistics of networks that were trained under attack: those of attacked images.

Each pass of a training normalises by its own batch, one of attacked images by those. With the statistics of images as
they are, much of the robust accuracy can be lost.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from elastic.layers.batchnorm import has_batchnorm, recalibrate
from elastic.support.inputs import predict
from trainers.methods.adversary import Adversary, seeded


def recalibrate_attacked(model: nn.Module, batches: Iterable[Tensor], adversary: Adversary, seed: int = 0) -> None:
    """Set the BatchNorm statistics of `model` to those of attacked images, in place.

    They are attacked as they will be: in evaluation mode, with the statistics of images as they are; by the
    cross-entropy with what the model says of these, so that labels aren't needed. A model without BatchNorm is left
    alone.

    Args:
        model: any module; its mode is kept.
        batches: training images `(N, C, H, W)` between 0 and 1.
        adversary: that of the training.
        seed: of where the ascents start.
    """
    if not has_batchnorm(model):
        return
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.inference_mode(False):
            images = [batch.clone() for batch in batches]  # what was made in inference mode has no gradients
            recalibrate(model, images)
            with torch.no_grad():
                labels = [predict(model, batch).argmax(1) for batch in images]
            pairs = enumerate(zip(images, labels, strict=True))
            recalibrate(model, [adversary.deceive(model, *pair, seeded(seed, at)) for at, pair in pairs])
    finally:
        for module, mode in modes:
            module.training = mode
