"""Batches, checked before anything is computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from elastic.errors import TrainingError
from elastic.support.inputs import batch_size


def check_batch(inputs: Any, labels: Any, wanted: tuple[int, ...], classes: int, model: str) -> None:
    """Check shapes and dtypes, without waiting for the device.

    Args:
        inputs: should be a tensor `(N, *wanted)`, or tensors by name, each `(N, …)`.
        labels: should be int64 `(N,)` or float `(N, classes)`; float `(N,)` where there is one class.
        wanted: the shape of one input.
        classes: the model's.
        model: its name, for the message.

    Raises:
        TrainingError: they are something else.
    """
    if isinstance(inputs, Mapping):
        _check_named(inputs, model)
    elif not isinstance(inputs, Tensor) or tuple(inputs.shape[1:]) != wanted:
        given = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise TrainingError(
            f"a batch of inputs is {given}; {model} takes (N, {', '.join(map(str, wanted))}). "
            "Set the data's size and channels, or the supernet's input_size"
        )
    _check_labels(labels, batch_size(inputs), classes)


def _check_named(inputs: Mapping[str, Any], model: str) -> None:
    shapes = {name: tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for name, one in inputs.items()}
    firsts = {shape[:1] for shape in shapes.values()}
    if len(firsts) != 1 or not all(isinstance(one, Tensor) for one in inputs.values()):
        raise TrainingError(f"a batch for {model} has {shapes}; wanted tensors (N, …) of the same N, by name")


def _check_labels(labels: Any, n: int, classes: int) -> None:
    if isinstance(labels, Tensor):
        shape, numbers = tuple(labels.shape), labels.is_floating_point()
        if shape == (n,) and numbers == (classes == 1):
            return
        if shape == (n, classes) and numbers:  # mixed
            return
    given = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
    kind = "float, for the model predicts a number," if classes == 1 else "int64"
    raise TrainingError(f"a batch of {n} inputs has labels {given}; wanted {kind} ({n},)")


def check_classes(labels: Tensor, classes: int, model: str) -> None:
    """Check that every label is a class of the model; waits for the device that they are on.

    Raises:
        TrainingError: a label that isn't.
    """
    if labels.is_floating_point():
        return
    low, high = map(int, labels.aminmax())
    if low < 0 or high >= classes:
        raise TrainingError(
            f"the data has label {low if low < 0 else high}; {model} has {classes} classes, from 0 to {classes - 1}: "
            "set num_classes (num_labels of a transformers model) in the supernet's model_args"
        )
