"""Batches, checked before anything is computed from them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from elastic.errors import TrainingError

Batch = tuple[Tensor, Tensor]
"""Images `(N, C, H, W)`, and labels int64 `(N,)` or, where images are mixed, probabilities `(N, classes)`."""


def check_batch(images: Any, labels: Any, wanted: tuple[int, ...], classes: int, model: str) -> None:
    """Check shapes and dtypes, without waiting for the device.

    Args:
        images: should be a tensor `(N, *wanted)`.
        labels: should be int64 `(N,)` or float `(N, classes)`.
        wanted: the shape of one input.
        classes: the model's.
        model: its name, for the message.

    Raises:
        TrainingError: they are something else.
    """
    if not isinstance(images, Tensor) or tuple(images.shape[1:]) != wanted:
        given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise TrainingError(
            f"a batch of inputs is {given}; {model} takes (N, {', '.join(map(str, wanted))}). "
            "Set the data's size and channels, or the supernet's input_size"
        )
    mixed = isinstance(labels, Tensor) and labels.is_floating_point() and labels.shape == (len(images), classes)
    plain = isinstance(labels, Tensor) and not labels.is_floating_point() and labels.shape == images.shape[:1]
    if not (mixed or plain):
        given = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise TrainingError(f"a batch of {len(images)} images has labels {given}; wanted int64 ({len(images)},)")


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
            "set num_classes in the supernet's model_args"
        )
