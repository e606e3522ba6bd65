"""Accuracy of a subnet, measured: cut out, BatchNorm re-estimated, counted on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elastic.layers.batchnorm import recalibrate
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import Inputs, moved, predict

Batch = tuple[Any, Tensor]
"""Images `(N, C, H, W)`, or what a tokenizer gives; and labels int64 `(N,)`, where images are mixed probabilities
`(N, classes)`, where the model predicts a number numbers `(N,)`."""

Recalibrate = Callable[[nn.Module, Iterable[Any]], None]
"""Re-estimates the BatchNorm statistics of a model on batches of inputs, in place."""

BatchMetric = Callable[[nn.Module, Iterable[Batch]], float]
"""A metric of a model on labelled batches."""


class MeasuredAccuracy:
    """Measures subnets for `elastic.search`, with the weights that the supernet has at that moment.

    Args:
        supernet: whose subnets; it is left as it was. Batches are moved to the device that it is on.
        validation: labelled batches to count on; never those that the supernet was trained on.
        calibration: batches of training images for the BatchNorm statistics; none where there is no BatchNorm.
        metric: its name.
        measure: computes the metric of a model on labelled batches; the more the better.
        recalibrate: re-estimates the statistics.
    """

    def __init__(
        self,
        supernet: Supernet,
        validation: Iterable[Batch],
        calibration: Iterable[Inputs] = (),
        metric: str = "accuracy",
        measure: BatchMetric | None = None,
        recalibrate: Recalibrate = recalibrate,
    ) -> None:
        self.supernet = supernet
        device = _device(supernet)
        self.validation = [(moved(inputs, device), labels.to(device)) for inputs, labels in validation]
        self.calibration = [moved(inputs, device) for inputs in calibration]
        self.metric = metric
        self.measure = measure or accuracy
        self.recalibrate = recalibrate

    def __call__(self, arch: Arch) -> Mapping[str, float]:
        """`{"accuracy": …}`: top-1, in percent; or another metric."""
        return {self.metric: self.measure(self.subnet(arch, share=True), self.sized(arch))}

    def subnet(self, arch: Mapping[str, Number], share: bool = False) -> nn.Module:
        """The extracted subnet as it is measured: BatchNorm re-estimated, in eval mode.

        Args:
            arch: the subnet's arch.
            share: as for `Supernet.extract`.
        """
        return extract_calibrated(self.supernet, arch, self.calibration, self.recalibrate, share)

    def sized(self, arch: Arch) -> list[Batch]:
        """The validation batches, images at the arch's resolution."""
        images = resized(self.supernet, arch, [images for images, _ in self.validation])
        return [(one, labels) for one, (_, labels) in zip(images, self.validation, strict=True)]


def extract_calibrated(
    supernet: Supernet,
    arch: Mapping[str, Number],
    calibration: Iterable[Inputs],
    recalibrate: Recalibrate = recalibrate,
    share: bool = False,
) -> nn.Module:
    """A subnet cut out, its BatchNorm statistics re-estimated at its resolution, in eval mode.

    Args:
        supernet: what it is cut out of; it is left as it was. Batches are moved to the device that it is on.
        arch: the subnet's arch.
        calibration: batches of training images; without any the statistics stay the supernet's.
        recalibrate: re-estimates the statistics.
        share: as for `Supernet.extract`.
    """
    subnet = supernet.extract(arch, share)
    device = _device(supernet)
    batches = [moved(inputs, device) for inputs in calibration]
    if batches:
        recalibrate(subnet, resized(supernet, arch, batches))
    return subnet.eval()


def _device(supernet: Supernet) -> torch.device:
    return next(supernet.parameters(), torch.empty(0)).device


def resized(supernet: Supernet, arch: Mapping[str, Number], batches: Sequence[Inputs]) -> list[Any]:
    """Batches of images at the arch's resolution, resized as the supernet does."""
    with supernet.active(arch):
        return [supernet.resize(images) for images in batches]


def accuracy(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Top-1 accuracy in percent of `model`, as it is, on labelled batches.

    Raises:
        ValueError: no images.
    """
    with torch.inference_mode():
        return top1((predict(model, inputs), labels) for inputs, labels in batches)


def top1(outputs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Top-1 accuracy in percent.

    Args:
        outputs: batches of logits, float `(N, classes)`, and of labels, int64 `(N,)`.

    Raises:
        ValueError: no images.
    """
    correct = count = 0
    for logits, labels in outputs:
        correct += int(correctly_classified(logits, labels).sum())
        count += len(labels)
    if not count:
        raise ValueError("accuracy: no images; give it at least one labelled batch")
    return 100.0 * correct / count


def correctly_classified(logits: Tensor, labels: Tensor) -> Tensor:
    """The examples whose label is the class with the largest logit: bool `(N,)`; never one with a logit of NaN.

    Args:
        logits: float `(N, classes)`.
        labels: int64 `(N,)`.
    """
    return (logits.argmax(1) == labels) & ~logits.isnan().any(1)
