"""Images for the statistics of BatchNorm and for int8: of the training's data, at the size that a subnet takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from elastic.layers.batchnorm import has_batchnorm, recalibrate
from elastic.space.arch import Arch
from elastic.supernet.evaluation import Batch, Recalibrate, extract_calibrated, resized
from elastic.supernet.supernet import Supernet

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData

CALIBRATION_BATCHES = 8
"""Batches of training images that BatchNorm statistics are re-estimated on."""

VALIDATION_IMAGES = 1000
"""Labelled images that int8's accuracy is measured on, in whole batches."""


def calibrated(
    supernet: Supernet,
    arch: Arch,
    data: SupernetData | None,
    made_up: Sequence[Tensor] = (),
    recalibrate: Recalibrate = recalibrate,
) -> nn.Module:
    """The extracted subnet, its BatchNorm re-estimated; the images are only read where there is BatchNorm."""
    images = made_up or calibration_for(supernet, data)
    return extract_calibrated(supernet, arch, images, recalibrate)


def calibration_for(supernet: Supernet, data: SupernetData | None) -> list[Any]:
    """Training images for a supernet's BatchNorm statistics; they are only read where there is BatchNorm."""
    return calibration_images(data) if data is not None and has_batchnorm(supernet) else []


def calibration_images(data: SupernetData) -> list[Any]:
    """Training images for BatchNorm statistics, at full resolution."""
    return list(islice(data.calibration_batches(), CALIBRATION_BATCHES))


def first_images(batches: Iterable[Batch], images: int) -> list[Batch]:
    """The first batches, until they hold `images` or more."""
    kept: list[Batch] = []
    for batch in batches:
        if sum(len(labels) for _, labels in kept) >= images:
            break
        kept.append((batch[0], batch[1]))
    return kept


def samples(supernet: Supernet, arch: Arch, data: SupernetData, images: int) -> tuple[list[Any], list[Batch]]:
    """Training inputs of a subnet's size to calibrate int8 on; and labelled ones, `images` or a few more."""
    labelled = first_images(data.val_dataloader(), images)
    judged = resized(supernet, arch, [inputs for inputs, _ in labelled])
    sized = [(inputs, labels) for inputs, (_, labels) in zip(judged, labelled, strict=True)]
    return resized(supernet, arch, calibration_images(data)), sized
