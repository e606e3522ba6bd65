"""What int8 costs: accuracy before and after, or how often both choose the same class where nothing is labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from elastic.formats.compare import Forward
from elastic.supernet.evaluation import Batch
from elastic.support.inputs import Inputs, predict


def judge(
    model: nn.Module, forward: Forward, validation: Iterable[Batch], calibration: Sequence[Inputs]
) -> dict[str, Any]:
    """Compare a quantised file with the model it was made of.

    Args:
        model: on the CPU, in eval mode.
        forward: the file, opened.
        validation: labelled batches.
        calibration: inputs that the file was calibrated on, one or more; judged on where nothing is labelled.

    Returns:
        `accuracy` (top-1 in percent, `before` and `after`, on so many `inputs`); or `agreement` (the `percent` of
        calibration inputs that both give the same class); neither where the model doesn't tell classes apart.
    """
    if forward(calibration[0])[0].shape[-1] < 2:
        return {}
    before = after = count = 0
    for inputs, labels in validation:
        chosen, quantized = _classes(model, forward, inputs)
        before += int((chosen == labels).sum())
        after += int((quantized == labels).sum())
        count += len(labels)
    if count:
        return {"accuracy": {"before": 100.0 * before / count, "after": 100.0 * after / count, "inputs": count}}
    same = []
    for one in calibration:
        chosen, quantized = _classes(model, forward, one)
        same += (chosen == quantized).flatten().tolist()
    return {"agreement": {"percent": 100.0 * sum(same) / len(same), "inputs": len(same)}}


def _classes(model: nn.Module, forward: Forward, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        return predict(model, inputs).argmax(-1), torch.from_numpy(forward(inputs)[0]).argmax(-1)
