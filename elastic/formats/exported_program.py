"""torch.export: PyTorch runs the file without the model's code, at any batch size and any length of text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._pytree import tree_leaves

from elastic.errors import ExportError
from elastic.formats.compare import Forward
from elastic.formats.format import Format, Original
from elastic.formats.ordered import free_axes, names_and_values, ordered
from elastic.support.inputs import Inputs
from elastic.support.quiet import quiet
from elastic.upstream import library_of

_IMAGES = """\
import torch

model = torch.export.load("{file}").module()
logits = model(images)
"""
_TEXT = """\
import torch

model = torch.export.load("{file}").module()
text = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
logits = model(*(text[name] for name in {names}))[0]
"""

UNWRITABLE = (RuntimeError, TypeError, ValueError, AssertionError, LookupError, AttributeError)
"""Errors of PyTorch's and ExecuTorch's converters for a model that they can't express."""


def to_graph(model: nn.Module, inputs: Inputs, free: bool = True) -> torch.export.ExportedProgram:
    """Export `model` as one graph that takes its inputs in order.

    Args:
        model: on the CPU, in eval mode.
        inputs: an example batch, of 2 or more if `free`.
        free: leave the batch size, and the length of text, free.

    Raises:
        ExportError: torch.export can't express the model.
    """
    names, values = names_and_values(inputs)
    shapes = free_axes(names, values, library_of(model).longest_text) if free else None
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(ordered(model, names), values, dynamic_shapes=shapes, strict=False)
    except UNWRITABLE as error:
        raise unwritable(model, "torch.export", error) from error


def unwritable(model: nn.Module, what: str, error: Exception) -> ExportError:
    """The error for a model that a converter can't express."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return ExportError(f"{what} can't express {type(model).__name__}: {' '.join(lines[:2])}; choose another format")


def _write(original: Original, path: Path) -> None:
    torch.export.save(to_graph(original.model, original.inputs), path)


def _open(path: Path, threads: int | None = None) -> Forward:
    del threads  # PyTorch's own setting decides
    module = torch.export.load(path).module()

    def forward(inputs: Inputs) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            outputs = module(*names_and_values(inputs)[1])
        return [output.numpy() for output in tree_leaves(outputs)]

    return forward


EXPORTED_PROGRAM = Format(
    ("model.pt2",), _write, _open, runtime="PyTorch", package="torch", for_images=_IMAGES, for_text=_TEXT
)
