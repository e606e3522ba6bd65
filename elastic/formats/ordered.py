"""Inputs in order, as PyTorch's exporters and what runs files want them: a model behind one tensor after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.export import Dim

from elastic.support.inputs import predict_all

BATCH, SEQUENCE = "batch", "sequence"
"""What the free axes are called in a file."""

Given = Sequence[Tensor] | Mapping[str, Tensor]
"""Inputs one after the other, or by name."""


class Ordered(nn.Module):
    """A model that takes its inputs by name, as one that takes them in order and returns tensors."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """All outputs, logits first, for inputs in the order of the names."""
        return tuple(predict_all(self.model, dict(zip(self.names, inputs, strict=True))).values())


def names_and_values(inputs: Tensor | Given) -> tuple[list[str], tuple[Tensor, ...]]:
    """The names of text's inputs, none of images; and the tensors."""
    if isinstance(inputs, Mapping):
        return list(inputs), tuple(inputs.values())
    return [], (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def ordered(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """`model`, taking the inputs of these names in their order; itself where there are no names."""
    return Ordered(model, names).eval() if names else model


def free_axes(names: Sequence[str], values: Sequence[Tensor], longest: int | None = None) -> Any:
    """What `torch.export` takes as `dynamic_shapes`: the first axis of each input free, and of text the second.

    Args:
        names: of text's inputs.
        values: example inputs.
        longest: the most tokens that a text may have, where there is a limit.
    """
    free: dict[int, Any] = {0: Dim(BATCH, min=1)}
    if names:
        free[1] = Dim(SEQUENCE, min=1, max=longest)
    axes = tuple(free for _ in values)
    return (axes,) if names else axes  # all named inputs are one argument, *inputs
