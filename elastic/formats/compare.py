"""Comparing the output of an exported file with the model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elastic.errors import ExportError
from elastic.support.inputs import Inputs, batch_size, first, is_text, part, predict_all, tensors_of

TOLERANCE = 1e-4
"""The largest difference allowed, relative to the largest output (both are float32)."""

Forward = Callable[[Inputs], Sequence[NDArray[np.float32]]]
"""An opened file: takes inputs on the CPU, returns its outputs, logits first."""


@dataclass(frozen=True)
class Difference:
    """Difference between a file's output and the model's.

    Attributes:
        largest: the largest absolute difference.
        relative: the same, over the largest absolute output.
    """

    largest: float
    relative: float


def compare(model: nn.Module, forward: Forward, inputs: Inputs, path: Path, free: bool = True) -> Difference:
    """Compare a file's output with the model's.

    Args:
        model: on the CPU, in eval mode.
        forward: the file, opened.
        inputs: a batch.
        path: the file, for the message.
        free: compare at the given batch size and at 1, and for text also at other lengths; else one input at a time.

    Raises:
        ExportError: they differ by more than `TOLERANCE`, or the model's output has a NaN, which nothing is equal to.
    """
    difference = measure_difference(model, forward, inputs, free)
    if not difference.relative <= TOLERANCE:
        raise ExportError(
            f"{path} computes something else than the model: largest difference {difference.largest:.3g}, "
            f"{difference.relative:.3g} of the largest output; wanted ≤ {TOLERANCE:g}. Was the model in eval mode?"
        )
    return difference


def measure_difference(model: nn.Module, forward: Forward, inputs: Inputs, free: bool = True) -> Difference:
    """Measure how far a file's output is from the model's; the arguments are those of `compare`.

    Returns:
        The difference; NaN where the file's output is one.

    Raises:
        ExportError: the model's output has a NaN.
    """
    largest = scale = 0.0
    for batch in _free_parts(inputs) if free else singles(inputs):
        with torch.inference_mode():
            outputs = [output.float().numpy() for output in predict_all(model, batch).values()]
        for output, wanted in zip(forward(batch), outputs, strict=True):
            compared = _compared(batch, wanted)
            largest = float(np.maximum(largest, _furthest(output[compared], wanted[compared])))  # a NaN stays one
            scale = max(scale, float(np.abs(wanted[compared]).max(where=np.isfinite(wanted[compared]), initial=0.0)))
    return Difference(largest, largest / scale if scale else largest)


def _furthest(output: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest absolute difference; infinities of one sign are equal."""
    if np.isnan(wanted).any():
        raise ExportError("the model computes NaN on the inputs that files are compared on; are its weights finite?")
    with np.errstate(invalid="ignore"):
        return float(np.where(output == wanted, 0.0, np.abs(output - wanted)).max())


def _compared(batch: Inputs, output: NDArray[np.float32]) -> Any:
    """Index of the entries that are compared: not those at padding, where the output of attention is arbitrary."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    return ... if mask is None or output.shape[:2] != mask.shape else mask.bool().numpy()


def singles(inputs: Inputs) -> Iterator[Inputs]:
    """Split a batch into batches of one."""
    return (part(inputs, at, at + 1) for at in range(batch_size(inputs)))


def one_by_one(forward: Forward) -> Forward:
    """Make a file that takes one input at a time take any batch."""

    def all_of(inputs: Inputs) -> list[NDArray[np.float32]]:
        return [np.concatenate(parts) for parts in zip(*map(forward, singles(inputs)), strict=True)]

    return all_of


def _free_parts(inputs: Inputs) -> Iterator[Inputs]:
    yield inputs
    yield first(inputs, 1)
    if not isinstance(inputs, Tensor) and is_text(tensors_of(inputs)):
        length = tensors_of(inputs)[0].shape[1]
        for n, shorter in ((1, 1), (2, -(-length // 2))):
            text = {name: tensor[:n, :shorter] for name, tensor in inputs.items()}
            if "attention_mask" not in text or text["attention_mask"].any(1).all():  # padding may be on the left
                yield text
