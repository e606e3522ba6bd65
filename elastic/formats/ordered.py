"""Inputs in order, as PyTorch's exporters and runtimes take them, and models that take them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.export import Dim

from elastic.errors import ExportError
from elastic.support.inputs import is_text, predict_all

BATCH, SEQUENCE = "batch", "sequence"
"""Names of the free axes in a file."""

OrderedInputs = Sequence[Tensor] | Mapping[str, Tensor]
"""Inputs in order, or by name."""


class Ordered(nn.Module):
    """Wraps a model that takes inputs by name: takes them in order, and returns tensors."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """All outputs, logits first, for inputs in the order of the names."""
        return tuple(predict_all(self.model, dict(zip(self.names, inputs, strict=True))).values())


def names_and_values(inputs: Tensor | OrderedInputs) -> tuple[list[str], tuple[Tensor, ...]]:
    """The names of the inputs, none for a bare tensor; and the tensors.

    Raises:
        ExportError: inputs inside lists or dictionaries, which files don't have.
    """
    if isinstance(inputs, Mapping):
        inside = next((name for name, one in inputs.items() if not isinstance(one, Tensor)), None)
        if inside is not None:
            raise ExportError(
                f"{inside} is a {type(inputs[inside]).__name__} of tensors, and files take tensors by name: export "
                "safetensors, or a module around the subnet that takes them one by one"
            )
        return list(inputs), tuple(inputs.values())
    return [], (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def ordered(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """`model`, taking the inputs with these names in order; the model itself if there are no names."""
    return Ordered(model, names).eval() if names else model


def free_axes(names: Sequence[str], values: Sequence[Tensor], longest: int | None = None) -> Any:
    """The `dynamic_shapes` of `torch.export`: the first axis of each input is free, and for text the second.

    Args:
        names: of the inputs, if they have any.
        values: example inputs.
        longest: the largest number of tokens; None if there is no limit.
    """
    free: dict[int, Any] = {0: Dim(BATCH, min=1)}
    if names and is_text(values):
        free[1] = Dim(SEQUENCE, min=1, max=longest)
    axes = tuple(free for _ in values)
    return (axes,) if names else axes  # all named inputs are one argument, *inputs
