"""Metrics of a task, for validation: computed by torchmetrics over all batches of all ranks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import get_args

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy, MulticlassMatthewsCorrCoef
from torchmetrics.regression import PearsonCorrCoef, SpearmanCorrCoef

from elastic.errors import TrainingError
from elastic.supernet.evaluation import Batch
from elastic.support.inputs import predict
from elastic.upstream import library_of
from trainers.data.metric_names import MetricName

_OF_NUMBERS = ("pearson", "spearman")


def make_metric(name: str, classes: int, device: torch.device | str = "cpu") -> Metric:
    """A metric between 0 and 1, or −1 and 1 where it is a correlation; update it with the result of `answers`.

    Args:
        name: one of `MetricName`.
        classes: the model's; 1 where it predicts a number.
        device: where it counts.

    Raises:
        TrainingError: no such metric, or one that doesn't suit so many classes.
    """
    if name not in get_args(MetricName):
        raise TrainingError(f"no metric {name!r}; choose one of {', '.join(get_args(MetricName))}")
    if (name in _OF_NUMBERS) != (classes == 1) or (name == "f1" and classes != 2):
        wanted = {"f1": "two classes", "pearson": "a number", "spearman": "a number"}.get(name, "two classes or more")
        raise TrainingError(f"the metric {name} is for models that predict {wanted}; this one has {classes} output(s)")
    made: Metric
    if name == "accuracy":
        made = MulticlassAccuracy(num_classes=classes, average="micro")
    elif name == "matthews":
        made = MulticlassMatthewsCorrCoef(num_classes=classes)
    elif name == "f1":
        made = BinaryF1Score()
    elif name == "pearson":
        made = PearsonCorrCoef()
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*will save all targets and predictions")  # a few thousand numbers
            made = SpearmanCorrCoef()
    return made.to(device)


def measure(name: str, model: nn.Module, batches: Iterable[Batch]) -> float:
    """A metric of a model on labelled batches, times 100.

    Raises:
        TrainingError: as for `make_metric`.
    """
    metric = make_metric(name, library_of(model).classes)
    with torch.inference_mode():
        for inputs, labels in batches:
            metric.update(answers(predict(model, inputs)), labels)
    return 100 * float(metric.compute())


def answers(logits: Tensor) -> Tensor:
    """A model's predictions: the top class, int64 `(N,)`, or, where it has one output, that number, float `(N,)`."""
    return logits.squeeze(1).float() if logits.shape[1] == 1 else logits.argmax(1)
