"""The accuracy that int8 costs: top-1 before and after, or agreement of both models without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elastic.formats.compare import Forward
from elastic.supernet.evaluation import Batch, accuracy, top1
from elastic.support.inputs import Inputs, moved, predict


def judge(
    model: nn.Module,
    forward: Forward,
    validation: Iterable[Batch],
    calibration: Sequence[Inputs],
    device: str = "cpu",
) -> dict[str, Any]:
    """Compare a quantised file with the model it was made of.

    Args:
        model: on the CPU, in eval mode.
        forward: the file, opened.
        validation: labelled batches.
        calibration: inputs that the file was calibrated on, one or more; judged on where nothing is labelled.
        device: that the model's own accuracy is measured on; it is put back on the CPU.

    Returns:
        `accuracy` (top-1 in percent, `before` and `after`, on so many `inputs`); or `agreement` (the `percent` of
        calibration inputs that both give the same class); neither where the model doesn't tell classes apart.
    """
    if forward(calibration[0])[0].shape[-1] < 2:
        return {}

    def quantized(inputs: Inputs) -> Tensor:
        return torch.from_numpy(forward(inputs)[0])

    labelled = list(validation)
    count = sum(len(labels) for _, labels in labelled)
    if count:
        after = top1((quantized(inputs), labels) for inputs, labels in labelled)
        return {"accuracy": {"before": _accuracy_on(device, model, labelled), "after": after, "inputs": count}}
    same: list[bool] = []
    for one in calibration:
        with torch.inference_mode():
            classes = predict(model, one).argmax(-1)
        same += (quantized(one).argmax(-1) == classes).flatten().tolist()
    return {"agreement": {"percent": 100.0 * sum(same) / len(same), "inputs": len(same)}}


def _accuracy_on(device: str, model: nn.Module, labelled: Iterable[Batch]) -> float:
    """Top-1 in percent, measured on a device; the model is on the CPU before and afterwards."""
    try:
        return accuracy(model.to(device), ((moved(inputs, device), labels.to(device)) for inputs, labels in labelled))
    finally:
        model.cpu()
