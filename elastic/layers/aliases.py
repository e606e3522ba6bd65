"""Aliases: active slices as leaf tensors, so that a training step runs the extracted model's operators only.

Slicing a parameter in every forward pass costs operators, and the backward pass of a slice costs more: it pads the
gradient to full size. Instead we make an alias once per parameter and size: a leaf tensor that shares the slice's
memory and whose `.grad` is the same slice of the parameter's `.grad`. Optimisers, clipping and checkpoints still see
ordinary parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

if TYPE_CHECKING:
    from elastic.layers.slicing import TensorAxes

LAYOUT_WARNING = "grad and param do not obey the gradient layout contract"
"""PyTorch warns so, once, at the first gradient that is added to a slice of columns, which is what we want."""


class Alias:
    """One active slice of one stored tensor.

    Attributes:
        source: the stored tensor.
        windows: the slice, one per axis.
        tensor: a leaf that shares the slice's memory.
    """

    __slots__ = ("_pointer", "source", "tensor", "windows")

    def __init__(self, source: Tensor, windows: tuple[slice, ...]) -> None:
        self.source = source
        self.windows = windows
        self._pointer = source.data_ptr()
        # .data, not detach(): it has a version counter of its own, so that an optimiser may step between uses
        self.tensor = source.data[windows].requires_grad_(source.requires_grad)
        if source.requires_grad:
            self.tensor.register_hook(_Link(source, windows, TensorWeakRef(self.tensor)))

    @property
    def valid(self) -> bool:
        """Whether the stored tensor still has the same memory and the same `requires_grad`."""
        return self._pointer == self.source.data_ptr() and self.tensor.requires_grad == self.source.requires_grad


class _Link:
    """Before a backward pass adds to a slice's gradient, makes that a part of the full gradient, whatever that is now.

    Gradients may have been set to None since the forward pass, or since the last backward pass.
    """

    __slots__ = ("gradient", "slice", "source", "windows")

    def __init__(self, source: Tensor, windows: tuple[slice, ...], of: TensorWeakRef) -> None:
        self.source, self.windows, self.slice = source, windows, of
        self.gradient: Tensor | None = None

    def __call__(self, added: Tensor) -> None:
        source, tensor = self.source, self.slice()
        if source.grad is None:
            source.grad = torch.zeros_like(source)
        if self.gradient is not source.grad:
            self.gradient = source.grad
            tensor.grad = source.grad[self.windows]


class Aliases:
    """The aliases of one tensor, one per combination of sizes that has been active.

    Attributes:
        current: the alias for the active sizes; None to slice the stored tensor instead.
    """

    def __init__(self) -> None:
        self.current: Alias | None = None
        self._by_sizes: dict[Any, Alias] = {}

    def activate(self, stored: Tensor, axes: TensorAxes) -> None:
        """Make the alias of the active slice of `stored` the current one."""
        key = tuple([size.value for size in axes.sizes])
        alias = self._by_sizes.get(key)
        if alias is None or alias.source is not stored or not alias.valid:
            alias = self._by_sizes[key] = Alias(stored, axes.windows())
        self.current = alias

    def clear(self) -> None:
        """Drop all aliases, so that the stored tensor is sliced again."""
        self._by_sizes.clear()
        self.current = None

    def get(self, stored: Tensor) -> Tensor | None:
        """The current alias of `stored`; None if there is none, or if another tensor has replaced `stored`."""
        current = self.current
        return None if current is None or current.source is not stored else current.tensor

    def __reduce__(self) -> tuple[type[Aliases], tuple[()]]:
        """Copies and pickles start without aliases, since their memory is another."""
        return Aliases, ()
