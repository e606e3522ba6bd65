"""Batches beside those that are trained: for BatchNorm statistics, and for the importance of units."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lightning.pytorch import LightningModule
from torch import Tensor

from elastic.errors import TrainingError
from elastic.support.inputs import Inputs, moved


def calibration_batches(module: LightningModule, count: int) -> Iterator[Inputs]:
    """The first training inputs without augmentation, `count` batches; read only when they are asked for.

    Raises:
        TrainingError: the trainer's data has none.
    """
    data = getattr(module.trainer, "datamodule", None)
    if not hasattr(data, "calibration_batches"):
        raise TrainingError(
            "BatchNorm is re-estimated on training images, for validation and for a snapshot that teaches, and the "
            "data has no calibration_batches(); pass the trainer a datamodule such as trainers.Digits"
        )
    batches: Iterator[Inputs] = iter(data.calibration_batches())  # type: ignore[union-attr]
    for inputs in islice(batches, count):
        yield module.trainer.precision_plugin.convert_input(moved(inputs, module.device))


def held_out_batches(module: LightningModule) -> Iterator[tuple[Inputs, Tensor]]:
    """Labelled batches that aren't trained on: the first of the validation data, the same on every rank.

    They are a held-out part of the training data where the data module's validation part is one.

    Raises:
        TrainingError: the trainer's data has none.
    """
    data = getattr(module.trainer, "datamodule", None)
    if not hasattr(data, "held_out_batches"):
        raise TrainingError(
            "sort: taylor scores units on labelled data that isn't trained on, and the data has no "
            "held_out_batches(); pass the trainer a datamodule such as trainers.Digits, or sort by l1"
        )
    for inputs, labels in data.held_out_batches():  # type: ignore[union-attr]
        yield moved(inputs, module.device), labels.to(module.device)
